//! Checkpoints that are stored in the moment in which their thread changes hands.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::time::Duration;

use chrono::DateTime;
use common::{Fresh, execute};
use runloom_core::checkpoint::{Blob, Checkpoint, NewCheckpoint, NewWrites, PendingWrite};
use runloom_core::database::{Checkpoints, DatabaseError, Guard};
use runloom_core::ids::{CheckpointId, ClaimId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::lease::Fence;
use runloom_postgres::{Config, Postgres};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// A thread that an attempt holds.
struct Held {
    db: Postgres,
    thread: ThreadId,
    run: RunId,
    claim: ClaimId,
    fresh: Fresh,
}

impl Held {
    async fn new() -> Self {
        let fresh = Fresh::new().await;
        let db = fresh.open(Config::default());
        let (thread, run, claim) = (ThreadId::new(), RunId::new(), ClaimId::new());
        let sql = format!(
            "insert into threads (
                id, created_at, updated_at, state_updated_at, metadata, config, status, hinted_at,
                epoch, claim, worker_id, held_run, claimed_at
            ) values (
                '{thread}', now(), now(), now(), '{{}}', '{{}}', 'busy', now(),
                1, '{claim}', '{claim}', '{run}', now()
            )"
        );
        execute(&mut fresh.connection().await, &sql).await;
        Self {
            db,
            thread,
            run,
            claim,
            fresh,
        }
    }

    /// Stores a checkpoint and a write of the attempt.
    async fn put(&self) -> Result<(), DatabaseError> {
        let thread = self.thread;
        let fence = Fence {
            epoch: 1,
            claim: self.claim,
        };
        let guard = Guard::Attempt(fence, self.run);
        let blob = Blob::json(&1).unwrap();
        let checkpoint = NewCheckpoint {
            checkpoint: Checkpoint {
                thread_id: thread,
                ns: String::new(),
                id: CheckpointId("1".to_owned()),
                parent: None,
                run_id: Some(self.run),
                metadata: JsonMap::new(),
                head: blob.clone(),
                versions: [].into(),
                created_at: DateTime::UNIX_EPOCH,
            },
            blobs: vec![],
        };
        let write = PendingWrite {
            task_id: "a".to_owned(),
            task_path: String::new(),
            index: 0,
            channel: "log".to_owned(),
            blob,
        };
        let writes = NewWrites {
            ns: String::new(),
            checkpoint_id: CheckpointId("1".to_owned()),
            writes: vec![write],
        };
        self.db
            .put_checkpoints(thread, guard, vec![checkpoint], vec![writes])
            .await
    }

    /// Waits until somebody waits for a lock. On a connection of its own: within a transaction, what
    /// others do is read only once.
    async fn until_blocked(&self) {
        let waiting = "select exists (
            select 1 from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'
        )";
        let mut connection = self.fresh.connection().await;
        let mut is_blocked = false;
        let looking = async {
            while !is_blocked {
                let found = sqlx::query_scalar(waiting).fetch_one(&mut connection);
                is_blocked = found.await.unwrap();
            }
        };
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, looking).await.unwrap();
    }

    async fn count(&self, connection: &mut PgConnection) -> i64 {
        let rows =
            "select (select count(*) from checkpoints) + (select count(*) from pending_writes)";
        let count = sqlx::query_scalar(rows).fetch_one(connection);
        count.await.unwrap()
    }

    /// The statement that gives the thread to somebody else.
    fn claim_anew(&self) -> String {
        let claim = ClaimId::new();
        format!(
            "update threads set epoch = 2, claim = '{claim}' where id = '{}'",
            self.thread
        )
    }
}

#[tokio::test]
async fn what_waits_for_a_claim_is_fenced_by_it() {
    let held = Held::new().await;
    let mut other = held.fresh.connection().await;
    let mut claim = other.begin().await.unwrap();
    execute(&mut claim, &held.claim_anew()).await;
    let (refused, ()) = tokio::join!(held.put(), async {
        held.until_blocked().await;
        claim.commit().await.unwrap();
    });
    assert!(matches!(refused, Err(DatabaseError::Fenced)), "{refused:?}");
    assert_eq!(held.count(&mut other).await, 0);
}

#[tokio::test]
async fn what_waits_for_a_claim_that_fails_is_stored() {
    let held = Held::new().await;
    let mut other = held.fresh.connection().await;
    let mut claim = other.begin().await.unwrap();
    execute(&mut claim, &held.claim_anew()).await;
    let (stored, ()) = tokio::join!(held.put(), async {
        held.until_blocked().await;
        claim.rollback().await.unwrap();
    });
    stored.unwrap();
    assert_eq!(held.count(&mut other).await, 2);
}

#[tokio::test]
async fn nobody_claims_a_thread_while_its_checkpoint_is_being_stored() {
    let held = Held::new().await;
    let mut other = held.fresh.connection().await;
    let mut third = held.fresh.connection().await;
    // Whoever stores the same checkpoint waits for this one to be committed or not.
    let mut same = other.begin().await.unwrap();
    let checkpoint = format!(
        "insert into checkpoints values (
            '{}', '', '1', null, null, '{{}}', '', '', '{{}}', now()
        )",
        held.thread
    );
    execute(&mut same, &checkpoint).await;
    execute(&mut third, "set lock_timeout = '100ms'").await;
    let (stored, ()) = tokio::join!(held.put(), async {
        held.until_blocked().await;
        let claim = sqlx::raw_sql(AssertSqlSafe(held.claim_anew()));
        let refused = claim.execute(&mut third).await.unwrap_err();
        let code = refused
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("55P03"), "{refused}");
        same.rollback().await.unwrap();
    });
    stored.unwrap();
    execute(&mut third, &held.claim_anew()).await;
    assert_eq!(held.count(&mut third).await, 2);
}
