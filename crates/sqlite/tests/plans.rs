//! How SQLite carries out the statements of this crate: by the indexes that were made for them.
//! The statements are those that the query macros remember.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::sync::Arc;

use runloom_core::clock::SystemClock;
use runloom_sqlite::{Config, Location, Sqlite};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

/// All statements, each with its plan, a step a line.
async fn plans() -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Folder(folder.path().to_owned());
    let database = Sqlite::open(location, Arc::new(SystemClock), Config::default()).await;
    database.unwrap().close().await.unwrap();
    let options = SqliteConnectOptions::new().filename(folder.path().join("runloom.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();

    let mut plans = Vec::new();
    let remembered = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    for file in std::fs::read_dir(remembered).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let data: Value = serde_json::from_str(&text).unwrap();
        let sql = data["query"].as_str().unwrap().to_owned();
        let explain = AssertSqlSafe(format!("explain query plan {sql}"));
        let rows = sqlx::query(explain).fetch_all(&mut connection).await;
        let steps = rows.unwrap().into_iter().map(|row| row.get("detail"));
        let steps: Vec<String> = steps.collect();
        let words: Vec<_> = sql.split_whitespace().collect();
        plans.push((words.join(" "), steps.join("\n")));
    }
    assert!(plans.len() > 40, "the statements are remembered");
    plans
}

/// The plan of the one statement that is `part`, or in which it occurs.
fn plan<'a>(plans: &'a [(String, String)], part: &str) -> &'a str {
    if let Some((_, plan)) = plans.iter().find(|(sql, _)| sql == part) {
        return plan;
    }
    let mut found = plans.iter().filter(|(sql, _)| sql.contains(part));
    let (_, plan) = found
        .next()
        .unwrap_or_else(|| panic!("no statement has {part:?}"));
    assert!(found.next().is_none(), "{part:?} occurs more than once");
    plan
}

#[tokio::test]
async fn the_queue_goes_by_its_indexes() {
    let plans = plans().await;
    let cases = [
        (
            "and created_at <= ? order by created_at, seq limit 1",
            "SEARCH runs USING INDEX runs_in_flight (thread_id=? AND created_at<?)",
        ),
        (
            "claim is null and status = 'busy' and hinted_at <= ?1",
            "SEARCH t USING INDEX threads_waiting (hinted_at<?)",
        ),
        (
            "worker_id is not null and not exists",
            "SEARCH threads USING INDEX threads_held (worker_id>?)",
        ),
        (
            "join runs r on r.id = t.held_run",
            "SEARCH t USING INDEX threads_held (worker_id=?)",
        ),
        (
            "temporary = 1 and at_rest_since <= ?",
            "SEARCH threads USING INDEX threads_temporary (at_rest_since<?)",
        ),
        (
            "select * from runs where thread_id = ? and status in ('pending', 'running')",
            "SEARCH runs USING INDEX runs_in_flight (thread_id=?)",
        ),
        (
            "status in ('pending', 'running')) or id = ?",
            "MULTI-INDEX OR\nINDEX 1\nSEARCH runs USING INDEX runs_in_flight (thread_id=?)",
        ),
    ];
    for (part, step) in cases {
        let plan = plan(&plans, part);
        assert!(plan.contains(step), "{part}\n{plan}");
    }
}

#[tokio::test]
async fn what_is_first_or_last_is_found_without_sorting() {
    let plans = plans().await;
    for part in [
        "and created_at <= ? order by created_at, seq limit 1",
        "from checkpoints where thread_id = ? and ns = ? order by id desc limit 1",
        "and (?3 is null or id < ?3) order by id desc",
        "as \"in_flight!: bool\"",
    ] {
        let plan = plan(&plans, part);
        assert!(!plan.contains("TEMP B-TREE"), "{part}\n{plan}");
    }
}

#[tokio::test]
async fn no_statement_reads_a_table_from_end_to_end() {
    for (sql, plan) in plans().await {
        let is_whole = |step: &&str| step.starts_with("SCAN ") && !step.contains(" USING ");
        let whole: Vec<_> = plan.lines().filter(is_whole).collect();
        let is_fine = whole.iter().all(|step| {
            // Nothing at all; versions of channels, handed in; a handful of workers.
            *step == "SCAN CONSTANT ROW"
                || step.contains("VIRTUAL TABLE")
                || *step == "SCAN workers"
        });
        assert!(is_fine, "{sql}\n{plan}");
    }
}
