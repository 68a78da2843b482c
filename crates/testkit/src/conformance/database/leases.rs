//! Leases of workers, and what becomes of threads whose worker is lost.

use runloom_core::database::{DatabaseError, Sweep, Transit};
use runloom_core::ids::{ClaimId, WorkerId};
use runloom_core::lease::{ClaimReply, Held};
use runloom_core::run::{CancelAction, RunError, RunStatus};
use runloom_core::thread::ThreadStatus;

use super::scene::{Done, Fixture, LEASE, checkpoint};

/// Lets all leases run out.
fn lose_workers(f: &Fixture) {
    f.pass(LEASE.as_secs());
}

pub(super) async fn a_renewal_says_what_the_worker_holds(f: Fixture) -> Done {
    let worker = f.worker().await?;
    assert_eq!(f.db.renew(worker, LEASE).await?, []);
    let (one, two) = (f.thread().await?, f.thread().await?);
    f.accepted(one).await?;
    f.accepted(two).await?;
    let first = f.claim(one, worker).await?;
    let second = f.claim(two, worker).await?;
    f.running(f.thread().await?).await?;
    f.cancel(two, second.run.id, CancelAction::Interrupt)
        .await?;
    let mut held = f.db.renew(worker, LEASE).await?;
    held.sort_by_key(|held| held.thread_id != one);
    let expected = [(first, None), (second, Some(CancelAction::Interrupt))];
    let expected = expected.map(|(claimed, cancel)| Held {
        run_id: claimed.run.id,
        thread_id: claimed.run.thread_id,
        fence: claimed.lease.fence,
        cancel,
    });
    assert_eq!(held, expected);
    Ok(())
}

pub(super) async fn a_renewed_lease_lasts(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    for _ in 0..3 {
        f.pass(LEASE.as_secs() - 1);
        assert_eq!(f.db.renew(held.lease.worker_id, LEASE).await?.len(), 1);
        assert_eq!(f.db.sweep(10).await?, Sweep::default());
    }
    assert_eq!(f.run(held.run.id).await?, held.run);
    Ok(())
}

pub(super) async fn a_late_renewal_counts_until_the_sweep(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.pass(LEASE.as_secs() * 2);
    assert_eq!(f.db.renew(held.lease.worker_id, LEASE).await?.len(), 1);
    assert_eq!(f.db.sweep(10).await?.reaped, 0);
    lose_workers(&f);
    assert_eq!(f.db.sweep(10).await?.reaped, 1);
    let late = f.db.renew(held.lease.worker_id, LEASE).await;
    assert!(matches!(late, Err(DatabaseError::Fenced)), "{late:?}");
    Ok(())
}

pub(super) async fn an_idle_worker_is_swept_too(f: Fixture) -> Done {
    let worker = f.worker().await?;
    lose_workers(&f);
    assert_eq!(f.db.sweep(10).await?.reaped, 0);
    let late = f.db.renew(worker, LEASE).await;
    assert!(matches!(late, Err(DatabaseError::Fenced)), "{late:?}");
    Ok(())
}

pub(super) async fn a_worker_that_was_never_enlisted_renews_nothing(f: Fixture) -> Done {
    let refused = f.db.renew(WorkerId::new(), LEASE).await;
    assert!(matches!(refused, Err(DatabaseError::Fenced)), "{refused:?}");
    Ok(())
}

pub(super) async fn enlisting_twice_is_harmless(f: Fixture) -> Done {
    let worker = f.worker().await?;
    f.pass(LEASE.as_secs() - 1);
    f.db.enlist(worker, LEASE).await?;
    f.pass(LEASE.as_secs() - 1);
    assert_eq!(f.db.renew(worker, LEASE).await?, []);
    Ok(())
}

pub(super) async fn a_lost_worker_s_run_goes_back_to_the_queue(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let lost = f.running(thread).await?;
    let behind = f.accepted(thread).await?;
    lose_workers(&f);
    let sweep = f.db.sweep(10).await?;
    assert_eq!(sweep.reaped, 1);
    let changes: Vec<_> = sweep
        .effects
        .changes
        .iter()
        .map(|c| (c.run_id, c.status))
        .collect();
    assert_eq!(changes, [(lost.run.id, Some(RunStatus::Pending))]);
    assert_eq!(sweep.effects.wakes, [thread]);
    let run = f.run(lost.run.id).await?;
    assert_eq!(
        (run.status, run.worker_id, run.attempt),
        (RunStatus::Pending, None, 1)
    );
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Busy);
    assert_eq!(
        f.db.sweep(10).await?,
        Sweep::default(),
        "there is nothing left to free"
    );

    let worker = f.worker().await?;
    let again = f.claim(thread, worker).await?;
    assert_eq!((again.run.id, again.run.attempt), (lost.run.id, 2));
    assert!(again.lease.fence.epoch > lost.lease.fence.epoch);
    f.settle(&again.lease, Transit::Succeed).await?;
    assert_eq!(f.claim(thread, worker).await?.run.id, behind);
    Ok(())
}

pub(super) async fn a_run_that_loses_every_worker_fails(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let run = f.accepted(thread).await?;
    for attempt in 1..=3 {
        let worker = f.worker().await?;
        assert_eq!(f.claim(thread, worker).await?.run.attempt, attempt);
        lose_workers(&f);
        assert_eq!(f.db.sweep(10).await?.reaped, 1);
    }
    let run = f.run(run).await?;
    assert_eq!(run.status, RunStatus::Error);
    assert_eq!(run.error, Some(RunError::worker_lost()));
    let thread = f.look(thread).await?;
    assert_eq!(thread.status, ThreadStatus::Error);
    assert_eq!(thread.error, Some(RunError::worker_lost()));
    assert_eq!(thread.state_updated_at, f.now());
    Ok(())
}

