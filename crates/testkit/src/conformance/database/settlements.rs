//! Settlements: how attempts end.

use runloom_core::checkpoint::{NULL_TASK, PendingWrite, RESIDUE_INDEX, RESIDUE_PATH};
use runloom_core::database::{DatabaseError, Settlement, Transit};
use runloom_core::ids::ClaimId;
use runloom_core::lease::{ClaimReply, Fence, Lease};
use runloom_core::run::{CancelAction, RunError, RunStatus};
use runloom_core::thread::ThreadStatus;
use serde_json::json;
use std::time::Duration;

use super::scene::{
    Done, Fixture, LEASE, a_delayed_run, checkpoint, finished, settled_as, text, unfinished, write,
    writes, written,
};

pub(super) async fn each_end_has_its_status(f: Fixture) -> Done {
    let error = RunError::new("E", "m");
    let ends = [
        (Transit::Succeed, RunStatus::Success, None),
        (Transit::Interrupt, RunStatus::Interrupted, None),
        (
            Transit::Fail(error.clone()),
            RunStatus::Error,
            Some(error.clone()),
        ),
        (
            Transit::TimeOut(error.clone()),
            RunStatus::Timeout,
            Some(error),
        ),
    ];
    for (transit, status, error) in ends {
        let thread = f.thread().await?;
        let claimed = f.running(thread).await?;
        f.pass(1);
        let settlement = Settlement {
            output: Some(text(&json!({"n": 1}))),
            interrupted_output: Some(text(&json!(["half an answer"]))),
            ..settled_as(transit)
        };
        let settled =
            f.db.settle(&claimed.lease, settlement.clone(), None)
                .await?;
        assert_eq!(settled.next, None);
        let changes: Vec<_> = settled
            .effects
            .changes
            .iter()
            .map(|c| (c.run_id, c.status))
            .collect();
        assert_eq!(changes, [(claimed.run.id, Some(status))]);
        let run = f.run(claimed.run.id).await?;
        assert_eq!((run.status, run.error), (status, error));
        assert_eq!(run.output, settlement.output);
        assert_eq!(run.interrupted_output, settlement.interrupted_output);
        assert_eq!((run.worker_id, run.updated_at), (None, f.now()));
        assert_eq!(run.attempt, 1);
    }
    Ok(())
}

pub(super) async fn a_settlement_claims_the_next_run(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let next = f.accepted(thread).await?;
    f.pass(1);
    let claim = ClaimId::new();
    let settlement = settled_as(Transit::Succeed);
    let settled = f.db.settle(&held.lease, settlement, Some(claim)).await?;
    let changes: Vec<_> = settled
        .effects
        .changes
        .iter()
        .map(|c| (c.run_id, c.status))
        .collect();
    let expected = [
        (held.run.id, Some(RunStatus::Success)),
        (next, Some(RunStatus::Running)),
    ];
    assert_eq!(changes, expected);
    assert_eq!(settled.effects.wakes, []);
    let Some(claimed) = settled.next else {
        panic!("there is a next run");
    };
    assert_eq!(claimed.lease.fence, Fence { epoch: 2, claim });
    assert_eq!(claimed.lease.worker_id, held.lease.worker_id);
    assert_eq!((claimed.run.id, claimed.claimed_at), (next, f.now()));
    assert_eq!(f.run(next).await?, claimed.run);
    Ok(())
}

pub(super) async fn a_settlement_claims_nothing_that_is_not_due(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.submit(a_delayed_run(thread, 60)).await?;
    let settlement = settled_as(Transit::Succeed);
    let settled =
        f.db.settle(&held.lease, settlement, Some(ClaimId::new()))
            .await?;
    assert_eq!(settled.next, None);
    assert_eq!(settled.effects.wakes, []);
    assert!(f.is_empty(thread).await?);
    Ok(())
}

pub(super) async fn a_settlement_without_a_next_claim_wakes_others(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.accepted(thread).await?;
    let settled = f.settle(&held.lease, Transit::Succeed).await?;
    assert_eq!((settled.next, settled.effects.wakes), (None, vec![thread]));
    Ok(())
}

pub(super) async fn a_worker_whose_lease_ran_out_settles_but_gets_no_more(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.accepted(thread).await?;
    f.pass(LEASE.as_secs());
    let settlement = settled_as(Transit::Succeed);
    let settled =
        f.db.settle(&held.lease, settlement, Some(ClaimId::new()))
            .await?;
    assert_eq!((settled.next, settled.effects.wakes), (None, vec![thread]));
    assert_eq!(
        f.run(held.run.id).await?.status,
        RunStatus::Success,
        "it still held the thread"
    );
    Ok(())
}

