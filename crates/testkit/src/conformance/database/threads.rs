//! Threads: their life, their status, their copies.

use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{DatabaseError, Settlement, ThreadDeletion, ThreadPatch, Transit};
use runloom_core::ids::{ClaimId, ThreadId};
use runloom_core::lease::ClaimReply;
use runloom_core::run::{CancelAction, RunError, RunKwargs, RunStatus};
use runloom_core::search::RunFilter;
use runloom_core::state::Head;
use runloom_core::thread::{IfExists, NewThread, ThreadStatus};
use serde_json::json;
use std::time::Duration;

use super::scene::{
    ALL, Done, Fixture, a_run, checkpoint, finished, map, new_thread, settled_as, unfinished,
    with_channel, write, writes,
};

pub(super) async fn a_thread_is_created_idle_and_reads_back(f: Fixture) -> Done {
    let new = new_thread(&json!({"user": "ada", "tags": ["a", 1, null]}));
    let created = f.db.create_thread(new.clone()).await?;
    assert_eq!(created.id, new.id);
    assert_eq!(created.metadata, new.metadata);
    assert_eq!(created.status, ThreadStatus::Idle);
    assert_eq!(created.values, None);
    assert_eq!(created.error, None);
    assert!(created.config.is_empty() && created.interrupts.is_empty());
    for time in [
        created.created_at,
        created.updated_at,
        created.state_updated_at,
    ] {
        assert_eq!(time, f.now());
    }
    assert_eq!(f.look(new.id).await?, created);
    Ok(())
}

pub(super) async fn an_existing_thread_is_only_answered_with_on_request(f: Fixture) -> Done {
    let new = new_thread(&json!({"first": true}));
    let created = f.db.create_thread(new.clone()).await?;
    let refused = f.db.create_thread(new.clone()).await;
    assert!(
        matches!(refused, Err(DatabaseError::Exists(_))),
        "{refused:?}"
    );
    f.pass(1);
    let again = NewThread {
        metadata: map(&json!({"second": true})),
        if_exists: IfExists::DoNothing,
        ..new
    };
    assert_eq!(f.db.create_thread(again).await?, created);
    Ok(())
}

pub(super) async fn a_missing_thread_is_not_found(f: Fixture) -> Done {
    let id = ThreadId::new();
    assert_eq!(f.db.thread(id).await?, None);
    let patched = f.db.patch_thread(id, ThreadPatch::default()).await;
    assert!(
        matches!(patched, Err(DatabaseError::NotFound(_))),
        "{patched:?}"
    );
    let deleted = f.db.delete_thread(id).await;
    assert!(
        matches!(deleted, Err(DatabaseError::NotFound(_))),
        "{deleted:?}"
    );
    let copied = f.db.copy_thread(id, ThreadId::new()).await;
    assert!(
        matches!(copied, Err(DatabaseError::NotFound(_))),
        "{copied:?}"
    );
    Ok(())
}

pub(super) async fn a_patch_merges_metadata_key_by_key(f: Fixture) -> Done {
    let new = new_thread(&json!({"kept": 1, "changed": {"deep": 1}}));
    let created = f.db.create_thread(new).await?;
    f.pass(1);
    let patch = ThreadPatch {
        metadata: map(&json!({"changed": 2, "added": 3})),
        ttl: None,
    };
    let patched = f.db.patch_thread(created.id, patch).await?;
    assert_eq!(
        patched.metadata,
        map(&json!({"kept": 1, "changed": 2, "added": 3}))
    );
    assert_eq!(patched.updated_at, f.now());
    assert_eq!(patched.state_updated_at, created.state_updated_at);
    assert_eq!(f.look(created.id).await?, patched);
    Ok(())
}

pub(super) async fn a_thread_is_busy_until_its_last_run_is_over(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.accepted(thread).await?;
    f.accepted(thread).await?;
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Busy);
    let worker = f.worker().await?;
    for expected in [ThreadStatus::Busy, ThreadStatus::Idle] {
        let claimed = f.claim(thread, worker).await?;
        assert_eq!(f.look(thread).await?.status, ThreadStatus::Busy);
        f.settle(&claimed.lease, Transit::Succeed).await?;
        assert_eq!(f.look(thread).await?.status, expected);
    }
    Ok(())
}

