//! Runs that somebody asks to stop.

use runloom_core::database::{CancelRequest, Transit};
use runloom_core::effects::Effects;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::CancelAction::{Interrupt, Rollback};
use runloom_core::run::{RunError, RunStatus};
use runloom_core::search::CancelSelection;
use runloom_core::thread::ThreadStatus;
use std::time::Duration;

use super::scene::{Done, Fixture, checkpoint};

pub(super) async fn a_pending_run_ends_at_once(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let run = f.accepted(thread).await?;
    f.pass(1);
    let cancelled = f.cancel(thread, run, Interrupt).await?;
    assert_eq!(cancelled.runs, [(thread, run)]);
    let changes: Vec<_> = cancelled.effects.changes.iter().map(|c| c.status).collect();
    assert_eq!(changes, [Some(RunStatus::Interrupted)]);
    let after = f.run(run).await?;
    assert_eq!(after.status, RunStatus::Interrupted);
    assert_eq!(after.cancel_reason.as_deref(), Some("asked by a test"));
    assert_eq!((after.superseded_by, after.updated_at), (None, f.now()));
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Idle);
    assert!(f.is_empty(thread).await?);
    Ok(())
}

pub(super) async fn a_running_run_is_signalled_and_keeps_its_status(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let cancelled = f.cancel(thread, held.run.id, Interrupt).await?;
    assert_eq!(cancelled.runs, [(thread, held.run.id)]);
    let [(worker, signal)] = cancelled.effects.signals[..] else {
        panic!("one worker holds it: {cancelled:?}");
    };
    assert_eq!((worker, signal.run_id), (held.lease.worker_id, held.run.id));
    assert_eq!(
        (signal.claim, signal.action),
        (held.lease.fence.claim, Interrupt)
    );
    let run = f.run(held.run.id).await?;
    assert_eq!(
        (run.status, run.cancel),
        (RunStatus::Running, Some(Interrupt))
    );

    let again = f.cancel(thread, held.run.id, Interrupt).await?;
    assert_eq!(again.runs, [(thread, held.run.id)], "it is still stopping");
    assert_eq!(again.effects.signals, []);
    let harder = f.cancel(thread, held.run.id, Rollback).await?;
    assert_eq!(harder.effects.signals.len(), 1);
    let softer = f.cancel(thread, held.run.id, Interrupt).await?;
    assert_eq!(softer.effects.signals, []);
    assert_eq!(f.run(held.run.id).await?.cancel, Some(Rollback));
    Ok(())
}

pub(super) async fn a_run_between_two_attempts_is_seen_to_by_a_worker(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let first = f.running(thread).await?;
    let retry = Transit::Retry(Duration::from_mins(10), RunError::new("E", "m"));
    f.settle(&first.lease, retry).await?;
    let cancelled = f.cancel(thread, first.run.id, Interrupt).await?;
    assert_eq!(cancelled.effects.wakes, [thread], "the back-off is over");
    assert_eq!(f.run(first.run.id).await?.status, RunStatus::Pending);
    let visit = f.claim(thread, first.lease.worker_id).await?;
    assert_eq!(
        (visit.run.id, visit.run.cancel),
        (first.run.id, Some(Interrupt))
    );
    Ok(())
}

pub(super) async fn a_handed_back_run_is_seen_to_by_a_worker(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let first = f.running(thread).await?;
    f.settle(&first.lease, Transit::HandBack).await?;
    f.cancel(thread, first.run.id, Interrupt).await?;
    assert_eq!(
        f.run(first.run.id).await?.status,
        RunStatus::Pending,
        "it left something"
    );
    let visit = f.claim(thread, first.lease.worker_id).await?;
    assert_eq!(visit.run.cancel, Some(Interrupt));
    Ok(())
}