pub(super) async fn a_repeated_settlement_gives_the_same_answer(f: Fixture) -> Done {
    let error = RunError::new("E", "m");
    let transits = [
        Transit::Succeed,
        Transit::Fail(error.clone()),
        Transit::HandBack,
        Transit::Retry(Duration::from_secs(5), error),
    ];
    for transit in transits {
        let thread = f.thread().await?;
        let held = f.running(thread).await?;
        let settlement = Settlement {
            head: Some(finished(&json!({"n": 1}))),
            ..settled_as(transit)
        };
        let first = f.db.settle(&held.lease, settlement.clone(), None).await?;
        let (run, row) = (f.run(held.run.id).await?, f.look(thread).await?);
        f.pass(1);
        assert_eq!(f.db.settle(&held.lease, settlement, None).await?, first);
        assert_eq!(f.run(held.run.id).await?, run, "nothing happens twice");
        assert_eq!(f.look(thread).await?, row);
    }
    Ok(())
}

pub(super) async fn a_repeated_settlement_of_a_discarded_run_is_answered(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.cancel(thread, held.run.id, CancelAction::Rollback)
        .await?;
    let first = f.settle(&held.lease, Transit::Interrupt).await?;
    assert_eq!(f.settle(&held.lease, Transit::Interrupt).await?, first);
    Ok(())
}

pub(super) async fn a_repeated_settlement_adopts_the_next_run_it_had_claimed(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.accepted(thread).await?;
    f.accepted(thread).await?;
    let next = Some(ClaimId::new());
    let settlement = settled_as(Transit::Succeed);
    let first = f.db.settle(&held.lease, settlement.clone(), next).await?;
    assert!(first.next.is_some());
    for seconds in [1, LEASE.as_secs()] {
        f.pass(seconds);
        let again = f.db.settle(&held.lease, settlement.clone(), next).await?;
        assert_eq!(again, first, "it holds the thread until it is swept");
    }
    Ok(())
}

pub(super) async fn a_settlement_can_be_repeated_after_others_went_on(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.accepted(thread).await?;
    f.settle(&held.lease, Transit::Succeed).await?;
    let other = f.worker().await?;
    let second = f.claim(thread, other).await?;
    let again = f.settle(&held.lease, Transit::Succeed).await?;
    assert_eq!(again.effects.changes[0].status, Some(RunStatus::Success));
    assert_eq!(again.next, None, "the other worker has it");
    f.settle(&second.lease, Transit::Succeed).await?;
    let again = f.settle(&held.lease, Transit::Succeed).await?;
    assert_eq!(again.effects.changes[0].run_id, held.run.id);
    assert_eq!((again.next, again.effects.wakes), (None, vec![]));
    Ok(())
}

pub(super) async fn an_attempt_that_lost_its_thread_settles_nothing(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let lost = f.running(thread).await?;
    f.pass(LEASE.as_secs());
    f.db.sweep(10).await?;
    let late = f.settle(&lost.lease, Transit::Succeed).await;
    assert!(matches!(late, Err(DatabaseError::Fenced)), "{late:?}");
    let worker = f.worker().await?;
    let second = f.claim(thread, worker).await?;
    let late = f.settle(&lost.lease, Transit::Succeed).await;
    assert!(matches!(late, Err(DatabaseError::Fenced)), "{late:?}");
    assert_eq!(f.run(lost.run.id).await?, second.run);
    f.settle(&second.lease, Transit::Interrupt).await?;
    let late = f.settle(&lost.lease, Transit::Succeed).await;
    assert!(matches!(late, Err(DatabaseError::Fenced)), "{late:?}");
    assert_eq!(f.run(lost.run.id).await?.status, RunStatus::Interrupted);
    Ok(())
}

pub(super) async fn a_forged_fence_settles_nothing(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let fence = held.lease.fence;
    let forged = [
        Fence {
            epoch: fence.epoch + 1,
            ..fence
        },
        Fence {
            claim: ClaimId::new(),
            ..fence
        },
    ];
    for fence in forged {
        let lease = Lease {
            run_id: held.run.id,
            thread_id: thread,
            worker_id: held.lease.worker_id,
            fence,
        };
        let refused = f.settle(&lease, Transit::Succeed).await;
        assert!(matches!(refused, Err(DatabaseError::Fenced)), "{refused:?}");
    }
    assert_eq!(f.run(held.run.id).await?, held.run);
    Ok(())
}