pub(super) async fn a_run_leaves_its_head_on_the_thread(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.pass(1);
    let claimed = f.running(thread).await?;
    let before = f.look(thread).await?;
    f.pass(1);
    let head = Head {
        interrupts: map(&json!({"task": [{"id": "i", "value": "sure?"}]})),
        ..unfinished(&json!({"messages": [1, 2]}))
    };
    let settlement = Settlement {
        head: Some(head.clone()),
        ..settled_as(Transit::Succeed)
    };
    f.db.settle(&claimed.lease, settlement, None).await?;
    let after = f.look(thread).await?;
    assert_eq!(after.values, Some(head.values));
    assert_eq!(after.interrupts, head.interrupts);
    assert_eq!(after.status, ThreadStatus::Interrupted);
    assert_eq!(after.state_updated_at, f.now());
    assert!(before.state_updated_at < f.now());
    f.complete(thread, finished(&json!({}))).await?;
    let after = f.look(thread).await?;
    assert_eq!(after.status, ThreadStatus::Idle);
    assert!(after.interrupts.is_empty());
    Ok(())
}

pub(super) async fn a_failed_run_marks_its_thread_until_another_one_ends(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let claimed = f.running(thread).await?;
    let error = RunError::new("ValueError", "kaboom");
    let settlement = Settlement {
        head: Some(unfinished(&json!({}))),
        ..settled_as(Transit::Fail(error.clone()))
    };
    f.db.settle(&claimed.lease, settlement, None).await?;
    let failed = f.look(thread).await?;
    assert_eq!(failed.status, ThreadStatus::Error);
    assert_eq!(failed.error, Some(error));

    let claimed = f.running(thread).await?;
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Busy);
    f.settle(&claimed.lease, Transit::Interrupt).await?;
    let stopped = f.look(thread).await?;
    assert_eq!(
        stopped.status,
        ThreadStatus::Interrupted,
        "a stop is no failure"
    );
    assert_eq!(stopped.error, None);

    let claimed = f.running(thread).await?;
    let error = RunError::new("Timeout", "too long");
    f.settle(&claimed.lease, Transit::TimeOut(error)).await?;
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Error);
    Ok(())
}

pub(super) async fn values_change_only_when_a_run_is_over(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.complete(thread, finished(&json!({"n": 1}))).await?;
    let before = f.look(thread).await?;
    f.pass(1);
    let claimed = f.running(thread).await?;
    f.put(&claimed, vec![checkpoint(&claimed, 1)], vec![])
        .await?;
    let settlement = Settlement {
        head: Some(unfinished(&json!({"n": 2}))),
        ..settled_as(Transit::HandBack)
    };
    f.db.settle(&claimed.lease, settlement, None).await?;
    let between = f.look(thread).await?;
    assert_eq!(between.values, before.values);
    assert_eq!(between.state_updated_at, before.state_updated_at);

    let claimed = f.claim(thread, claimed.lease.worker_id).await?;
    f.settle(&claimed.lease, Transit::Succeed).await?;
    let after = f.look(thread).await?;
    assert_eq!(after.values, before.values, "no head, no change");
    assert_eq!(after.status, ThreadStatus::Idle);
    assert_eq!(after.state_updated_at, f.now());
    Ok(())
}

pub(super) async fn a_pending_run_that_ends_gives_the_thread_its_status_back(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.complete(thread, unfinished(&json!({}))).await?;
    let run = f.accepted(thread).await?;
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Busy);
    f.cancel(thread, run, CancelAction::Interrupt).await?;
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Interrupted);
    Ok(())
}

pub(super) async fn a_deleted_thread_takes_everything_with_it(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let claimed = f.running(thread).await?;
    f.put(&claimed, vec![checkpoint(&claimed, 1)], vec![])
        .await?;
    f.settle(&claimed.lease, Transit::Succeed).await?;
    let pending = f.accepted(thread).await?;

    let ThreadDeletion::Deleted(effects) = f.db.delete_thread(thread).await? else {
        panic!("nothing executes");
    };
    let changes: Vec<_> = effects
        .changes
        .iter()
        .map(|c| (c.run_id, c.status))
        .collect();
    assert_eq!(changes, [(pending, None)]);
    assert_eq!(f.db.thread(thread).await?, None);
    assert!(f.is_gone(claimed.run.id).await? && f.is_gone(pending).await?);
    assert_eq!(f.shelf(thread).await?, []);

    let new = NewThread {
        id: thread,
        ..new_thread(&json!({}))
    };
    f.db.create_thread(new).await?;
    assert_eq!(f.shelf(thread).await?, []);
    assert!(f.is_empty(thread).await?);
    Ok(())
}

