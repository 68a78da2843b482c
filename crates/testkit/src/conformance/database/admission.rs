//! What becomes of runs in flight when another one arrives.

use chrono::TimeDelta;
use futures::future::join_all;
use runloom_core::bus::Signal;
use runloom_core::compose::NewRun;
use runloom_core::database::{Submission, Transit};
use runloom_core::partial::PartialPolicy;
use runloom_core::run::MultitaskStrategy::{Interrupt, Reject, Rollback};
use runloom_core::run::{CancelAction, MultitaskStrategy, RunError, RunStatus};
use runloom_core::search::RunFilter;
use runloom_core::thread::ThreadStatus;
use serde_json::json;
use std::time::Duration;

use super::scene::{
    ALL, Done, Fixture, a_delayed_run, a_run, a_run_that, a_run_without_input, text, unfinished,
};

async fn assert_rejected(f: &Fixture, new: NewRun) -> Done {
    let (id, thread) = (new.id, new.thread_id);
    let before = f.look(thread).await?;
    f.pass(1);
    assert_eq!(f.db.submit_run(new).await?, Submission::Rejected);
    assert!(f.is_gone(id).await?);
    assert_eq!(f.look(thread).await?, before, "a refusal changes nothing");
    Ok(())
}

pub(super) async fn reject_refuses_beside_a_running_run(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let claimed = f.running(thread).await?;
    assert_rejected(&f, a_run_that(thread, Reject)).await?;
    f.settle(&claimed.lease, Transit::Succeed).await?;
    f.submit(a_run_that(thread, Reject)).await?;
    Ok(())
}

pub(super) async fn reject_refuses_beside_a_pending_run(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.submit(a_run_that(thread, Reject)).await?;
    assert_rejected(&f, a_run_that(thread, Reject)).await
}

pub(super) async fn reject_refuses_beside_a_run_that_is_not_due_yet(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.submit(a_delayed_run(thread, 60)).await?;
    assert_rejected(&f, a_run_that(thread, Reject)).await
}

pub(super) async fn of_rejecting_runs_at_once_one_is_accepted(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let submit = |_| f.db.submit_run(a_run_that(thread, Reject));
    let mut accepted = 0;
    for submission in join_all((0..5).map(submit)).await {
        accepted += usize::from(submission? != Submission::Rejected);
    }
    assert_eq!(accepted, 1);
    assert_eq!(f.db.runs(thread, RunFilter::default(), ALL).await?.len(), 1);
    Ok(())
}

pub(super) async fn enqueue_leaves_the_others_alone(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let waiting = f.accepted(thread).await?;
    let (last, effects) = f.supersede(thread, MultitaskStrategy::Enqueue).await?;
    assert_eq!(effects.signals, []);
    let changed: Vec<_> = effects.changes.iter().map(|change| change.run_id).collect();
    assert_eq!(changed, [last]);
    for run in [held.run.id, waiting] {
        let run = f.run(run).await?;
        assert_eq!(
            (run.cancel, run.superseded_by, run.cancel_reason),
            (None, None, None)
        );
    }
    Ok(())
}

pub(super) async fn interrupt_signals_the_worker_of_a_running_run(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let (by, effects) = f.supersede(thread, Interrupt).await?;
    let signal = Signal {
        run_id: held.run.id,
        claim: held.lease.fence.claim,
        action: CancelAction::Interrupt,
        trace: None,
    };
    assert_eq!(effects.signals, [(held.lease.worker_id, signal)]);
    assert_eq!(effects.wakes, []);
    let victim = f.run(held.run.id).await?;
    assert_eq!(
        victim.status,
        RunStatus::Running,
        "its code has not stopped"
    );
    assert_eq!(victim.cancel, Some(CancelAction::Interrupt));
    assert_eq!(victim.superseded_by, Some(by));
    assert!(
        victim
            .cancel_reason
            .is_some_and(|reason| reason.contains(&by.to_string()))
    );

    let settled = f.settle(&held.lease, Transit::Interrupt).await?;
    assert_eq!(settled.effects.wakes, [thread]);
    let victim = f.run(held.run.id).await?;
    assert_eq!(victim.status, RunStatus::Interrupted);
    assert_eq!(victim.superseded_by, Some(by));
    assert_eq!(f.claim(thread, held.lease.worker_id).await?.run.id, by);
    Ok(())
}