pub(super) async fn a_run_that_ends_before_it_can_be_stopped_succeeds(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.cancel(thread, held.run.id, CancelAction::Interrupt)
        .await?;
    f.settle(&held.lease, Transit::Succeed).await?;
    let run = f.run(held.run.id).await?;
    assert_eq!(
        (run.status, run.cancel),
        (RunStatus::Success, Some(CancelAction::Interrupt))
    );
    Ok(())
}

pub(super) async fn a_run_to_be_rolled_back_is_discarded_however_it_ended(f: Fixture) -> Done {
    let error = RunError::new("E", "m");
    let transits = [
        Transit::Succeed,
        Transit::Fail(error.clone()),
        Transit::TimeOut(error.clone()),
        Transit::Interrupt,
        Transit::HandBack,
        Transit::Retry(Duration::ZERO, error),
    ];
    for transit in transits {
        let thread = f.thread().await?;
        f.complete(thread, unfinished(&json!({"n": 1}))).await?;
        let before = f.look(thread).await?;
        f.pass(1);
        let held = f.running(thread).await?;
        f.cancel(thread, held.run.id, CancelAction::Rollback)
            .await?;
        let settlement = Settlement {
            head: Some(finished(&json!({"n": 2}))),
            residue: Some(writes(1, vec![residue("half")])),
            ..settled_as(transit)
        };
        let settled = f.db.settle(&held.lease, settlement, None).await?;
        assert_eq!(settled.effects.changes[0].status, None);
        assert!(f.is_gone(held.run.id).await?);
        let after = f.look(thread).await?;
        assert_eq!(
            (after.status, &after.values),
            (ThreadStatus::Interrupted, &before.values)
        );
        assert_eq!(after.state_updated_at, before.state_updated_at);
        assert!(f.is_empty(thread).await?);
    }
    Ok(())
}

pub(super) async fn a_hand_back_keeps_the_place_and_a_request_to_interrupt(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.accepted(thread).await?;
    f.cancel(thread, held.run.id, CancelAction::Interrupt)
        .await?;
    let settled = f.settle(&held.lease, Transit::HandBack).await?;
    assert_eq!(settled.effects.wakes, [thread]);
    let run = f.run(held.run.id).await?;
    assert_eq!(
        (run.status, run.cancel),
        (RunStatus::Pending, Some(CancelAction::Interrupt))
    );
    assert_eq!((run.worker_id, run.seq), (None, held.run.seq));
    let worker = f.worker().await?;
    let again = f.claim(thread, worker).await?;
    assert_eq!(again.run.id, held.run.id);
    assert_eq!(again.run.cancel, Some(CancelAction::Interrupt));
    Ok(())
}

/// What a stopped run had said, as the worker stores it.
fn residue(said: &str) -> PendingWrite {
    PendingWrite {
        task_id: NULL_TASK.to_owned(),
        task_path: RESIDUE_PATH.to_owned(),
        ..write(NULL_TASK, RESIDUE_INDEX, said.as_bytes())
    }
}

pub(super) async fn residue_is_stored_with_the_settlement(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let beside = writes(1, vec![write("task", 0, b"a")]);
    f.put(&held, vec![checkpoint(&held, 1)], vec![beside])
        .await?;
    let settlement = Settlement {
        residue: Some(writes(1, vec![residue("half an answer")])),
        ..settled_as(Transit::Interrupt)
    };
    f.db.settle(&held.lease, settlement, None).await?;
    let stored = f.latest(thread).await?;
    let expected: [(&str, &[u8]); 2] = [("task", b"a"), (NULL_TASK, b"half an answer")];
    assert_eq!(written(&stored), expected);
    assert_eq!(stored.writes[1].task_path, RESIDUE_PATH);
    assert_eq!(stored.writes[1].index, RESIDUE_INDEX);
    Ok(())
}

pub(super) async fn claims_and_settlements_of_many_threads_do_not_mix(f: Fixture) -> Done {
    let worker = f.worker().await?;
    let mut held = Vec::new();
    for _ in 0..3 {
        let thread = f.thread().await?;
        f.accepted(thread).await?;
        f.accepted(thread).await?;
        held.push(f.claim(thread, worker).await?);
    }
    let settlement = settled_as(Transit::Succeed);
    let settled =
        f.db.settle(&held[1].lease, settlement, Some(ClaimId::new()))
            .await?;
    let next = settled.next.map(|next| next.run.thread_id);
    assert_eq!(next, Some(held[1].run.thread_id));
    for other in [&held[0], &held[2]] {
        assert_eq!(f.run(other.run.id).await?, other.run);
        let reply =
            f.db.claim(other.run.thread_id, worker, ClaimId::new())
                .await?;
        assert_eq!(reply, ClaimReply::Busy);
    }
    Ok(())
}
