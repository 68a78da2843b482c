//! What is deleted in time.

use std::time::Duration;

use chrono::TimeDelta;
use futures::future::{join, join_all};
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{DatabaseError, Expired, Guard, Submission, ThreadPatch, Transit};
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::run::{CancelAction, RunStatus};
use runloom_core::search::{RunFilter, SortOrder, ThreadFilter, ThreadSort};
use runloom_core::thread::{IfExists, NewThread, ThreadStatus, Ttl, TtlStrategy};
use serde_json::json;

use super::checkpoints::ids;
use super::scene::{
    ALL, Done, Fixture, a_delayed_run, a_run, blob, checkpoint, checkpoint_id, finished, map,
    new_thread, outside_checkpoint, settled_as, text, with_channel,
};

fn ttl(minutes: f64, strategy: TtlStrategy) -> Ttl {
    Ttl::new(minutes, strategy).expect("a number that makes sense")
}

/// Two minutes, then the thread is deleted.
fn short() -> Ttl {
    ttl(2.0, TtlStrategy::Delete)
}

/// Two minutes, then its history is.
fn trimming() -> Ttl {
    ttl(2.0, TtlStrategy::KeepLatest)
}

fn new(ttl: Ttl) -> NewThread {
    NewThread {
        ttl: Some(ttl),
        ..new_thread(&json!({}))
    }
}

async fn made(f: &Fixture, ttl: Ttl) -> Result<ThreadId, DatabaseError> {
    Ok(f.db.create_thread(new(ttl)).await?.id)
}

/// Looks at all there is to look at.
async fn expire(f: &Fixture) -> Result<Expired, DatabaseError> {
    let mut sum = Expired::default();
    loop {
        let some = f.db.expire_threads(2).await?;
        sum.deleted += some.deleted;
        sum.trimmed += some.trimmed;
        sum.checkpoints += some.checkpoints;
        if some.seen < 2 {
            return Ok(sum);
        }
    }
}

async fn is_there(f: &Fixture, thread: ThreadId) -> Result<bool, DatabaseError> {
    Ok(f.db.thread(thread).await?.is_some())
}

async fn touch(f: &Fixture, thread: ThreadId) -> Done {
    let patch = ThreadPatch {
        metadata: map(&json!({"k": 1})),
        ttl: None,
    };
    f.db.patch_thread(thread, patch).await?;
    Ok(())
}

async fn patch(f: &Fixture, thread: ThreadId, ttl: Option<Ttl>) -> Done {
    let patch = ThreadPatch {
        metadata: JsonMap::new(),
        ttl: Some(ttl),
    };
    f.db.patch_thread(thread, patch).await?;
    Ok(())
}

pub(super) async fn a_time_to_live_is_kept_changed_and_taken_away(f: Fixture) -> Done {
    let odd = ttl(1.0 / 3.0, TtlStrategy::KeepLatest);
    let thread = f.db.create_thread(new(odd)).await?;
    assert_eq!(thread.ttl, Some(odd));
    assert_eq!(
        thread.expires_at(),
        Some(thread.created_at + TimeDelta::seconds(20))
    );
    assert_eq!(f.look(thread.id).await?, thread);
    let sort = (ThreadSort::CreatedAt, SortOrder::Asc);
    let found =
        f.db.search_threads(&ThreadFilter::default(), sort, ALL)
            .await?;
    assert_eq!(found, std::slice::from_ref(&thread));
    // A thread that is there keeps what it has.
    let again = NewThread {
        id: thread.id,
        if_exists: IfExists::DoNothing,
        ..new(short())
    };
    assert_eq!(f.db.create_thread(again).await?.ttl, Some(odd));
    let copy = f.db.copy_thread(thread.id, ThreadId::new()).await?;
    assert_eq!(copy.ttl, Some(odd));
    assert_eq!(f.look(copy.id).await?.ttl, Some(odd));

    touch(&f, thread.id).await?;
    assert_eq!(f.look(thread.id).await?.ttl, Some(odd));
    patch(&f, thread.id, Some(short())).await?;
    assert_eq!(f.look(thread.id).await?.ttl, Some(short()));
    patch(&f, thread.id, None).await?;
    assert_eq!(f.look(thread.id).await?.ttl, None);
    f.pass(21);
    assert_eq!(expire(&f).await?.trimmed, 1, "the copy");
    assert!(is_there(&f, thread.id).await?);
    Ok(())
}