pub(super) async fn interrupt_has_the_input_of_a_pending_run_applied(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let waiting = f.accepted(thread).await?;
    let (by, effects) = f.supersede(thread, Interrupt).await?;
    assert_eq!(effects.wakes, [thread]);
    let victim = f.run(waiting).await?;
    assert_eq!(victim.status, RunStatus::Pending);
    assert_eq!(victim.cancel, Some(CancelAction::Interrupt));
    assert_eq!(victim.superseded_by, Some(by));

    let worker = f.worker().await?;
    let visit = f.claim(thread, worker).await?;
    assert_eq!(
        visit.run.id, waiting,
        "its input comes before that of its successor"
    );
    assert_eq!(visit.run.cancel, Some(CancelAction::Interrupt));
    f.settle(&visit.lease, Transit::Interrupt).await?;
    assert_eq!(f.run(waiting).await?.status, RunStatus::Interrupted);
    let next = f.claim(thread, worker).await?;
    assert_eq!((next.run.id, next.run.cancel), (by, None));
    Ok(())
}

pub(super) async fn interrupt_ends_a_pending_run_that_has_nothing_to_lose(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let resuming = f.submit(a_run_without_input(thread)).await?.0.id;
    let strict = NewRun {
        policy: PartialPolicy::STRICT,
        ..a_run(thread)
    };
    let strict = f.submit(strict).await?.0.id;
    let (by, effects) = f.supersede(thread, Interrupt).await?;
    let changes: Vec<_> = effects
        .changes
        .iter()
        .map(|c| (c.run_id, c.status))
        .collect();
    let interrupted = Some(RunStatus::Interrupted);
    let pending = Some(RunStatus::Pending);
    assert_eq!(
        changes,
        [
            (resuming, interrupted),
            (strict, interrupted),
            (by, pending)
        ]
    );
    for run in [resuming, strict] {
        let run = f.run(run).await?;
        assert_eq!(run.status, RunStatus::Interrupted);
        assert_eq!((run.attempt, run.superseded_by), (0, Some(by)));
        assert_eq!(run.updated_at, f.now());
    }
    let worker = f.worker().await?;
    assert_eq!(f.claim(thread, worker).await?.run.id, by);
    Ok(())
}

pub(super) async fn interrupt_does_not_wait_for_a_delayed_run(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let delayed = f.submit(a_delayed_run(thread, 3_600)).await?.0.id;
    f.pass(1);
    let (by, _) = f.supersede(thread, Interrupt).await?;
    assert_eq!(f.run(delayed).await?.created_at, f.now());
    let worker = f.worker().await?;
    for expected in [delayed, by] {
        let claimed = f.claim(thread, worker).await?;
        assert_eq!(claimed.run.id, expected);
        f.settle(&claimed.lease, Transit::Interrupt).await?;
    }
    Ok(())
}

pub(super) async fn interrupt_ends_the_back_off_of_a_retry(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.submit(a_run_without_input(thread)).await?;
    let worker = f.worker().await?;
    let first = f.claim(thread, worker).await?;
    let retry = Transit::Retry(Duration::from_mins(10), RunError::new("E", "m"));
    f.settle(&first.lease, retry).await?;
    assert!(f.is_empty(thread).await?);

    let (by, effects) = f.supersede(thread, Interrupt).await?;
    assert_eq!(effects.wakes, [thread]);
    let visit = f.claim(thread, worker).await?;
    assert_eq!(visit.run.id, first.run.id, "what it left must be seen to");
    assert_eq!(visit.run.cancel, Some(CancelAction::Interrupt));
    assert_eq!(visit.run.attempt, 2);
    f.settle(&visit.lease, Transit::Interrupt).await?;
    assert_eq!(f.claim(thread, worker).await?.run.id, by);
    Ok(())
}

pub(super) async fn a_second_interrupt_does_not_repeat_the_first(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let (by, _) = f.supersede(thread, Interrupt).await?;
    let (_, effects) = f.supersede(thread, Interrupt).await?;
    assert_eq!(effects.signals, []);
    let victim = f.run(held.run.id).await?;
    assert_eq!(
        victim.superseded_by,
        Some(by),
        "the first one took its place"
    );
    Ok(())
}

