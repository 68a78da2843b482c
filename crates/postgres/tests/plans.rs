//! How Postgres carries out the statements of this crate: by the indexes that were made for them. The
//! statements are those that the query macros remember, planned for whatever their parameters may be;
//! what functions do is seen from the counters of the tables.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::scene::{a_checkpoint, a_run, a_worker, accepted, claimed, guard, settled_as};
use common::{Fresh, execute, until_alone};
use runloom_core::database::{
    CancelRequest, Census, Checkpoints, Queue, Retention, Runs, Threads, Transit,
};
use runloom_core::ids::{ClaimId, ThreadId};
use runloom_core::run::{CancelAction, MultitaskStrategy};
use runloom_core::search::CancelSelection;
use runloom_postgres::{Config, Postgres};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

/// Many threads, most of them at rest, each with some runs and checkpoints.
const CONTENT: &str = "
    insert into threads (
        id, created_at, updated_at, state_updated_at, metadata, config, status, hinted_at,
        temporary, at_rest_since
    )
    select gen_random_uuid(), now(), now(), now(), '{}', '{}',
        case when n % 100 = 0 then 'busy' else 'idle' end, now(), n % 200 = 1,
        case when n % 100 <> 0 then now() end
    from generate_series(1, 8000) n;
    insert into runs (
        id, thread_id, assistant_id, graph_id, seq, created_at, updated_at, status, metadata, kwargs,
        multitask_strategy, policy, not_before
    )
    select gen_random_uuid(), t.id, gen_random_uuid(), 'agent', n, now(), now(),
        case when t.status = 'busy' and n = 3 then 'pending' else 'success' end, '{}', '{}',
        'enqueue', '{}', now()
    from threads t, generate_series(1, 3) n where t.created_at = now();
    insert into thread_values (thread_id, \"values\", interrupts) select id, '{}', '{}' from threads
    where created_at = now();
    insert into thread_ttls (thread_id, minutes, strategy, due_at)
    select id, 60, 'delete', now() + interval '1 hour' from threads where created_at = now();
    insert into settlements (thread_id, slot, epoch, claim, run_id)
    select id, n, n, gen_random_uuid(), gen_random_uuid() from threads, generate_series(1, 3) n
    where created_at = now();
    insert into checkpoints (
        thread_id, ns, id, metadata, head_kind, head, versions, created_at
    )
    select id, '', n::text, '{}', 'json', '', '{}', now() from threads, generate_series(1, 3) n
    where created_at = now();
    insert into channel_blobs (thread_id, ns, channel, version, kind, data)
    select id, '', 'messages', n::text, 'json', '' from threads, generate_series(1, 3) n
    where created_at = now();
    insert into pending_writes (
        thread_id, ns, checkpoint_id, task_id, position, writer, task_path, channel, kind, data
    )
    select id, '', n::text, 'task', 0, id, '', 'messages', 'json', ''
    from threads, generate_series(1, 3) n
    where created_at = now();
    insert into items (namespace, key, value, created_at, updated_at)
    select 'notes', n::text::bytea, '{}', now(), now() from generate_series(1, 8000) n";

/// The tables that grow with use.
const GROWING: [&str; 9] = [
    "threads",
    "runs",
    "thread_values",
    "thread_ttls",
    "settlements",
    "checkpoints",
    "channel_blobs",
    "pending_writes",
    "items",
];

/// All statements, each with its plan for any parameters, a step a line.
async fn plans(connection: &mut PgConnection) -> Vec<(String, String)> {
    execute(connection, "set plan_cache_mode = force_generic_plan").await;
    let mut plans = Vec::new();
    let remembered = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    for file in std::fs::read_dir(remembered).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let data: Value = serde_json::from_str(&text).unwrap();
        let sql = data["query"].as_str().unwrap().to_owned();
        let parameters = data["describe"]["parameters"]["Left"].as_array().unwrap();
        let nulls = vec!["null"; parameters.len()].join(", ");
        let arguments = if nulls.is_empty() {
            nulls
        } else {
            format!("({nulls})")
        };
        execute(connection, &format!("prepare statement as {sql}")).await;
        let explain = format!("explain (costs off) execute statement {arguments}");
        let steps: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
            .persistent(false)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        execute(connection, "deallocate statement").await;
        let words: Vec<_> = sql.split_whitespace().collect();
        plans.push((words.join(" "), steps.join("\n")));
    }
    assert!(plans.len() > 40, "the statements are remembered");
    plans
}

