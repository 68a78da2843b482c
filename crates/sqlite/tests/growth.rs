//! Whether the file stays as large as it is while everything that may go does. `RUNLOOM_TEST_ROUNDS` says
//! for how many runs; shown with `--no-capture`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(
    clippy::print_stderr,
    reason = "the numbers are for whoever asked for them"
)]

use std::sync::Arc;

use runloom_sqlite::{Config, Location, Sqlite};
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::growth::{Growth, MOST_ROWS, rounds};
use rusqlite::Connection;

/// The rows of each table, and how many pages of the file are in use.
fn counted(connection: &Connection) -> (Vec<(String, i64)>, i64) {
    let tables = "select name from sqlite_schema where type = 'table' order by name";
    let mut tables = connection.prepare(tables).unwrap();
    let names = tables.query_map((), |row| row.get(0)).unwrap();
    let names: Vec<String> = names.collect::<Result<_, _>>().unwrap();
    let number = |sql: &str| connection.query_row(sql, (), |row| row.get(0)).unwrap();
    let rows = names
        .into_iter()
        .map(|name| {
            let rows = number(&format!("select count(*) from {name}"));
            (name, rows)
        })
        .collect();
    let pages: i64 = number("pragma page_count");
    let free: i64 = number("pragma freelist_count");
    (rows, pages - free)
}

#[tokio::test]
async fn what_is_stored_stays_as_much_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let location = Location::Folder(folder.path().to_owned());
    let database = Sqlite::open(location, clock.clone(), Config::default()).await;
    let connection = Connection::open(folder.path().join("runloom.db")).unwrap();
    let mut growth = Growth::new(Arc::new(database.unwrap()), clock).await;
    for tenth in 1..=10 {
        growth.go_on(rounds() / 10).await;
        let (rows, pages) = counted(&connection);
        eprintln!("{} runs: {pages} pages, {rows:?}", tenth * (rounds() / 10));
        for (table, rows) in rows {
            assert!(rows <= MOST_ROWS, "{table}: {rows}");
        }
        assert!(pages <= 3_000, "{pages} pages");
    }
}