pub(super) async fn a_thread_without_a_time_to_live_stays(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.complete(thread, finished(&json!({}))).await?;
    f.pass(1_000_000);
    assert_eq!(expire(&f).await?, Expired::default());
    assert!(is_there(&f, thread).await?);
    // One that is there already can be given one, which begins then.
    patch(&f, thread, Some(short())).await?;
    f.pass(119);
    assert_eq!(expire(&f).await?.deleted, 0);
    f.pass(1);
    assert_eq!(expire(&f).await?.deleted, 1);
    Ok(())
}

pub(super) async fn a_thread_whose_time_is_up_is_gone_with_everything(f: Fixture) -> Done {
    let thread = made(&f, short()).await?;
    let run = with_history(&f, thread, 1).await?;
    f.pass(119);
    assert_eq!(expire(&f).await?.deleted, 0);
    f.pass(1);
    assert_eq!(expire(&f).await?.deleted, 1);
    assert!(!is_there(&f, thread).await?);
    assert!(f.is_gone(run).await?);
    assert_eq!(f.shelf(thread).await?, []);
    assert_eq!(expire(&f).await?, Expired::default());
    Ok(())
}

/// A run that leaves two checkpoints, the first of them the `first`-th.
async fn with_history(f: &Fixture, thread: ThreadId, first: u32) -> Result<RunId, DatabaseError> {
    let held = f.running(thread).await?;
    let version = first.to_string();
    let puts = vec![
        with_channel(checkpoint(&held, first), "log", &version, Some(b"value")),
        with_channel(checkpoint(&held, first + 1), "log", &version, None),
    ];
    f.put(&held, puts, vec![]).await?;
    let settlement = runloom_core::database::Settlement {
        head: Some(finished(&json!({"n": first}))),
        ..settled_as(Transit::Succeed)
    };
    f.db.settle(&held.lease, settlement, None).await?;
    Ok(held.run.id)
}

pub(super) async fn whatever_happens_on_a_thread_gives_it_all_its_time_again(f: Fixture) -> Done {
    let thread = made(&f, short()).await?;
    f.pass(100);
    touch(&f, thread).await?;
    f.pass(100);
    assert_eq!(expire(&f).await?.deleted, 0, "its metadata changed");
    let run = f.accepted(thread).await?;
    f.pass(100);
    f.cancel(thread, run, CancelAction::Interrupt).await?;
    f.pass(119);
    assert_eq!(expire(&f).await?.deleted, 0, "a run was stopped");
    let held = f.running(thread).await?;
    f.pass(100);
    f.settle(&held.lease, Transit::Succeed).await?;
    f.pass(119);
    assert_eq!(expire(&f).await?.deleted, 0, "a run ended");
    let guard = Guard::Idle {
        seen: None,
        head: finished(&json!({})),
    };
    f.db.put_checkpoints(thread, guard, vec![outside_checkpoint(thread, 1)], vec![])
        .await?;
    f.pass(119);
    assert_eq!(expire(&f).await?.deleted, 0, "its state was updated");
    let expires_at = f.look(thread).await?.expires_at();
    assert_eq!(expires_at, Some(f.now() + TimeDelta::seconds(1)));
    f.pass(1);
    assert_eq!(expire(&f).await?.deleted, 1);
    Ok(())
}

pub(super) async fn a_thread_with_work_in_flight_is_left_alone(f: Fixture) -> Done {
    let (pending, delayed) = (made(&f, short()).await?, made(&f, trimming()).await?);
    let waits = f.accepted(pending).await?;
    let (later, _) = f.submit(a_delayed_run(delayed, 1_000)).await?;
    let running = f.running(made(&f, short()).await?).await?;
    f.pass(500);
    assert_eq!(expire(&f).await?, Expired::default());
    f.settle(&running.lease, Transit::Succeed).await?;
    f.pass(119);
    assert_eq!(expire(&f).await?, Expired::default());
    f.pass(1);
    assert_eq!(expire(&f).await?.deleted, 1);
    assert!(f.is_gone(running.run.id).await?);
    for run in [waits, later.id] {
        assert_eq!(f.run(run).await?.status, RunStatus::Pending);
    }
    let worker = f.worker().await?;
    let held = f.claim(pending, worker).await?;
    f.settle(&held.lease, Transit::Succeed).await?;
    Ok(())
}

