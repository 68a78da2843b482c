//! Claims: who may execute what.

use chrono::TimeDelta;
use futures::future::join_all;
use runloom_core::database::{DatabaseError, Transit};
use runloom_core::ids::{ClaimId, ThreadId, WorkerId};
use runloom_core::lease::{ClaimReply, Fence};
use runloom_core::run::{CancelAction, RunError, RunStatus};
use runloom_core::search::RunFilter;
use std::time::Duration;

use super::scene::{ALL, Done, Fixture, LEASE, a_delayed_run};

pub(super) async fn a_claim_gives_the_run_and_the_right_to_it(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let run = f.accepted(thread).await?;
    let (worker, claim) = (f.worker().await?, ClaimId::new());
    f.pass(1);
    let ClaimReply::Claimed(claimed) = f.db.claim(thread, worker, claim).await? else {
        panic!("there is a run to claim");
    };
    let lease = &claimed.lease;
    assert_eq!(
        (lease.run_id, lease.thread_id, lease.worker_id),
        (run, thread, worker)
    );
    assert_eq!(lease.fence, Fence { epoch: 1, claim });
    assert_eq!(claimed.claimed_at, f.now());
    assert_eq!(claimed.run.status, RunStatus::Running);
    assert_eq!(
        (claimed.run.attempt, claimed.run.worker_id),
        (1, Some(worker))
    );
    assert_eq!(claimed.run.updated_at, f.now());
    assert_eq!(f.run(run).await?, claimed.run);
    Ok(())
}

pub(super) async fn a_thread_runs_one_run_at_a_time(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.accepted(thread).await?;
    for worker in [held.lease.worker_id, f.worker().await?] {
        let reply = f.db.claim(thread, worker, ClaimId::new()).await?;
        assert_eq!(reply, ClaimReply::Busy);
    }
    let other = f.thread().await?;
    f.accepted(other).await?;
    f.claim(other, held.lease.worker_id).await?;
    Ok(())
}

pub(super) async fn of_claims_at_once_one_gets_the_run(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.accepted(thread).await?;
    f.accepted(thread).await?;
    let mut workers = Vec::new();
    for _ in 0..5 {
        workers.push(f.worker().await?);
    }
    let claims = workers
        .iter()
        .map(|worker| f.db.claim(thread, *worker, ClaimId::new()));
    let mut claimed = 0;
    for reply in join_all(claims).await {
        match reply? {
            ClaimReply::Claimed(_) => claimed += 1,
            reply => assert_eq!(reply, ClaimReply::Busy),
        }
    }
    assert_eq!(claimed, 1);
    Ok(())
}

pub(super) async fn runs_are_claimed_in_the_order_of_acceptance(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let mut accepted = Vec::new();
    for _ in 0..5 {
        accepted.push(f.accepted(thread).await?);
    }
    let worker = f.worker().await?;
    for (place, run) in accepted.into_iter().enumerate() {
        let claimed = f.claim(thread, worker).await?;
        assert_eq!(claimed.run.id, run);
        let epoch = i64::try_from(place).unwrap_or(0) + 1;
        assert_eq!(
            claimed.lease.fence.epoch, epoch,
            "the fence grows along the thread"
        );
        f.settle(&claimed.lease, Transit::Succeed).await?;
    }
    Ok(())
}

pub(super) async fn where_nothing_is_due_nothing_is_claimed(f: Fixture) -> Done {
    let thread = f.thread().await?;
    assert!(f.is_empty(thread).await?);
    assert!(
        f.is_empty(ThreadId::new()).await?,
        "a hint may be older than a deletion"
    );
    f.submit(a_delayed_run(thread, 1)).await?;
    assert!(f.is_empty(thread).await?);
    Ok(())
}