pub(super) async fn a_burst_of_interrupts_keeps_every_input_in_order(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let mut runs = vec![f.running(thread).await?];
    let worker = runs[0].lease.worker_id;
    let mut ids = vec![runs[0].run.id];
    for _ in 0..5 {
        ids.push(f.supersede(thread, Interrupt).await?.0);
    }
    let mut served = Vec::new();
    while let Some(claimed) = runs.pop() {
        served.push(claimed.run.id);
        let last = claimed.run.id == ids[5];
        let transit = if last {
            Transit::Succeed
        } else {
            Transit::Interrupt
        };
        assert!(claimed.run.superseded_by.is_some() || last || served.len() == 1);
        f.settle(&claimed.lease, transit).await?;
        if !last {
            runs.push(f.claim(thread, worker).await?);
        }
    }
    assert_eq!(served, ids);
    for id in &ids[..5] {
        assert_eq!(f.run(*id).await?.status, RunStatus::Interrupted);
    }
    assert_eq!(f.run(ids[5]).await?.status, RunStatus::Success);
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Idle);
    Ok(())
}

pub(super) async fn rollback_signals_the_worker_and_deletes_when_it_stopped(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let (by, effects) = f.supersede(thread, Rollback).await?;
    assert_eq!(effects.signals.len(), 1);
    assert_eq!(effects.signals[0].1.action, CancelAction::Rollback);
    let victim = f.run(held.run.id).await?;
    assert_eq!(
        (victim.status, victim.cancel),
        (RunStatus::Running, Some(CancelAction::Rollback))
    );

    let settled = f.settle(&held.lease, Transit::Interrupt).await?;
    let changes: Vec<_> = settled
        .effects
        .changes
        .iter()
        .map(|c| (c.run_id, c.status))
        .collect();
    assert_eq!(changes, [(held.run.id, None)]);
    assert!(f.is_gone(held.run.id).await?);
    assert_eq!(f.claim(thread, held.lease.worker_id).await?.run.id, by);
    Ok(())
}

pub(super) async fn rollback_deletes_pending_runs_at_once(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let first = f.accepted(thread).await?;
    let second = f.submit(a_delayed_run(thread, 60)).await?.0.id;
    let (by, effects) = f.supersede(thread, Rollback).await?;
    let changes: Vec<_> = effects
        .changes
        .iter()
        .map(|c| (c.run_id, c.status))
        .collect();
    assert_eq!(
        changes,
        [
            (first, None),
            (second, None),
            (by, Some(RunStatus::Pending))
        ]
    );
    assert!(f.is_gone(first).await? && f.is_gone(second).await?);
    Ok(())
}

pub(super) async fn rollback_outranks_an_interrupt_under_way(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let (interrupter, _) = f.supersede(thread, Interrupt).await?;
    let (by, effects) = f.supersede(thread, Rollback).await?;
    assert_eq!(effects.signals.len(), 1);
    assert_eq!(effects.signals[0].1.action, CancelAction::Rollback);
    assert!(f.is_gone(interrupter).await?);
    let victim = f.run(held.run.id).await?;
    assert_eq!(victim.cancel, Some(CancelAction::Rollback));
    assert_eq!(victim.superseded_by, Some(by));
    assert!(
        victim
            .cancel_reason
            .is_some_and(|reason| reason.contains(&by.to_string()))
    );
    Ok(())
}

pub(super) async fn an_interrupt_does_not_weaken_a_rollback(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let (by, _) = f.supersede(thread, Rollback).await?;
    let (_, effects) = f.supersede(thread, Interrupt).await?;
    assert_eq!(effects.signals, []);
    let victim = f.run(held.run.id).await?;
    assert_eq!(victim.cancel, Some(CancelAction::Rollback));
    assert_eq!(victim.superseded_by, Some(by));
    Ok(())
}

pub(super) async fn a_delayed_run_supersedes_at_once_and_keeps_the_thread_busy(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let new = NewRun {
        delay: TimeDelta::seconds(60),
        ..a_run_that(thread, Interrupt)
    };
    let (by, effects) = f.submit(new).await?;
    assert_eq!(effects.signals.len(), 1);
    let settled = f.settle(&held.lease, Transit::Interrupt).await?;
    assert_eq!(settled.effects.wakes, []);
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Busy);
    assert!(f.is_empty(thread).await?);
    f.pass(60);
    let worker = f.worker().await?;
    assert_eq!(f.claim(thread, worker).await?.run.id, by.id);
    Ok(())
}

pub(super) async fn a_run_is_accepted_while_its_thread_waits_for_a_human(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let paused = f.complete(thread, unfinished(&json!({"n": 1}))).await?;
    f.submit(a_run_that(thread, Reject)).await?;
    let thread = f.look(thread).await?;
    assert_eq!(thread.status, ThreadStatus::Busy);
    assert_eq!(thread.values, Some(text(&json!({"n": 1}))));
    assert_eq!(f.run(paused).await?.status, RunStatus::Success);
    Ok(())
}
