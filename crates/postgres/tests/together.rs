//! What goes to the database together is nevertheless judged, and answered, each on its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::sync::Arc;

use common::scene::{a_checkpoint, a_run, a_worker, accepted, claimed, guard, settled_as};
use common::{Fresh, execute};
use runloom_core::database::{Checkpoints, DatabaseError, Queue, Runs, Submission, Transit};
use runloom_core::ids::{ClaimId, ThreadId};
use runloom_core::lease::{ClaimReply, Claimed};
use runloom_core::run::{CancelAction, MultitaskStrategy, RunStatus};
use runloom_postgres::{Config, Postgres};
use tokio::task::JoinSet;

/// Does `step` for all attempts at once. Answers in their order.
async fn all<T, F>(attempts: &[Arc<Claimed>], step: impl Fn(Arc<Claimed>) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut set = JoinSet::new();
    for (place, attempt) in attempts.iter().enumerate() {
        let done = step(attempt.clone());
        set.spawn(async move { (place, done.await) });
    }
    let mut answers = set.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn attempts(db: &Postgres, count: usize) -> Vec<Arc<Claimed>> {
    let worker = a_worker(db).await;
    let mut attempts = Vec::new();
    for _ in 0..count {
        let thread = ThreadId::new();
        accepted(db, a_run(thread, MultitaskStrategy::Enqueue)).await;
        attempts.push(Arc::new(claimed(db, thread, worker).await));
    }
    attempts
}

/// An attempt that lost its thread is among them: it alone is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_write_and_end_together_only_the_fenced_one_is_refused() {
    const FENCED: usize = 17;
    let fresh = Fresh::new().await;
    let (proxy, db) = fresh.open_behind_proxy(Config::default()).await;
    let db = Arc::new(db);
    let attempts = attempts(&db, 60).await;
    let lost = attempts[FENCED].lease.thread_id;
    let take = format!("update threads set epoch = epoch + 1 where id = '{lost}'");
    execute(&mut fresh.connection().await, &take).await;

    proxy.executed();
    let put = |attempt: Arc<Claimed>| {
        let (db, thread) = (db.clone(), attempt.lease.thread_id);
        async move {
            let new = vec![a_checkpoint(thread, 1)];
            db.put_checkpoints(thread, guard(&attempt), new, Vec::new())
                .await
        }
    };
    let put = all(&attempts, put).await;
    let settle = |attempt: Arc<Claimed>| {
        let db = db.clone();
        let settlement = settled_as(Transit::Succeed);
        async move { db.settle(&attempt.lease, settlement, None).await }
    };
    let settled = all(&attempts, settle).await;
    let trips = proxy.executed();
    assert!(trips <= 80, "{trips} statements for 60 puts and 60 ends");

    for (place, attempt) in attempts.iter().enumerate() {
        let thread = attempt.lease.thread_id;
        let run = db.run(None, attempt.run.id).await.unwrap().unwrap();
        let stored = db.checkpoint(thread, "", None).await.unwrap();
        if place == FENCED {
            assert!(matches!(put[place], Err(DatabaseError::Fenced)));
            assert!(matches!(settled[place], Err(DatabaseError::Fenced)));
            assert_eq!(run.status, RunStatus::Running);
            assert_eq!(stored, None);
        } else {
            assert!(
                put[place].is_ok() && settled[place].is_ok(),
                "{:?}",
                put[place]
            );
            assert_eq!(run.status, RunStatus::Success);
            assert_eq!(stored.unwrap().checkpoint.run_id, Some(run.id));
        }
    }
}

/// Everybody else is served while one thread stays locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_is_locked_holds_up_nobody_else() {
    let fresh = Fresh::new().await;
    let db = Arc::new(fresh.open(Config::default()));
    let attempts = attempts(&db, 30).await;
    let locked = attempts[0].lease.thread_id;
    let mut other = fresh.connection().await;
    let lock = format!("begin; select from threads where id = '{locked}' for update");
    execute(&mut other, &lock).await;

    let mut set = JoinSet::new();
    for attempt in &attempts {
        let (db, attempt) = (db.clone(), attempt.clone());
        set.spawn(async move {
            let settled = db
                .settle(&attempt.lease, settled_as(Transit::Succeed), None)
                .await;
            (attempt.lease.thread_id, settled)
        });
    }
    for _ in 1..attempts.len() {
        let (thread, settled) = set.join_next().await.unwrap().unwrap();
        assert_ne!(thread, locked);
        settled.unwrap();
    }
    execute(&mut other, "commit").await;
    let (thread, settled) = set.join_next().await.unwrap().unwrap();
    assert_eq!(thread, locked);
    settled.unwrap();
}

#[tokio::test]
async fn to_take_the_place_of_a_running_run_is_one_round_trip() {
    let fresh = Fresh::new().await;
    let (proxy, db) = fresh.open_behind_proxy(Config::default()).await;
    let worker = a_worker(&db).await;
    for (strategy, action) in [
        (MultitaskStrategy::Interrupt, CancelAction::Interrupt),
        (MultitaskStrategy::Rollback, CancelAction::Rollback),
    ] {
        let thread = ThreadId::new();
        accepted(&db, a_run(thread, MultitaskStrategy::Enqueue)).await;
        let first = claimed(&db, thread, worker).await;
        proxy.executed();
        let submission = db.submit_run(a_run(thread, strategy)).await.unwrap();
        assert_eq!(proxy.executed(), 1);
        let Submission::Accepted(second, effects) = submission else {
            panic!("refused");
        };
        let [(told, signal)] = effects.signals[..] else {
            panic!("{effects:?}");
        };
        assert_eq!(told, worker);
        assert_eq!(signal.run_id, first.run.id);
        assert_eq!(signal.claim, first.lease.fence.claim);
        assert_eq!(signal.action, action);
        assert!(
            effects.wakes.is_empty(),
            "the attempt's end takes the next run"
        );
        let stopped = db.run(None, first.run.id).await.unwrap().unwrap();
        assert_eq!(stopped.cancel, Some(action));
        assert_eq!(stopped.superseded_by, Some(second.id));
        let next = Some(ClaimId::new());
        let settled = db
            .settle(&first.lease, settled_as(Transit::Interrupt), next)
            .await;
        assert_eq!(settled.unwrap().next.unwrap().run.id, second.id);
        let again = db.claim(thread, worker, ClaimId::new()).await.unwrap();
        assert_eq!(again, ClaimReply::Busy);
    }
}