pub(super) async fn a_thread_that_is_to_stay_loses_its_history_once(f: Fixture) -> Done {
    let thread = made(&f, trimming()).await?;
    let first = with_history(&f, thread, 1).await?;
    let second = with_history(&f, thread, 3).await?;
    let before = f.look(thread).await?;
    f.pass(120);
    let expired = expire(&f).await?;
    assert_eq!((expired.deleted, expired.trimmed), (0, 1));
    assert_eq!(expired.checkpoints, 3);
    let left = f.shelf(thread).await?;
    assert_eq!(ids(&left), [checkpoint_id(4)]);
    assert_eq!(left[0].channels["log"], blob(b"value"));
    assert_eq!(f.look(thread).await?, before, "the thread looks as it did");
    for run in [first, second] {
        assert_eq!(f.run(run).await?.status, RunStatus::Success);
    }
    for _ in 0..3 {
        f.pass(1_000);
        assert_eq!(f.db.expire_threads(10).await?, Expired::default());
    }
    Ok(())
}

pub(super) async fn a_thread_that_lost_its_history_loses_what_came_later(f: Fixture) -> Done {
    let thread = made(&f, trimming()).await?;
    with_history(&f, thread, 1).await?;
    f.pass(120);
    assert_eq!(expire(&f).await?.checkpoints, 1);
    f.pass(1_000);
    with_history(&f, thread, 3).await?;
    f.pass(119);
    assert_eq!(expire(&f).await?, Expired::default());
    f.pass(1);
    assert_eq!(expire(&f).await?.checkpoints, 2);
    f.pass(1_000);
    let guard = Guard::Idle {
        seen: Some(checkpoint_id(4)),
        head: finished(&json!({})),
    };
    f.db.put_checkpoints(thread, guard, vec![outside_checkpoint(thread, 5)], vec![])
        .await?;
    f.pass(120);
    assert_eq!(expire(&f).await?.checkpoints, 1);
    assert_eq!(ids(&f.shelf(thread).await?), [checkpoint_id(5)]);
    // What it is to lose may become itself.
    patch(&f, thread, Some(short())).await?;
    f.pass(120);
    assert_eq!(expire(&f).await?.deleted, 1);
    Ok(())
}

pub(super) async fn a_thread_made_for_a_run_has_the_time_that_it_was_given(f: Fixture) -> Done {
    let bringing = |thread| NewRun {
        if_thread_missing: IfThreadMissing::Create,
        thread_ttl: Some(short()),
        ..a_run(thread)
    };
    let delayed = NewRun {
        delay: TimeDelta::seconds(1),
        ..bringing(ThreadId::new())
    };
    let old = f.thread().await?;
    for new in [bringing(ThreadId::new()), delayed] {
        let (run, _) = f.submit(new).await?;
        let thread = f.look(run.thread_id).await?;
        assert_eq!(thread.ttl, Some(short()));
        assert_eq!(thread.expires_at(), Some(f.now() + TimeDelta::minutes(2)));
        // It is there now.
        let second = NewRun {
            thread_ttl: Some(trimming()),
            ..bringing(run.thread_id)
        };
        f.submit(second).await?;
        assert_eq!(f.look(run.thread_id).await?.ttl, Some(short()));
    }
    let (run, _) = f.submit(bringing(old)).await?;
    assert_eq!(f.look(old).await?.ttl, None);
    f.cancel(old, run.id, CancelAction::Rollback).await?;

    let (run, _) = f.submit(bringing(ThreadId::new())).await?;
    f.cancel(run.thread_id, run.id, CancelAction::Rollback)
        .await?;
    f.pass(120);
    assert_eq!(expire(&f).await?.deleted, 1, "the others have work");
    assert!(!is_there(&f, run.thread_id).await?);
    Ok(())
}

pub(super) async fn no_more_threads_are_looked_at_than_asked(f: Fixture) -> Done {
    for _ in 0..5 {
        made(&f, short()).await?;
        f.pass(1);
    }
    f.pass(120);
    for (seen, deleted) in [(2, 2), (2, 2), (1, 1), (0, 0)] {
        let expired = f.db.expire_threads(2).await?;
        assert_eq!((expired.seen, expired.deleted), (seen, deleted));
    }
    Ok(())
}