/// The plan of the one statement in which `part` occurs.
fn plan<'a>(plans: &'a [(String, String)], part: &str) -> &'a str {
    let mut found = plans.iter().filter(|(sql, _)| sql.contains(part));
    let first = found.next();
    let (_, plan) = first.unwrap_or_else(|| panic!("no statement has {part:?}"));
    assert!(found.next().is_none(), "{part:?} occurs more than once");
    plan
}

#[tokio::test]
async fn statements_go_by_their_indexes() {
    let fresh = Fresh::new().await;
    let mut connection = fresh.connection().await;
    execute(&mut connection, CONTENT).await;
    execute(&mut connection, "analyze").await;
    let plans = plans(&mut connection).await;
    let cases = [
        (
            "select * from runs where thread_id = $1 and status in ('pending', 'running') and status",
            "runs_in_flight",
        ),
        (
            "claim is null and status = 'busy' and hinted_at <= $1",
            "threads_waiting",
        ),
        ("worker_id is not null and not exists", "threads_held"),
        ("from renewed left join", "threads_held"),
        ("temporary and at_rest_since <= $1", "threads_temporary"),
        ("from thread_ttls where due_at <= $1", "thread_ttls_due"),
        ("updated_at <= $1 order by updated_at", "runs_over"),
        (
            "status in ('pending', 'running')) or id = $2",
            "runs_in_flight",
        ),
        ("select distinct thread_id from runs", "runs_in_flight"),
    ];
    for (part, index) in cases {
        let plan = plan(&plans, part);
        assert!(plan.contains(index), "{part}\n{plan}");
    }
    for (sql, plan) in &plans {
        for table in GROWING {
            let whole = plan.lines().find(|line| {
                let step = line.trim_start_matches([' ', '-', '>']);
                step.strip_prefix("Seq Scan on ")
                    .is_some_and(|rest| rest.split(' ').next() == Some(table))
            });
            assert!(
                whole.is_none(),
                "{table} is read from end to end: {sql}\n{plan}"
            );
        }
    }
}

/// How much was read of a table: how often from end to end, and how many rows.
#[derive(Debug, Default, Clone, Copy)]
struct Reads {
    scans: i64,
    rows: i64,
}

async fn reads(connection: &mut PgConnection) -> BTreeMap<String, Reads> {
    execute(connection, "select pg_stat_force_next_flush()").await;
    execute(connection, "select pg_stat_clear_snapshot()").await;
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "select relname::text, coalesce(seq_scan, 0),
            coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
        from pg_stat_user_tables where relname = any($1)",
    )
    .bind(GROWING.map(str::to_owned).to_vec())
    .fetch_all(connection)
    .await
    .unwrap();
    let reads = |(table, scans, rows)| (table, Reads { scans, rows });
    rows.into_iter().map(reads).collect()
}

/// All that happens to runs, often enough for plans that are made for any parameters.
async fn run_often(db: &Postgres) {
    let worker = a_worker(db).await;
    for number in 0..8 {
        let thread = ThreadId::new();
        accepted(db, a_run(thread, MultitaskStrategy::Enqueue)).await;
        let last = accepted(db, a_run(thread, MultitaskStrategy::Enqueue)).await;
        let attempt = claimed(db, thread, worker).await;
        let new = vec![a_checkpoint(thread, number)];
        db.put_checkpoints(thread, guard(&attempt), new, Vec::new())
            .await
            .unwrap();
        db.renew(worker, Duration::from_mins(1)).await.unwrap();
        let claim = Some(ClaimId::new());
        db.settle(&attempt.lease, settled_as(Transit::Succeed), claim)
            .await
            .unwrap();
        let request = CancelRequest {
            selection: CancelSelection::Runs(thread, vec![last.id]),
            action: CancelAction::Rollback,
            reason: "asked by a test".to_owned(),
        };
        db.cancel_runs(request).await.unwrap();
        accepted(db, a_run(thread, MultitaskStrategy::Interrupt)).await;
        db.waiting(Duration::from_mins(1), 10).await.unwrap();
        db.prune_temporary(Duration::from_mins(1), 10)
            .await
            .unwrap();
        assert_eq!(db.expire_threads(10).await.unwrap().seen, 0);
        db.prune_runs(Duration::from_mins(1), 10).await.unwrap();
        db.checkpoint(thread, "", None).await.unwrap();
        db.thread(thread).await.unwrap();
        db.run(Some(thread), last.id).await.unwrap();
    }
    db.retire(worker).await.unwrap();
    assert_eq!(db.sweep(100).await.unwrap().reaped, 8);
}

