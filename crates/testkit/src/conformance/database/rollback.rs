//! Rollback: afterwards the thread is as it was before the run, byte for byte.

use runloom_core::checkpoint::CheckpointTuple;
use runloom_core::database::{DatabaseError, Settlement, Transit};
use runloom_core::ids::ThreadId;
use runloom_core::json::{Json, JsonMap};
use runloom_core::lease::Claimed;
use runloom_core::run::{CancelAction, RunError};
use runloom_core::thread::ThreadStatus;
use serde_json::json;
use std::time::Duration;

use super::scene::{
    Done, Fixture, blob, checkpoint, settled_as, unfinished, with_channel, write, writes, written,
};

/// All that is the state of a thread.
#[derive(Debug, PartialEq)]
struct State {
    checkpoints: Vec<CheckpointTuple>,
    values: Option<Json>,
    interrupts: JsonMap,
    status: ThreadStatus,
    error: Option<RunError>,
}

async fn state(f: &Fixture, thread: ThreadId) -> Result<State, DatabaseError> {
    let row = f.look(thread).await?;
    Ok(State {
        checkpoints: f.shelf(thread).await?,
        values: row.values,
        interrupts: row.interrupts,
        status: row.status,
        error: row.error,
    })
}

/// A thread with a run that paused at its second checkpoint, waiting for a human.
async fn paused_thread(f: &Fixture) -> Result<ThreadId, DatabaseError> {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let first = with_channel(checkpoint(&held, 1), "log", "v1", Some(b"one"));
    let second = with_channel(checkpoint(&held, 2), "log", "v1", None);
    let waits = writes(
        2,
        vec![write("ask", -3, b"which?"), write("other", 0, b"done")],
    );
    f.put(&held, vec![first, second], vec![waits]).await?;
    let settlement = Settlement {
        head: Some(unfinished(&json!({"n": 1}))),
        ..settled_as(Transit::Succeed)
    };
    f.db.settle(&held.lease, settlement, None).await?;
    Ok(thread)
}

async fn roll_back(f: &Fixture, held: &Claimed) -> Done {
    f.cancel(held.run.thread_id, held.run.id, CancelAction::Rollback)
        .await?;
    f.settle(&held.lease, Transit::Interrupt).await?;
    assert!(f.is_gone(held.run.id).await?);
    Ok(())
}

pub(super) async fn checkpoints_values_and_writes_of_the_run_are_gone(f: Fixture) -> Done {
    let thread = paused_thread(&f).await?;
    let before = state(&f, thread).await?;
    let held = f.running(thread).await?;
    let third = with_channel(checkpoint(&held, 3), "log", "v3", Some(b"three"));
    let beside = vec![
        writes(2, vec![write("late", 0, b"x"), write("late", -1, b"y")]),
        writes(3, vec![write("z", 0, b"z")]),
    ];
    f.put(&held, vec![third], beside).await?;
    assert_ne!(state(&f, thread).await?, before);
    roll_back(&f, &held).await?;
    assert_eq!(state(&f, thread).await?, before);

    // The values are gone as well: a version that is stored anew gets a new value.
    let held = f.running(thread).await?;
    let third = with_channel(checkpoint(&held, 3), "log", "v3", Some(b"another"));
    f.put(&held, vec![third], vec![]).await?;
    assert_eq!(f.latest(thread).await?.channels["log"], blob(b"another"));
    assert_eq!(f.latest(thread).await?.writes, []);
    Ok(())
}

pub(super) async fn special_writes_that_the_run_replaced_are_back(f: Fixture) -> Done {
    let thread = paused_thread(&f).await?;
    let before = state(&f, thread).await?;
    let held = f.running(thread).await?;
    for data in [b"what now?", b"and now ?"] {
        let new = vec![write("ask", -3, data), write("other", 0, data)];
        f.put(&held, vec![], vec![writes(2, new)]).await?;
    }
    let expected: [(&str, &[u8]); 2] = [("ask", b"and now ?"), ("other", b"done")];
    assert_eq!(written(&f.latest(thread).await?), expected);
    roll_back(&f, &held).await?;
    assert_eq!(
        state(&f, thread).await?,
        before,
        "it waits for the same answer again"
    );
    Ok(())
}

pub(super) async fn values_shared_with_older_checkpoints_stay(f: Fixture) -> Done {
    let thread = paused_thread(&f).await?;
    let before = state(&f, thread).await?;
    let held = f.running(thread).await?;
    // The run stores a value that was there already.
    let third = with_channel(checkpoint(&held, 3), "log", "v1", Some(b"one"));
    f.put(&held, vec![third], vec![]).await?;
    roll_back(&f, &held).await?;
    assert_eq!(state(&f, thread).await?, before);
    Ok(())
}

pub(super) async fn all_attempts_of_the_run_are_undone(f: Fixture) -> Done {
    let thread = paused_thread(&f).await?;
    let before = state(&f, thread).await?;
    let first = f.running(thread).await?;
    f.put(&first, vec![checkpoint(&first, 3)], vec![]).await?;
    f.settle(&first.lease, Transit::HandBack).await?;
    let second = f.claim(thread, first.lease.worker_id).await?;
    f.put(&second, vec![checkpoint(&second, 4)], vec![]).await?;
    let retry = Transit::Retry(Duration::ZERO, RunError::new("E", "m"));
    f.settle(&second.lease, retry).await?;
    let third = f.claim(thread, first.lease.worker_id).await?;
    f.put(&third, vec![checkpoint(&third, 5)], vec![]).await?;
    roll_back(&f, &third).await?;
    assert_eq!(state(&f, thread).await?, before);
    Ok(())
}

pub(super) async fn a_failed_thread_is_failed_again(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.settle(&held.lease, Transit::Fail(RunError::new("E", "m")))
        .await?;
    let before = state(&f, thread).await?;
    assert_eq!(before.status, ThreadStatus::Error);
    let held = f.running(thread).await?;
    roll_back(&f, &held).await?;
    assert_eq!(state(&f, thread).await?, before);
    Ok(())
}

pub(super) async fn the_first_run_of_a_thread_leaves_it_blank(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let before = state(&f, thread).await?;
    let held = f.running(thread).await?;
    let new = with_channel(checkpoint(&held, 1), "log", "v", Some(b"x"));
    f.put(&held, vec![new], vec![writes(1, vec![write("a", 0, b"x")])])
        .await?;
    roll_back(&f, &held).await?;
    assert_eq!(state(&f, thread).await?, before);
    Ok(())
}

pub(super) async fn other_threads_keep_what_is_theirs(f: Fixture) -> Done {
    let (one, two) = (paused_thread(&f).await?, paused_thread(&f).await?);
    let before = state(&f, two).await?;
    let held = f.running(one).await?;
    f.put(&held, vec![checkpoint(&held, 3)], vec![]).await?;
    roll_back(&f, &held).await?;
    assert_eq!(state(&f, two).await?, before);
    Ok(())
}