pub(super) async fn a_worker_without_a_lease_claims_nothing(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.accepted(thread).await?;
    let stranger = WorkerId::new();
    let (retired, late) = (f.worker().await?, f.worker().await?);
    f.db.retire(retired).await?;
    f.pass(LEASE.as_secs());
    for worker in [stranger, retired, late] {
        let reply = f.db.claim(thread, worker, ClaimId::new()).await?;
        assert_eq!(reply, ClaimReply::NotAlive);
    }
    f.db.renew(late, LEASE).await?;
    f.claim(thread, late).await?;
    Ok(())
}

pub(super) async fn a_repeated_claim_gives_the_same_answer(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.accepted(thread).await?;
    f.accepted(thread).await?;
    let (worker, claim) = (f.worker().await?, ClaimId::new());
    let first = f.db.claim(thread, worker, claim).await?;
    assert!(matches!(first, ClaimReply::Claimed(_)), "{first:?}");
    f.pass(1);
    assert_eq!(f.db.claim(thread, worker, claim).await?, first);
    f.pass(LEASE.as_secs());
    assert_eq!(
        f.db.claim(thread, worker, claim).await?,
        first,
        "it still holds the thread"
    );
    let other = f.worker().await?;
    assert_eq!(f.db.claim(thread, other, claim).await?, ClaimReply::Busy);
    Ok(())
}

pub(super) async fn a_repeated_claim_brings_a_request_to_stop(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let run = f.accepted(thread).await?;
    let (worker, claim) = (f.worker().await?, ClaimId::new());
    f.db.claim(thread, worker, claim).await?;
    f.cancel(thread, run, CancelAction::Rollback).await?;
    let ClaimReply::Claimed(again) = f.db.claim(thread, worker, claim).await? else {
        panic!("the claim is held");
    };
    assert_eq!(again.run.cancel, Some(CancelAction::Rollback));
    Ok(())
}

pub(super) async fn a_retry_waits_for_its_time_and_keeps_its_place(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let first = f.running(thread).await?;
    let behind = f.accepted(thread).await?;
    let retry = Transit::Retry(Duration::from_secs(30), RunError::new("E", "m"));
    let settled = f.settle(&first.lease, retry).await?;
    assert_eq!(settled.effects.wakes, []);
    let run = f.run(first.run.id).await?;
    assert_eq!((run.status, run.attempt), (RunStatus::Pending, 1));
    assert_eq!(
        (run.created_at, run.seq),
        (first.run.created_at, first.run.seq)
    );
    assert_eq!((run.error, run.worker_id), (None, None));
    f.pass(29);
    assert!(f.is_empty(thread).await?, "nothing overtakes it");
    f.pass(1);
    let worker = f.worker().await?;
    let second = f.claim(thread, worker).await?;
    assert_eq!((second.run.id, second.run.attempt), (first.run.id, 2));
    assert_eq!(second.lease.fence.epoch, 2);
    f.settle(&second.lease, Transit::Succeed).await?;
    assert_eq!(f.claim(thread, worker).await?.run.id, behind);
    Ok(())
}

pub(super) async fn a_run_fails_when_its_attempts_are_used_up(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.accepted(thread).await?;
    let worker = f.worker().await?;
    let error = RunError::new("Storage", "out of reach");
    for attempt in 1..=3 {
        let claimed = f.claim(thread, worker).await?;
        assert_eq!(claimed.run.attempt, attempt);
        let settled = f
            .settle(
                &claimed.lease,
                Transit::Retry(Duration::ZERO, error.clone()),
            )
            .await?;
        let (status, wakes) = match attempt {
            3 => (RunStatus::Error, vec![]),
            _ => (RunStatus::Pending, vec![thread]),
        };
        assert_eq!(settled.effects.changes[0].status, Some(status));
        assert_eq!(settled.effects.wakes, wakes);
    }
    let runs = f.db.runs(thread, RunFilter::default(), ALL).await?;
    assert_eq!(runs[0].status, RunStatus::Error);
    assert_eq!(runs[0].error, Some(error.clone()));
    assert_eq!(f.look(thread).await?.error, Some(error));
    Ok(())
}