pub(super) async fn a_thread_is_not_deleted_under_a_running_run(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let claimed = f.running(thread).await?;
    let pending = f.accepted(thread).await?;
    let ThreadDeletion::Stopping(effects) = f.db.delete_thread(thread).await? else {
        panic!("a run executes");
    };
    let [(worker, signal)] = effects.signals[..] else {
        panic!("one run executes: {effects:?}");
    };
    assert_eq!(worker, claimed.lease.worker_id);
    assert_eq!(signal.claim, claimed.lease.fence.claim);
    assert_eq!(signal.action, CancelAction::Rollback);
    assert!(f.is_gone(pending).await?);
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Busy);

    f.settle(&claimed.lease, Transit::Interrupt).await?;
    assert!(f.is_gone(claimed.run.id).await?);
    let deleted = f.db.delete_thread(thread).await?;
    assert!(matches!(deleted, ThreadDeletion::Deleted(_)), "{deleted:?}");
    Ok(())
}

pub(super) async fn a_copy_has_the_state_and_not_the_runs(f: Fixture) -> Done {
    let source =
        f.db.create_thread(new_thread(&json!({"user": "ada"})))
            .await?
            .id;
    let claimed = f.running(source).await?;
    let first = with_channel(checkpoint(&claimed, 1), "log", "v1", Some(b"one"));
    let beside = writes(1, vec![write("t", 0, b"w")]);
    f.put(&claimed, vec![first], vec![beside]).await?;
    let settlement = Settlement {
        head: Some(unfinished(&json!({"n": 1}))),
        ..settled_as(Transit::Fail(RunError::new("E", "m")))
    };
    f.db.settle(&claimed.lease, settlement, None).await?;

    f.pass(1);
    let to = ThreadId::new();
    let copy = f.db.copy_thread(source, to).await?;
    let original = f.look(source).await?;
    assert_eq!((copy.id, copy.created_at), (to, f.now()));
    assert_eq!(copy.metadata, original.metadata);
    assert_eq!(copy.config, original.config);
    assert_eq!(copy.values, original.values);
    assert_eq!(
        copy.status,
        ThreadStatus::Interrupted,
        "no run of it failed"
    );
    assert_eq!(copy.error, None);
    assert_eq!(f.look(to).await?, copy);
    assert_eq!(f.db.runs(to, RunFilter::default(), ALL).await?, []);
    let mut expected = f.latest(source).await?;
    expected.checkpoint.thread_id = to;
    assert_eq!(f.latest(to).await?, expected);
    Ok(())
}

pub(super) async fn a_copy_does_not_change_with_its_source(f: Fixture) -> Done {
    let source = f.thread().await?;
    let claimed = f.running(source).await?;
    f.put(&claimed, vec![checkpoint(&claimed, 1)], vec![])
        .await?;
    let copy = f.db.copy_thread(source, ThreadId::new()).await?;
    assert_eq!(copy.status, ThreadStatus::Idle, "the run is not copied");
    let before = f.shelf(copy.id).await?;
    assert_eq!(before.len(), 1);

    f.cancel(source, claimed.run.id, CancelAction::Rollback)
        .await?;
    f.settle(&claimed.lease, Transit::Interrupt).await?;
    assert_eq!(f.shelf(source).await?, []);
    assert_eq!(f.shelf(copy.id).await?, before);
    f.db.delete_thread(source).await?;
    assert_eq!(f.shelf(copy.id).await?, before);
    let claimed = f.running(copy.id).await?;
    assert_eq!(claimed.run.seq, 1, "a copy counts its own runs");
    Ok(())
}

pub(super) async fn a_copy_does_not_replace_a_thread(f: Fixture) -> Done {
    let (from, to) = (f.thread().await?, f.thread().await?);
    let refused = f.db.copy_thread(from, to).await;
    assert!(
        matches!(refused, Err(DatabaseError::Exists(_))),
        "{refused:?}"
    );
    Ok(())
}