pub(super) async fn a_lost_run_that_was_to_be_interrupted_goes_to_another_worker(
    f: Fixture,
) -> Done {
    let thread = f.thread().await?;
    let lost = f.running(thread).await?;
    f.put(&lost, vec![checkpoint(&lost, 1)], vec![]).await?;
    f.cancel(thread, lost.run.id, CancelAction::Interrupt)
        .await?;
    for attempt in 2..=3 {
        lose_workers(&f);
        let sweep = f.db.sweep(10).await?;
        assert_eq!(sweep.effects.changes[0].status, Some(RunStatus::Pending));
        assert_eq!(sweep.effects.wakes, [thread]);
        let again = f.claim(thread, f.worker().await?).await?.run;
        assert_eq!((again.id, again.attempt), (lost.run.id, attempt));
        assert_eq!(again.cancel, Some(CancelAction::Interrupt));
    }
    lose_workers(&f);
    let sweep = f.db.sweep(10).await?;
    assert_eq!(
        sweep.effects.changes[0].status,
        Some(RunStatus::Interrupted)
    );
    assert_eq!(f.run(lost.run.id).await?.status, RunStatus::Interrupted);
    assert_eq!(f.shelf(thread).await?.len(), 1, "what it finished stays");
    assert!(f.is_empty(thread).await?);
    Ok(())
}

pub(super) async fn a_lost_run_that_was_to_be_rolled_back_is_gone(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let lost = f.running(thread).await?;
    f.put(&lost, vec![checkpoint(&lost, 1)], vec![]).await?;
    f.cancel(thread, lost.run.id, CancelAction::Rollback)
        .await?;
    let behind = f.accepted(thread).await?;
    lose_workers(&f);
    let sweep = f.db.sweep(10).await?;
    assert_eq!(sweep.effects.changes[0].status, None);
    assert_eq!(sweep.effects.wakes, [thread]);
    assert!(f.is_gone(lost.run.id).await?);
    assert_eq!(f.shelf(thread).await?, []);
    let worker = f.worker().await?;
    assert_eq!(f.claim(thread, worker).await?.run.id, behind);
    Ok(())
}

pub(super) async fn a_sweep_frees_no_more_than_asked(f: Fixture) -> Done {
    for _ in 0..3 {
        f.running(f.thread().await?).await?;
    }
    lose_workers(&f);
    assert_eq!(f.db.sweep(2).await?.reaped, 2);
    assert_eq!(f.db.sweep(2).await?.reaped, 1);
    assert_eq!(f.db.sweep(2).await?.reaped, 0);
    Ok(())
}

pub(super) async fn a_sweep_spares_those_who_live(f: Fixture) -> Done {
    let (one, two) = (f.thread().await?, f.thread().await?);
    let lost = f.running(one).await?;
    f.pass(1);
    let living = f.running(two).await?;
    f.pass(LEASE.as_secs() - 1);
    let sweep = f.db.sweep(10).await?;
    assert_eq!(sweep.reaped, 1);
    assert_eq!(f.run(lost.run.id).await?.status, RunStatus::Pending);
    assert_eq!(f.run(living.run.id).await?.status, RunStatus::Running);
    Ok(())
}

pub(super) async fn a_retired_worker_s_runs_are_freed_by_the_next_sweep(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let worker = held.lease.worker_id;
    f.db.retire(worker).await?;
    let late = f.db.renew(worker, LEASE).await;
    assert!(matches!(late, Err(DatabaseError::Fenced)), "{late:?}");
    assert_eq!(f.db.sweep(10).await?.reaped, 1);
    assert_eq!(f.run(held.run.id).await?.status, RunStatus::Pending);
    f.db.retire(WorkerId::new()).await
}

pub(super) async fn the_writes_of_a_lost_worker_are_refused(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let lost = f.running(thread).await?;
    lose_workers(&f);
    f.put(&lost, vec![checkpoint(&lost, 1)], vec![]).await?;
    f.db.sweep(10).await?;
    let refused = f.put(&lost, vec![checkpoint(&lost, 2)], vec![]).await;
    assert!(matches!(refused, Err(DatabaseError::Fenced)), "{refused:?}");
    let worker = f.worker().await?;
    f.claim(thread, worker).await?;
    let refused = f.put(&lost, vec![checkpoint(&lost, 2)], vec![]).await;
    assert!(matches!(refused, Err(DatabaseError::Fenced)), "{refused:?}");
    assert_eq!(f.shelf(thread).await?.len(), 1);
    Ok(())
}

pub(super) async fn a_thread_freed_by_a_sweep_goes_to_whoever_asks_next(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.accepted(thread).await?;
    let (lost, claim) = (f.worker().await?, ClaimId::new());
    f.db.claim(thread, lost, claim).await?;
    lose_workers(&f);
    f.db.sweep(10).await?;
    assert_eq!(f.db.claim(thread, lost, claim).await?, ClaimReply::NotAlive);
    let worker = f.worker().await?;
    let held = f.claim(thread, worker).await?;
    assert_eq!(f.db.claim(thread, lost, claim).await?, ClaimReply::Busy);
    assert_eq!(f.run(held.run.id).await?.worker_id, Some(worker));
    Ok(())
}