pub(super) async fn an_attempt_that_was_handed_back_does_not_count(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let run = f.accepted(thread).await?;
    let behind = f.accepted(thread).await?;
    for attempt in 1..=5 {
        let worker = f.worker().await?;
        let claimed = f.claim(thread, worker).await?;
        assert_eq!((claimed.run.id, claimed.run.attempt), (run, attempt));
        let settled = f.settle(&claimed.lease, Transit::HandBack).await?;
        assert_eq!(settled.effects.changes[0].status, Some(RunStatus::Pending));
        assert_eq!(settled.effects.wakes, [thread]);
    }
    let error = || RunError::new("E", "m");
    for left in [2, 1, 0] {
        let worker = f.worker().await?;
        let claimed = f.claim(thread, worker).await?;
        f.settle(&claimed.lease, Transit::Retry(Duration::ZERO, error()))
            .await?;
        let over = f.run(run).await?.status.is_terminal();
        assert_eq!(over, left == 0, "three attempts count");
    }
    let worker = f.worker().await?;
    assert_eq!(f.claim(thread, worker).await?.run.id, behind);
    Ok(())
}

pub(super) async fn a_waiting_thread_is_found_once_it_waited_long_enough(f: Fixture) -> Done {
    const AGE: Duration = Duration::from_secs(2);
    let thread = f.thread().await?;
    f.accepted(thread).await?;
    f.pass(1);
    assert_eq!(f.db.waiting(AGE, 10).await?, []);
    f.pass(1);
    assert_eq!(f.db.waiting(AGE, 10).await?, [thread]);
    assert_eq!(
        f.db.waiting(AGE, 10).await?,
        [],
        "it was hinted at just now"
    );
    f.pass(2);
    assert_eq!(f.db.waiting(AGE, 10).await?, [thread], "nobody came");
    let worker = f.worker().await?;
    f.claim(thread, worker).await?;
    f.pass(60);
    assert_eq!(f.db.waiting(AGE, 10).await?, [], "the thread is held");
    Ok(())
}

pub(super) async fn a_delayed_run_makes_its_thread_wait_when_it_is_due(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let (run, _) = f.submit(a_delayed_run(thread, 30)).await?;
    f.pass(29);
    assert_eq!(f.db.waiting(Duration::ZERO, 10).await?, []);
    f.pass(2);
    assert_eq!(run.created_at + TimeDelta::seconds(1), f.now());
    assert_eq!(f.db.waiting(Duration::from_secs(2), 10).await?, []);
    assert_eq!(f.db.waiting(Duration::from_secs(1), 10).await?, [thread]);
    Ok(())
}

pub(super) async fn no_more_waiting_threads_are_named_than_asked_for(f: Fixture) -> Done {
    let mut threads = Vec::new();
    for _ in 0..3 {
        threads.push(f.thread().await?);
        f.accepted(threads[threads.len() - 1]).await?;
    }
    f.pass(5);
    let age = Duration::from_secs(5);
    let mut found = f.db.waiting(age, 2).await?;
    assert_eq!(found.len(), 2);
    found.extend(f.db.waiting(age, 2).await?);
    found.sort_unstable();
    threads.sort_unstable();
    assert_eq!(found, threads, "each once");
    Ok(())
}

pub(super) async fn claims_of_a_worker_that_was_swept_are_refused(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.accepted(thread).await?;
    let worker = f.worker().await?;
    f.pass(LEASE.as_secs());
    f.db.sweep(10).await?;
    let reply = f.db.claim(thread, worker, ClaimId::new()).await?;
    assert_eq!(reply, ClaimReply::NotAlive);
    let renewed = f.db.renew(worker, LEASE).await;
    assert!(matches!(renewed, Err(DatabaseError::Fenced)), "{renewed:?}");
    Ok(())
}