/// A run with a thread of its own.
fn a_temporary_run() -> NewRun {
    let new = a_run(ThreadId::new());
    NewRun {
        kwargs: RunKwargs {
            temporary: true,
            ..new.kwargs
        },
        if_thread_missing: IfThreadMissing::Create,
        ..new
    }
}

pub(super) async fn a_temporary_thread_goes_some_time_after_its_run(f: Fixture) -> Done {
    const AGE: Duration = Duration::from_mins(1);
    let (run, _) = f.submit(a_temporary_run()).await?;
    f.pass(100);
    assert_eq!(
        f.db.prune_temporary(AGE, 10).await?,
        0,
        "the run is not over"
    );
    let worker = f.worker().await?;
    let claimed = f.claim(run.thread_id, worker).await?;
    f.put(&claimed, vec![checkpoint(&claimed, 1)], vec![])
        .await?;
    f.settle(&claimed.lease, Transit::Succeed).await?;
    f.pass(59);
    assert_eq!(
        f.db.prune_temporary(AGE, 10).await?,
        0,
        "somebody may still join"
    );
    f.pass(1);
    assert_eq!(f.db.prune_temporary(AGE, 10).await?, 1);
    assert_eq!(f.db.thread(run.thread_id).await?, None);
    assert!(f.is_gone(run.id).await?);
    assert_eq!(f.shelf(run.thread_id).await?, []);
    assert_eq!(f.db.prune_temporary(AGE, 10).await?, 0);
    Ok(())
}

pub(super) async fn a_temporary_thread_goes_even_if_its_run_was_rolled_back(f: Fixture) -> Done {
    let (run, _) = f.submit(a_temporary_run()).await?;
    f.cancel(run.thread_id, run.id, CancelAction::Rollback)
        .await?;
    f.pass(1);
    assert_eq!(f.db.prune_temporary(Duration::from_secs(1), 10).await?, 1);
    assert_eq!(f.db.thread(run.thread_id).await?, None);
    Ok(())
}

pub(super) async fn pruning_spares_what_it_should(f: Fixture) -> Done {
    // A lasting run on a new thread, a temporary run on a lasting thread, three temporary threads.
    let lasting = NewRun {
        kwargs: RunKwargs::default(),
        ..a_temporary_run()
    };
    let visitor = NewRun {
        thread_id: f.thread().await?,
        ..a_temporary_run()
    };
    let new = [
        lasting,
        visitor,
        a_temporary_run(),
        a_temporary_run(),
        a_temporary_run(),
    ];
    let mut threads = Vec::new();
    for new in new {
        let (run, _) = f.submit(new).await?;
        f.cancel(run.thread_id, run.id, CancelAction::Interrupt)
            .await?;
        assert_eq!(f.run(run.id).await?.status, RunStatus::Interrupted);
        threads.push(run.thread_id);
    }
    assert_eq!(
        f.db.prune_temporary(Duration::ZERO, 2).await?,
        2,
        "no more than asked"
    );
    assert_eq!(f.db.prune_temporary(Duration::ZERO, 2).await?, 1);
    for thread in &threads[..2] {
        f.look(*thread).await?;
    }
    Ok(())
}

pub(super) async fn a_thread_made_anew_is_closed_to_the_attempts_of_the_old_one(
    f: Fixture,
) -> Done {
    let thread = f.thread().await?;
    let old = f.running(thread).await?;
    f.settle(&old.lease, Transit::Succeed).await?;
    f.db.delete_thread(thread).await?;
    let again = NewRun {
        if_thread_missing: IfThreadMissing::Create,
        ..a_run(thread)
    };
    f.submit(again).await?;
    let worker = f.worker().await?;
    let reply = f.db.claim(thread, worker, ClaimId::new()).await?;
    assert!(matches!(reply, ClaimReply::Claimed(_)), "{reply:?}");
    let late = f.put(&old, vec![checkpoint(&old, 1)], vec![]).await;
    assert!(matches!(late, Err(DatabaseError::Fenced)), "{late:?}");
    let late = f.settle(&old.lease, Transit::Succeed).await;
    assert!(matches!(late, Err(DatabaseError::Fenced)), "{late:?}");
    Ok(())
}