pub(super) async fn a_thread_made_anew_has_none_of_the_time_of_the_old_one(f: Fixture) -> Done {
    let thread = made(&f, short()).await?;
    f.db.delete_thread(thread).await?;
    let again = NewThread {
        id: thread,
        ..new_thread(&json!({}))
    };
    assert_eq!(f.db.create_thread(again).await?.ttl, None);
    f.pass(1_000);
    assert_eq!(expire(&f).await?, Expired::default());
    assert_eq!(f.look(thread).await?.ttl, None);
    Ok(())
}

pub(super) async fn sweeps_at_once_share_what_there_is(f: Fixture) -> Done {
    for number in 0..24 {
        let ttl = if number % 2 == 0 { short() } else { trimming() };
        let thread = made(&f, ttl).await?;
        with_history(&f, thread, 1).await?;
    }
    f.pass(120);
    let sweeps = (0..4).map(|_| expire(&f));
    let mut sum = Expired::default();
    for some in join_all(sweeps).await {
        let some = some?;
        sum.deleted += some.deleted;
        sum.trimmed += some.trimmed;
        sum.checkpoints += some.checkpoints;
    }
    // What one of them had in hand when the others looked may be left for the next.
    let rest = expire(&f).await?;
    assert_eq!(sum.deleted + rest.deleted, 12);
    assert_eq!(sum.trimmed + rest.trimmed, 12);
    assert_eq!(sum.checkpoints + rest.checkpoints, 12);
    Ok(())
}

pub(super) async fn of_a_sweep_and_a_run_at_once_one_is_first(f: Fixture) -> Done {
    for round in 0..20 {
        let ttl = if round % 2 == 0 { short() } else { trimming() };
        let thread = made(&f, ttl).await?;
        with_history(&f, thread, 1).await?;
        f.pass(120);
        let (expired, submitted) = join(expire(&f), f.db.submit_run(a_run(thread))).await;
        let expired = expired?;
        match submitted {
            Ok(Submission::Accepted(run, _)) => {
                assert_eq!(expired.deleted, 0);
                assert_eq!(f.look(thread).await?.status, ThreadStatus::Busy);
                // With all its history, or without what it can do without.
                let left = f.shelf(thread).await?.len() as u64;
                assert_eq!(left, 2 - expired.checkpoints);
                let worker = f.worker().await?;
                let held = f.claim(thread, worker).await?;
                assert_eq!(held.run.id, run.id);
                f.put(&held, vec![checkpoint(&held, 9)], vec![]).await?;
                f.settle(&held.lease, Transit::Succeed).await?;
                f.pass(119);
                assert_eq!(expire(&f).await?, Expired::default());
                f.pass(1);
                let late = expire(&f).await?;
                assert_eq!(late.deleted + late.trimmed, 1);
            }
            Err(DatabaseError::NotFound(_)) => assert_eq!(expired.deleted, 1),
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

pub(super) async fn records_of_runs_go_when_they_are_old_enough(f: Fixture) -> Done {
    const AGE: Duration = Duration::from_mins(10);
    let thread = f.thread().await?;
    let first = with_history(&f, thread, 1).await?;
    let failing = f.running(thread).await?;
    let second = failing.run.id;
    let error = runloom_core::run::RunError::new("E", "it broke");
    f.settle(&failing.lease, Transit::Fail(error)).await?;
    f.pass(1);
    let third = with_history(&f, thread, 3).await?;
    let held = f.running(thread).await?;
    let waits = f.accepted(thread).await?;
    f.pass(598);
    assert_eq!(f.db.prune_runs(AGE, 10).await?, 0);
    f.pass(1);
    assert_eq!(f.db.prune_runs(AGE, 1).await?, 1, "no more than asked");
    assert_eq!(f.db.prune_runs(AGE, 10).await?, 1);
    for run in [first, second] {
        assert!(f.is_gone(run).await?);
    }
    f.pass(10_000);
    assert_eq!(f.db.prune_runs(AGE, 10).await?, 1);
    assert!(f.is_gone(third).await?);
    for run in [held.run.id, waits] {
        assert!(!f.run(run).await?.status.is_terminal());
    }
    // What they left stays, and the thread goes on.
    assert_eq!(f.shelf(thread).await?.len(), 4);
    assert_eq!(f.look(thread).await?.values, Some(text(&json!({"n": 3}))));
    f.settle(&held.lease, Transit::Succeed).await?;
    let worker = f.worker().await?;
    assert_eq!(f.claim(thread, worker).await?.run.id, waits);
    let unknown = f.db.runs(thread, RunFilter::default(), ALL).await?;
    assert_eq!(unknown.len(), 2);
    Ok(())
}
