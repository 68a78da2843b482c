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
use rusqlite::Connection;

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
        ttl: None,
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

/// A closed database, opened behind the crate's back.
async fn behind(folder: &Path) -> Connection {
    open(folder).await.unwrap().close().await.unwrap();
    Connection::open(folder.join("runloom.db")).unwrap()
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let connection = behind(folder.path()).await;
    let newer = "insert into _sqlx_migrations
        (version, description, success, checksum, execution_time) values (9999, '', 1, x'', 0)";
    connection.execute(newer, ()).unwrap();
    drop(connection);

    let refused = refusal(folder.path()).await;
    assert!(
        matches!(refused, OpenError::NewerSchema { found: 9999, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_schema_that_is_not_what_it_was_is_refused() {
    for (damage, named) in [
        (
            "checksum = x'00'",
            "migration 1 was another when it was applied",
        ),
        ("success = 0", "migration 1 was applied only in part"),
        (
            "version = 0 where version = 1",
            "migration 0 is not known here",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let connection = behind(folder.path()).await;
        let damage = format!("update _sqlx_migrations set {damage}");
        connection.execute(&damage, ()).unwrap();
        drop(connection);

        let refused = refusal(folder.path()).await.to_string();
        assert!(refused.contains(named), "{refused}");
    }
}

/// The first versions kept their files through sqlx, which noted the schema so.
#[tokio::test]
async fn a_file_of_the_first_versions_is_opened_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join("runloom.db")).unwrap();
    let schema = include_str!("../migrations/0001_init.sql");
    connection.execute_batch(schema).unwrap();
    let bookkeeping = "create table _sqlx_migrations (
        version bigint primary key,
        description text not null,
        installed_on timestamp not null default current_timestamp,
        success boolean not null,
        checksum blob not null,
        execution_time bigint not null
    )";
    connection.execute(bookkeeping, ()).unwrap();
    let noted = "insert into _sqlx_migrations
        (version, description, success, checksum, execution_time)
        values (1, 'init', 1, unhex(?1 || ?2), 966732)";
    let checksum = [
        "d976286236923277aa705313231d56f1699b2d5a3c1bb796",
        "f95ac40971cc8cc85c0c7ace6951569787d8624aff1e7486",
    ];
    connection.execute(noted, checksum).unwrap();
    let thread = "insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, hinted_at
        ) values (zeroblob(16), 0, 0, 0, '{}', '{}', 'idle', 0)";
    connection.execute(thread, ()).unwrap();
    drop(connection);

    let database = open(folder.path()).await.unwrap();
    let id = "00000000-0000-0000-0000-000000000000".parse().unwrap();
    assert!(database.thread(id).await.unwrap().is_some());
    add_thread(&database).await;
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
