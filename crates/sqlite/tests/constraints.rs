//! The schema repeats what the rules promise: rows that break a promise are refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use runloom_core::clock::SystemClock;
use runloom_sqlite::{Config, Location, Sqlite};
use rusqlite::Connection;
use tempfile::TempDir;

/// A database with one thread that is busy, opened behind the crate's back.
async fn connection() -> (Connection, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Folder(folder.path().to_owned());
    let database = Sqlite::open(location, Arc::new(SystemClock), Config::default()).await;
    database.unwrap().close().await.unwrap();
    let connection = Connection::open(folder.path().join("runloom.db")).unwrap();
    connection
        .pragma_update(None, "foreign_keys", true)
        .unwrap();
    let thread = "insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, hinted_at
        ) values (x'01', 0, 0, 0, '{}', '{}', 'busy', 0)";
    connection.execute(thread, ()).unwrap();
    (connection, folder)
}

fn try_run(
    connection: &Connection,
    id: u32,
    thread: &str,
    status: &str,
    worker: &str,
) -> Result<(), String> {
    let sql = format!(
        "insert into runs (
            id, thread_id, assistant_id, graph_id, seq, created_at, updated_at, status, metadata,
            kwargs, multitask_strategy, policy, not_before, worker_id
        ) values (
            cast({id} as blob), {thread}, x'00', 'agent', {id}, 0, 0, '{status}', '{{}}', '{{}}',
            'enqueue', '{{}}', 0, {worker}
        )"
    );
    let done = connection.execute(&sql, ());
    done.map(drop).map_err(|error| error.to_string())
}

fn try_thread(connection: &Connection, change: &str) -> Result<(), String> {
    let done = connection.execute(&format!("update threads set {change}"), ());
    done.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_thread_has_one_running_run() {
    let (connection, _folder) = connection().await;
    try_run(&connection, 1, "x'01'", "running", "x'09'").unwrap();
    try_run(&connection, 2, "x'01'", "pending", "null").unwrap();
    let error = try_run(&connection, 3, "x'01'", "running", "x'09'").unwrap_err();
    assert!(
        error.contains("UNIQUE constraint failed: runs.thread_id"),
        "{error}"
    );
}

#[tokio::test]
async fn a_run_is_running_exactly_while_a_worker_has_it() {
    let (connection, _folder) = connection().await;
    for (status, worker) in [
        ("running", "null"),
        ("pending", "x'09'"),
        ("success", "x'09'"),
    ] {
        let refused = try_run(&connection, 1, "x'01'", status, worker);
        let error = refused.unwrap_err();
        assert!(
            error.contains("CHECK constraint failed"),
            "{status} {error}"
        );
    }
}

#[tokio::test]
async fn a_run_has_a_known_status_and_a_thread() {
    let (connection, _folder) = connection().await;
    let error = try_run(&connection, 1, "x'01'", "lost", "null").unwrap_err();
    assert!(error.contains("CHECK constraint failed"), "{error}");
    let error = try_run(&connection, 1, "x'02'", "pending", "null").unwrap_err();
    assert!(error.contains("FOREIGN KEY constraint failed"), "{error}");
}

#[tokio::test]
async fn a_thread_is_held_entirely_or_not_at_all_and_only_while_it_is_busy() {
    let (connection, _folder) = connection().await;
    let held = "claim = x'01', worker_id = x'02', held_run = x'03', claimed_at = 1";
    try_thread(&connection, held).unwrap();
    for change in [
        "claim = null",
        "worker_id = null",
        "held_run = null",
        "claimed_at = null",
        "status = 'idle'",
        "at_rest_since = 1",
    ] {
        let error = try_thread(&connection, change).unwrap_err();
        assert!(
            error.contains("CHECK constraint failed"),
            "{change} {error}"
        );
    }
}
