//! Threads whose time is up, where dealing with them is no matter of a moment.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::time::Duration;

use common::scene::a_checkpoint;
use common::{Fresh, execute};
use runloom_core::database::{Checkpoints, Guard, Retention, Threads};
use runloom_core::ids::ThreadId;
use runloom_core::json::{Json, JsonMap};
use runloom_core::state::Head;
use runloom_core::thread::{IfExists, NewThread, Ttl, TtlStrategy};
use runloom_postgres::{Config, Postgres};
use runloom_testkit::doubles::ManualClock;

async fn made(db: &Postgres, minutes: f64, strategy: TtlStrategy) -> ThreadId {
    let new = NewThread {
        id: ThreadId::new(),
        metadata: JsonMap::new(),
        if_exists: IfExists::Raise,
        ttl: Ttl::new(minutes, strategy),
    };
    db.create_thread(new).await.unwrap().id
}

/// As one does that has too long a history: the server gives up its deletion each time.
#[tokio::test]
async fn a_thread_that_cannot_be_deleted_holds_up_no_other() {
    let (fresh, clock) = (Fresh::new().await, ManualClock::new());
    let db = fresh.open_by(&clock, Config::default());
    let (stubborn, other) = (
        made(&db, 1.0, TtlStrategy::Delete).await,
        made(&db, 2.0, TtlStrategy::Delete).await,
    );
    let mut connection = fresh.connection().await;
    let refuse = format!(
        "create or replace function refuse() returns trigger language plpgsql as $$
        begin raise exception 'too much'; end $$;
        create or replace trigger refused before delete on threads
            for each row when (old.id = '{}') execute function refuse();",
        stubborn.0
    );
    execute(&mut connection, &refuse).await;
    clock.advance(Duration::from_mins(5));
    // Tried with others, then alone.
    db.expire_threads(2).await.unwrap_err();
    db.expire_threads(1).await.unwrap_err();
    assert_eq!(db.expire_threads(1).await.unwrap().deleted, 1);
    assert!(db.thread(other).await.unwrap().is_none());
    assert_eq!(db.expire_threads(2).await.unwrap().seen, 0);
    // It is not forgotten.
    execute(&mut connection, "drop function refuse cascade").await;
    clock.advance(Duration::from_hours(1));
    assert_eq!(db.expire_threads(2).await.unwrap().deleted, 1);
    assert!(db.thread(stubborn).await.unwrap().is_none());
}

/// Whoever comes back to a thread must not wait for the histories of all others.
#[tokio::test]
async fn histories_that_take_long_are_deleted_a_few_at_a_time() {
    let (fresh, clock) = (Fresh::new().await, ManualClock::new());
    let db = fresh.open_by(&clock, Config::default());
    for _ in 0..2 {
        let thread = made(&db, 1.0, TtlStrategy::KeepLatest).await;
        let head = Head {
            checkpoint_id: None,
            values: Json::null(),
            next: Vec::new(),
            interrupts: JsonMap::new(),
        };
        let guard = Guard::Idle { seen: None, head };
        let history = [1, 2].map(|number| a_checkpoint(thread, number));
        let put = db.put_checkpoints(thread, guard, history.to_vec(), vec![]);
        put.await.unwrap();
    }
    let mut connection = fresh.connection().await;
    let slowly = "create or replace function dawdle() returns trigger language plpgsql as $$
        begin perform pg_sleep(0.3); return old; end $$;
        create or replace trigger dawdling before delete on checkpoints
            for each row execute function dawdle();";
    execute(&mut connection, slowly).await;
    clock.advance(Duration::from_mins(5));
    // As many as asked for: there is more to do at once.
    for seen in [10, 1] {
        let expired = db.expire_threads(10).await.unwrap();
        assert_eq!((expired.trimmed, expired.checkpoints), (1, 1));
        assert_eq!(expired.seen, seen);
    }
    assert_eq!(db.expire_threads(10).await.unwrap().seen, 0);
    execute(&mut connection, "drop function dawdle cascade").await;
}
