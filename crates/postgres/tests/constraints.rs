//! The schema repeats what the rules promise: rows that break a promise are refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use common::{Fresh, execute};
use sqlx::{AssertSqlSafe, PgConnection};

/// A database with one thread that is busy, seen behind the crate's back.
async fn connection() -> (PgConnection, Fresh) {
    let fresh = Fresh::new().await;
    let mut connection = fresh.connection().await;
    let thread = format!(
        "insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, hinted_at
        ) values ({}, now(), now(), now(), '{{}}', '{{}}', 'busy', now())",
        id(1)
    );
    execute(&mut connection, &thread).await;
    (connection, fresh)
}

/// The `number`-th id.
fn id(number: u32) -> String {
    format!("'00000000-0000-0000-0000-{number:012}'")
}

async fn attempt(connection: &mut PgConnection, sql: String) -> Result<(), String> {
    let done = sqlx::query(AssertSqlSafe(sql)).execute(connection).await;
    done.map(drop).map_err(|error| error.to_string())
}

async fn try_run(
    connection: &mut PgConnection,
    number: u32,
    thread: u32,
    status: &str,
    worker: Option<u32>,
) -> Result<(), String> {
    let worker = worker.map_or_else(|| "null".to_owned(), id);
    let sql = format!(
        "insert into runs (
            id, thread_id, assistant_id, graph_id, seq, created_at, updated_at, status, metadata,
            kwargs, multitask_strategy, policy, not_before, worker_id
        ) values (
            {}, {}, {}, 'agent', {number}, now(), now(), '{status}', '{{}}', '{{}}', 'enqueue',
            '{{}}', now(), {worker}
        )",
        id(number),
        id(thread),
        id(0)
    );
    attempt(connection, sql).await
}

async fn try_thread(connection: &mut PgConnection, change: &str) -> Result<(), String> {
    attempt(connection, format!("update threads set {change}")).await
}

#[tokio::test]
async fn a_thread_has_one_running_run() {
    let (mut connection, _fresh) = connection().await;
    let db = &mut connection;
    try_run(db, 1, 1, "running", Some(9)).await.unwrap();
    try_run(db, 2, 1, "pending", None).await.unwrap();
    let error = try_run(db, 3, 1, "running", Some(9)).await.unwrap_err();
    assert!(error.contains("runs_one_running"), "{error}");
}

#[tokio::test]
async fn a_run_is_running_exactly_while_a_worker_has_it() {
    let (mut connection, _fresh) = connection().await;
    for (status, worker) in [
        ("running", None),
        ("pending", Some(9)),
        ("success", Some(9)),
    ] {
        let refused = try_run(&mut connection, 1, 1, status, worker).await;
        let error = refused.unwrap_err();
        assert!(
            error.contains("violates check constraint"),
            "{status} {error}"
        );
    }
}

#[tokio::test]
async fn a_run_has_a_known_status() {
    let (mut connection, _fresh) = connection().await;
    let error = try_run(&mut connection, 1, 1, "lost", None)
        .await
        .unwrap_err();
    assert!(error.contains("violates check constraint"), "{error}");
}

/// The tables that say of each row to which thread it belongs.
async fn tables_of_threads(connection: &mut PgConnection) -> Vec<String> {
    let tables = "select table_name::text from information_schema.columns
        where table_schema = current_schema() and column_name = 'thread_id'
            and table_name <> 'outbox'
        order by table_name";
    sqlx::query_scalar(tables)
        .fetch_all(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn nothing_outlives_its_thread() {
    let (mut connection, _fresh) = connection().await;
    let owned = tables_of_threads(&mut connection).await;
    assert!(owned.len() >= 8, "{owned:?}");
    let rows = format!(
        "insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, hinted_at
        ) values ({2}, now(), now(), now(), '{{\"a\": 1}}', '{{}}', 'idle', now());
        update threads set metadata = '{{\"a\": 2}}';
        insert into runs (
            id, thread_id, assistant_id, graph_id, seq, created_at, updated_at, status, metadata,
            kwargs, multitask_strategy, policy, not_before
        ) select id, id, {0}, 'agent', 1, now(), now(), 'success', '{{}}', '{{}}', 'enqueue', '{{}}',
            now() from threads;
        insert into thread_values (thread_id, \"values\", interrupts) select id, '{{}}', '{{}}'
        from threads;
        insert into thread_ttls (thread_id, minutes, strategy) select id, 1, 'delete' from threads;
        insert into settlements (thread_id, slot, epoch, claim, run_id)
        select id, 1, 1, id, id from threads;
        insert into checkpoints (
            thread_id, ns, id, metadata, head_kind, head, versions, created_at
        ) select id, '', '1', '{{}}', 'json', '', '{{}}', now() from threads;
        insert into channel_blobs (thread_id, ns, channel, version, kind, data)
        select id, '', 'messages', '1', 'json', '' from threads;
        insert into pending_writes (
            thread_id, ns, checkpoint_id, task_id, position, writer, task_path, channel, kind, data
        ) select id, '', '1', 'task', 0, id, '', 'messages', 'json', '' from threads;
        delete from threads where id = {1}",
        id(0),
        id(1),
        id(2)
    );
    execute(&mut connection, &rows).await;
    for table in owned {
        let left = format!("select distinct thread_id::text from {table}");
        let left: Vec<String> = sqlx::query_scalar(AssertSqlSafe(left))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let other = id(2);
        assert_eq!(left, [other.trim_matches('\'')], "{table}");
    }
}

#[tokio::test]
async fn a_thread_is_held_entirely_or_not_at_all_and_only_while_it_is_busy() {
    let (mut connection, _fresh) = connection().await;
    let held = format!(
        "claim = {}, worker_id = {}, held_run = {}, claimed_at = now()",
        id(1),
        id(2),
        id(3)
    );
    try_thread(&mut connection, &held).await.unwrap();
    for change in [
        "claim = null",
        "worker_id = null",
        "held_run = null",
        "claimed_at = null",
        "status = 'idle'",
        "at_rest_since = now()",
    ] {
        let error = try_thread(&mut connection, change).await.unwrap_err();
        assert!(
            error.contains("violates check constraint"),
            "{change} {error}"
        );
    }
}