/// A connection of ours, and a database with a single one, whose rows nobody counts meanwhile: that would
/// have its plans made anew.
async fn untended(fresh: &Fresh) -> (PgConnection, Postgres) {
    let mut connection = fresh.connection().await;
    for table in GROWING {
        let still = format!("alter table {table} set (autovacuum_enabled = false)");
        execute(&mut connection, &still).await;
    }
    let db = fresh.open(Config {
        connections: 1,
        ..Config::default()
    });
    (connection, db)
}

/// Whoever watches asks all the time, so the question must not grow with what is over.
#[tokio::test]
async fn counting_the_work_reads_no_run_that_is_over() {
    let fresh = Fresh::new().await;
    let (mut connection, db) = untended(&fresh).await;
    // A connection keeps to the plan that it made when there was nothing.
    for _ in 0..10 {
        db.tally().await.unwrap();
    }
    execute(&mut connection, CONTENT).await;
    let before = reads(&mut connection).await;
    for _ in 0..10 {
        let tally = db.tally().await.unwrap();
        let counted = (tally.pending, tally.scheduled, tally.running);
        assert_eq!(counted, (80, 0, 0));
        assert_eq!(tally.backlog_threads, 80);
        assert!(tally.oldest_due.is_some());
        // All that the content brought, as nobody tells it.
        assert_eq!(tally.untold.unwrap().rows, 24_000);
    }
    close(db, &mut connection).await;
    for (table, after) in reads(&mut connection).await {
        let before = before[&table];
        assert_eq!(after.scans, before.scans, "{table}");
        // Eighty threads wait with a run each, which is read twice.
        let read = after.rows - before.rows;
        assert!(read <= 10 * 2 * 80, "{table}: {read}");
    }
}

#[tokio::test]
async fn all_tables_have_a_size() {
    let fresh = Fresh::new().await;
    let mut connection = fresh.connection().await;
    execute(&mut connection, CONTENT).await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables
        where schemaname = 'public' and tablename <> '_sqlx_migrations' order by tablename",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(tables, runloom_postgres::TABLES);
    // What was counted is told when a connection ends.
    drop(connection);
    let mut connection = fresh.connection().await;
    until_alone(&mut connection).await;
    let db = fresh.open(Config::default());
    let mut sizes = db.sizes().await.unwrap();
    sizes.sort_unstable_by_key(|size| size.table);
    let named: Vec<_> = sizes.iter().map(|size| size.table).collect();
    assert_eq!(named, tables);
    let runs = sizes.iter().find(|size| size.table == "runs").unwrap();
    assert_eq!(runs.rows, Some(24_000));
    assert!(runs.bytes > 24_000 * 100, "{runs:?}");
}

/// Ends the connections of `db`: then they have told what they have counted.
async fn close(db: Postgres, connection: &mut PgConnection) {
    db.close().await;
    until_alone(connection).await;
}

#[tokio::test]
async fn no_operation_of_the_queue_reads_a_table_from_end_to_end() {
    let fresh = Fresh::new().await;
    let mut connection = fresh.connection().await;
    execute(&mut connection, CONTENT).await;
    execute(&mut connection, "analyze").await;
    let before = reads(&mut connection).await;
    for one_trip in [true, false] {
        let db = fresh.open(Config {
            one_trip,
            connections: 1,
            ..Config::default()
        });
        run_often(&db).await;
        close(db, &mut connection).await;
    }
    for (table, after) in reads(&mut connection).await {
        let before = before[&table];
        assert_eq!(after.scans, before.scans, "{table}");
        assert!(
            after.rows - before.rows < 4000,
            "{table}: {before:?} {after:?}"
        );
    }
}

/// A connection keeps to the plans that it made when there was next to nothing.
#[tokio::test]
async fn what_begins_on_empty_tables_reads_no_more_when_they_are_full() {
    let fresh = Fresh::new().await;
    let (mut connection, db) = untended(&fresh).await;
    run_often(&db).await;
    execute(&mut connection, CONTENT).await;
    let before = reads(&mut connection).await;
    run_often(&db).await;
    close(db, &mut connection).await;
    for (table, after) in reads(&mut connection).await {
        let before = before.get(&table).copied().unwrap_or_default();
        let read = after.rows - before.rows;
        assert!(read < 4000, "{table}: {before:?} {after:?}");
    }
}
