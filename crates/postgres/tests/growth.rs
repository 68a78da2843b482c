//! Whether tables stay as large as they are while everything that may go does. `RUNLOOM_TEST_ROUNDS` says
//! for how many runs; shown with `--no-capture`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(
    clippy::print_stderr,
    reason = "the numbers are for whoever asked for them"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Fresh, execute};
use runloom_core::database::Outbox;
use runloom_core::ids::WorkerId;
use runloom_postgres::{Config, Postgres};
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::growth::{Growth, MOST_ROWS, rounds};
use sqlx::{AssertSqlSafe, PgConnection};

/// The rows and the bytes of each table.
async fn counted(connection: &mut PgConnection) -> Vec<(String, i64, i64)> {
    // What autovacuum would do in its time.
    execute(connection, "vacuum").await;
    let tables = "select relname::text, pg_total_relation_size(oid) from pg_class
        where relnamespace = 'public'::regnamespace and relkind = 'r' order by relname";
    let tables: Vec<(String, i64)> = sqlx::query_as(tables)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let mut counted = Vec::new();
    for (table, bytes) in tables {
        let rows = AssertSqlSafe(format!("select count(*) from {table}"));
        let rows: i64 = sqlx::query_scalar(rows)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        counted.push((table, rows, bytes));
    }
    counted
}

/// Takes what there is to be told.
async fn hear(database: &Postgres) {
    let relay = WorkerId::new();
    loop {
        let lease = Duration::from_secs(5);
        let events = database.untold(relay, lease, 500).await.unwrap().unwrap();
        if events.is_empty() {
            return database.resign(relay).await.unwrap();
        }
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        database.told(&ids).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_stored_stays_as_much_as_it_is() {
    let (fresh, clock) = (Fresh::new().await, ManualClock::new());
    let database = Arc::new(fresh.open_by(&clock, Config::default()));
    let mut connection = fresh.connection().await;
    let mut growth = Growth::new(database.clone(), clock).await;
    for tenth in 1..=10 {
        growth.go_on(rounds() / 10).await;
        hear(&database).await;
        let counted = counted(&mut connection).await;
        let sum: i64 = counted.iter().map(|(_, _, bytes)| bytes).sum();
        eprintln!("{} runs: {sum} bytes", tenth * (rounds() / 10));
        for (table, rows, bytes) in counted {
            eprintln!("    {table}: {rows} rows, {bytes} bytes");
            assert!(rows <= MOST_ROWS, "{table}: {rows}");
        }
    }
    database.close().await;
}
