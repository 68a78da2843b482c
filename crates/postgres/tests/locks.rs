//! Who waits for whom: staged with a second connection that holds a lock for as long as the test wants.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::scene::{a_checkpoint, a_run, a_worker, accepted, claimed, guard, settled_as};
use common::{Fresh, execute};
use runloom_core::checkpoint::CheckpointQuery;
use runloom_core::database::{
    CancelRequest, Checkpoints, DatabaseError, Queue, Runs, Submission, Transit,
};
use runloom_core::ids::{ClaimId, ThreadId};
use runloom_core::lease::ClaimReply;
use runloom_core::run::{CancelAction, MultitaskStrategy};
use runloom_core::search::CancelSelection;
use runloom_postgres::{Config, Postgres};
use sqlx::PgConnection;
use tokio::task::JoinSet;

/// A database, a thread, and somebody in between.
struct Scene {
    db: Arc<Postgres>,
    thread: ThreadId,
    other: PgConnection,
    fresh: Fresh,
}

impl Scene {
    async fn new() -> Self {
        let fresh = Fresh::new().await;
        Self {
            db: Arc::new(fresh.open(Config::default())),
            thread: ThreadId::new(),
            other: fresh.connection().await,
            fresh,
        }
    }

    /// Does something in a transaction that stays open.
    async fn begin(&mut self, sql: &str) {
        execute(&mut self.other, &format!("begin; {sql}")).await;
    }

    async fn commit(&mut self) {
        execute(&mut self.other, "commit").await;
    }

    /// Begins the operation and waits until it waits for a lock.
    async fn blocked<T: Send + 'static>(
        &self,
        operation: impl Future<Output = T> + Send + 'static,
    ) -> JoinSet<T> {
        let mut task = JoinSet::new();
        task.spawn(operation);
        let mut watcher = self.fresh.connection().await;
        let waits = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        for _ in 0..1_000 {
            let waiting: i64 = sqlx::query_scalar(waits)
                .fetch_one(&mut watcher)
                .await
                .unwrap();
            if waiting > 0 {
                return task;
            }
            assert!(task.try_join_next().is_none(), "the operation did not wait");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the operation neither waits nor ends");
    }
}

/// If it passed over a thread that is locked, a run that is committed by whoever has the lock would
/// be fetched by nobody.
#[tokio::test]
async fn a_claim_waits_for_whoever_has_the_thread() {
    let mut scene = Scene::new().await;
    accepted(&scene.db, a_run(scene.thread, MultitaskStrategy::Enqueue)).await;
    let worker = a_worker(&scene.db).await;
    let lock = format!(
        "select 1 from threads where id = '{}' for no key update",
        scene.thread
    );
    scene.begin(&lock).await;
    let (db, thread) = (scene.db.clone(), scene.thread);
    let mut claim = scene
        .blocked(async move { db.claim(thread, worker, ClaimId::new()).await })
        .await;
    scene.commit().await;
    let reply = claim.join_next().await.unwrap().unwrap().unwrap();
    assert!(matches!(reply, ClaimReply::Claimed(_)), "{reply:?}");
}

#[tokio::test]
async fn a_claim_sees_what_was_committed_while_it_waited() {
    let mut scene = Scene::new().await;
    accepted(&scene.db, a_run(scene.thread, MultitaskStrategy::Enqueue)).await;
    let worker = a_worker(&scene.db).await;
    let stop = format!(
        "update threads set status = 'idle', at_rest_since = now() where id = '{0}';
        update runs set status = 'interrupted' where thread_id = '{0}'",
        scene.thread
    );
    scene.begin(&stop).await;
    let (db, thread) = (scene.db.clone(), scene.thread);
    let mut claim = scene
        .blocked(async move { db.claim(thread, worker, ClaimId::new()).await })
        .await;
    scene.commit().await;
    assert_eq!(
        claim.join_next().await.unwrap().unwrap().unwrap(),
        ClaimReply::Empty
    );
}

/// The lock is waited for, then the fence is checked: the other way around, both would be let in.
#[tokio::test]
async fn a_checkpoint_is_refused_if_the_thread_is_taken_while_it_waits() {
    let mut scene = Scene::new().await;
    accepted(&scene.db, a_run(scene.thread, MultitaskStrategy::Enqueue)).await;
    let worker = a_worker(&scene.db).await;
    let attempt = claimed(&scene.db, scene.thread, worker).await;
    let steal = format!(
        "update threads set claim = '{}', epoch = epoch + 1 where id = '{}'",
        ClaimId::new(),
        scene.thread
    );
    scene.begin(&steal).await;
    let (db, thread, guard) = (scene.db.clone(), scene.thread, guard(&attempt));
    let mut put = scene
        .blocked(async move {
            let new = vec![a_checkpoint(thread, 1)];
            db.put_checkpoints(thread, guard, new, Vec::new()).await
        })
        .await;
    scene.commit().await;
    let refused = put.join_next().await.unwrap().unwrap();
    assert!(matches!(refused, Err(DatabaseError::Fenced)), "{refused:?}");
    let shelf = scene
        .db
        .checkpoints(scene.thread, CheckpointQuery::default())
        .await;
    assert_eq!(shelf.unwrap(), Vec::new());
}