pub(super) async fn a_rolled_back_pending_run_is_gone_with_what_it_left(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let first = f.running(thread).await?;
    f.put(&first, vec![checkpoint(&first, 1)], vec![]).await?;
    f.settle(&first.lease, Transit::HandBack).await?;
    let waiting = f.accepted(thread).await?;
    let cancelled = f.cancel(thread, first.run.id, Rollback).await?;
    let changes: Vec<_> = cancelled
        .effects
        .changes
        .iter()
        .map(|c| (c.run_id, c.status))
        .collect();
    assert_eq!(changes, [(first.run.id, None)]);
    assert!(f.is_gone(first.run.id).await?);
    assert_eq!(f.shelf(thread).await?, []);
    assert_eq!(
        f.claim(thread, first.lease.worker_id).await?.run.id,
        waiting
    );
    Ok(())
}

pub(super) async fn discarding_a_run_in_back_off_lets_the_next_one_start(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let first = f.running(thread).await?;
    let retry = Transit::Retry(Duration::from_mins(10), RunError::new("E", "m"));
    f.settle(&first.lease, retry).await?;
    let waiting = f.accepted(thread).await?;
    let cancelled = f.cancel(thread, first.run.id, Rollback).await?;
    assert_eq!(cancelled.effects.wakes, [thread]);
    assert_eq!(
        f.claim(thread, first.lease.worker_id).await?.run.id,
        waiting
    );
    Ok(())
}

pub(super) async fn runs_that_are_over_or_elsewhere_are_passed_over(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.settle(&held.lease, Transit::Succeed).await?;
    let other = f.thread().await?;
    let elsewhere = f.accepted(other).await?;
    let request = CancelRequest {
        selection: CancelSelection::Runs(thread, vec![held.run.id, elsewhere, RunId::new()]),
        action: Rollback,
        reason: String::new(),
    };
    let cancelled = f.db.cancel_runs(request).await?;
    assert_eq!(cancelled.runs, []);
    assert_eq!(cancelled.effects, Effects::default());
    assert_eq!(f.run(held.run.id).await?.status, RunStatus::Success);
    assert_eq!(f.run(elsewhere).await?.status, RunStatus::Pending);
    let missing = f.cancel(ThreadId::new(), elsewhere, Interrupt).await?;
    assert_eq!(missing.runs, []);
    Ok(())
}

pub(super) async fn runs_are_cancelled_by_where_they_stand(f: Fixture) -> Done {
    let (one, two) = (f.thread().await?, f.thread().await?);
    let running = f.running(one).await?.run.id;
    let pending = [f.accepted(one).await?, f.accepted(two).await?];
    let cancel = async |selection| {
        let request = CancelRequest {
            selection,
            action: Interrupt,
            reason: "all of them".to_owned(),
        };
        let mut runs = f.db.cancel_runs(request).await?.runs;
        runs.sort_unstable();
        Ok::<_, runloom_core::database::DatabaseError>(runs)
    };
    let sorted = |mut runs: Vec<(ThreadId, RunId)>| {
        runs.sort_unstable();
        runs
    };
    assert_eq!(cancel(CancelSelection::Running).await?, [(one, running)]);
    assert_eq!(f.run(pending[0]).await?.cancel, None);
    let expected = sorted(vec![(one, pending[0]), (two, pending[1])]);
    assert_eq!(cancel(CancelSelection::Pending).await?, expected);
    let late = f.accepted(two).await?;
    let expected = sorted(vec![(one, running), (two, late)]);
    assert_eq!(cancel(CancelSelection::All).await?, expected);
    assert_eq!(f.look(one).await?.status, ThreadStatus::Busy);
    assert_eq!(f.look(two).await?.status, ThreadStatus::Idle);
    Ok(())
}

pub(super) async fn a_cancel_that_comes_too_late_changes_nothing(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.cancel(thread, held.run.id, Interrupt).await?;
    f.settle(&held.lease, Transit::Succeed).await?;
    let run = f.run(held.run.id).await?;
    assert_eq!(
        run.status,
        RunStatus::Success,
        "it ended before it could be stopped"
    );
    assert_eq!(f.cancel(thread, held.run.id, Rollback).await?.runs, []);
    assert_eq!(f.run(held.run.id).await?, run);
    Ok(())
}
