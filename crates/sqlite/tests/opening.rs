//! Opening a data folder: after an orderly end, after a crash, while somebody else has it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runloom_core::database::{DatabaseError, Queue, Threads};
use runloom_core::ids::{ThreadId, WorkerId};
use runloom_core::json::JsonMap;
use runloom_core::thread::{IfExists, NewThread};
use runloom_sqlite::{Config, Location, OpenError, Sqlite};
use runloom_testkit::doubles::ManualClock;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

async fn open(folder: &Path) -> Result<Sqlite, OpenError> {
    let location = Location::Folder(folder.to_owned());
    Sqlite::open(location, ManualClock::new(), Config::default()).await
}

/// Why it does not open.
async fn refusal(folder: &Path) -> OpenError {
    match open(folder).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

async fn add_thread(database: &Sqlite) -> ThreadId {
    let new = NewThread {
        id: ThreadId::new(),
        metadata: JsonMap::new(),
        if_exists: IfExists::Raise,
    };
    database.create_thread(new).await.unwrap().id
}

#[tokio::test]
async fn what_was_stored_is_there_after_an_orderly_end_and_after_none() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("made/for/us");
    let database = open(&inner).await.unwrap();
    let first = add_thread(&database).await;
    database.close().await.unwrap();

    let database = open(&inner).await.unwrap();
    let second = add_thread(&database).await;
    drop(database);

    let database = open(&inner).await.unwrap();
    assert!(database.thread(first).await.unwrap().is_some());
    assert!(database.thread(second).await.unwrap().is_some());
}

/// What the kernel keeps of a process that is killed: the files as they are in mid-flight.
#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let (alive, dead) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = open(alive.path()).await.unwrap();
    let thread = add_thread(&database).await;
    for name in ["runloom.db", "runloom.db-wal"] {
        std::fs::copy(alive.path().join(name), dead.path().join(name)).unwrap();
    }
    let wal = dead.path().join("runloom.db-wal").metadata().unwrap();
    assert!(wal.len() > 0, "the commit is in the log only");

    let found = open(dead.path()).await.unwrap();
    assert!(found.thread(thread).await.unwrap().is_some());
}

#[tokio::test]
async fn workers_of_the_process_before_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let lease = Duration::from_secs(10);
    let worker = WorkerId::new();
    let database = open(folder.path()).await.unwrap();
    database.enlist(worker, lease).await.unwrap();
    database.renew(worker, lease).await.unwrap();
    drop(database);

    let database = open(folder.path()).await.unwrap();
    let renewed = database.renew(worker, lease).await;
    assert!(matches!(renewed, Err(DatabaseError::Fenced)), "{renewed:?}");
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_free_again_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path()).await.unwrap();
    let refused = refusal(folder.path()).await;
    assert!(
        matches!(&refused, OpenError::InUse(path) if path == folder.path()),
        "{refused}"
    );
    assert!(
        refused
            .to_string()
            .ends_with("is in use by another process"),
        "{refused}"
    );
    // The one that was refused has changed nothing for the one that is there.
    add_thread(&database).await;
    drop(database);
    open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.unwrap().close().await.unwrap();
    let options = SqliteConnectOptions::new().filename(folder.path().join("runloom.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let newer = "insert into _sqlx_migrations
        (version, description, success, checksum, execution_time) values (9999, '', 1, x'', 0)";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let refused = refusal(folder.path()).await;
    assert!(
        matches!(refused, OpenError::NewerSchema { found: 9999, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runloom.db");
    let letter = "dear diary ".repeat(1_000);
    std::fs::write(&file, &letter).unwrap();
    let refused = refusal(folder.path()).await;
    assert!(refused.to_string().contains("damaged"), "{refused}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), letter);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in-the-way");
    std::fs::write(&file, "").unwrap();
    let refused = refusal(&file.join("data")).await;
    assert!(refused.to_string().contains("in-the-way/data"), "{refused}");
}

#[tokio::test]
async fn databases_in_memory_are_apart() {
    let clock = ManualClock::new();
    let [one, other] = [(), ()]
        .map(|()| Sqlite::open(Location::Memory, Arc::clone(&clock) as _, Config::default()));
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    let thread = add_thread(&one).await;
    assert!(one.thread(thread).await.unwrap().is_some());
    assert!(other.thread(thread).await.unwrap().is_none());
}