/// Between the check of the fence and the commit of the checkpoint, nobody else gets the thread.
#[tokio::test]
async fn nobody_takes_a_thread_while_its_attempt_writes() {
    let mut scene = Scene::new().await;
    accepted(&scene.db, a_run(scene.thread, MultitaskStrategy::Enqueue)).await;
    let worker = a_worker(&scene.db).await;
    let attempt = claimed(&scene.db, scene.thread, worker).await;
    // Whoever stores the same checkpoint must wait to see whether this one stays.
    let same = format!(
        "insert into checkpoints (
            thread_id, ns, id, metadata, head_kind, head, versions, created_at
        ) values ('{}', '', '{}', '{{}}', 'json', '', '{{}}', now())",
        scene.thread,
        a_checkpoint(scene.thread, 1).checkpoint.id.0
    );
    scene.begin(&same).await;
    let (db, thread, guard) = (scene.db.clone(), scene.thread, guard(&attempt));
    let mut put = scene
        .blocked(async move {
            let new = vec![a_checkpoint(thread, 1)];
            db.put_checkpoints(thread, guard, new, Vec::new()).await
        })
        .await;
    scene.db.retire(worker).await.unwrap();
    assert_eq!(scene.db.sweep(10).await.unwrap().reaped, 0, "passed over");
    scene.commit().await;
    put.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(scene.db.sweep(10).await.unwrap().reaped, 1);
}

#[tokio::test]
async fn a_submission_waits_for_whoever_makes_its_thread() {
    let mut scene = Scene::new().await;
    let make = format!(
        "insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, hinted_at
        ) values ('{}', now(), now(), now(), '{{\"a\": 1}}', '{{}}', 'idle', now())",
        scene.thread
    );
    scene.begin(&make).await;
    let (db, thread) = (scene.db.clone(), scene.thread);
    let mut submission = scene
        .blocked(async move {
            let new = a_run(thread, MultitaskStrategy::Enqueue);
            db.submit_run(new).await
        })
        .await;
    scene.commit().await;
    let Submission::Accepted(run, _) = submission.join_next().await.unwrap().unwrap().unwrap()
    else {
        panic!("the run was rejected");
    };
    assert_eq!(
        run.metadata["a"], 1,
        "composed with the thread that is there"
    );
}

/// Whoever is paused with a lock in his hands does not stop the world.
#[tokio::test]
async fn waiting_for_a_lock_has_an_end() {
    let mut scene = Scene::new().await;
    let run = accepted(&scene.db, a_run(scene.thread, MultitaskStrategy::Enqueue)).await;
    let lock = format!(
        "select 1 from threads where id = '{}' for no key update",
        scene.thread
    );
    scene.begin(&lock).await;
    let request = CancelRequest {
        selection: CancelSelection::Runs(scene.thread, vec![run.id]),
        action: CancelAction::Interrupt,
        reason: "asked by a test".to_owned(),
    };
    let refused = scene.db.cancel_runs(request).await;
    assert!(
        matches!(refused, Err(DatabaseError::Unavailable(_))),
        "{refused:?}"
    );
    scene.commit().await;
    let worker = a_worker(&scene.db).await;
    let attempt = claimed(&scene.db, scene.thread, worker).await;
    let settled = scene
        .db
        .settle(&attempt.lease, settled_as(Transit::Succeed), None)
        .await;
    settled.unwrap();
}

/// What was locked in the middle of a sweep is taken the next time.
#[tokio::test]
async fn a_sweep_passes_over_what_others_have_and_comes_back() {
    let mut scene = Scene::new().await;
    accepted(&scene.db, a_run(scene.thread, MultitaskStrategy::Enqueue)).await;
    let worker = a_worker(&scene.db).await;
    claimed(&scene.db, scene.thread, worker).await;
    scene.db.retire(worker).await.unwrap();
    let lock = format!(
        "select 1 from threads where id = '{}' for no key update",
        scene.thread
    );
    scene.begin(&lock).await;
    assert_eq!(scene.db.sweep(10).await.unwrap().reaped, 0);
    scene.commit().await;
    assert_eq!(scene.db.sweep(10).await.unwrap().reaped, 1);
}
