//! Getting at a database: before it is migrated, after a newer version has been there, while it is
//! down, after it came back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::scene::{a_run, a_worker, accepted, claimed};
use common::{Fresh, execute};
use runloom_core::database::{DatabaseError, Queue, Threads};
use runloom_core::ids::{ThreadId, WorkerId};
use runloom_core::json::JsonMap;
use runloom_core::run::MultitaskStrategy;
use runloom_core::thread::{IfExists, NewThread, Thread};
use runloom_postgres::{Config, OpenError, Postgres};
use runloom_testkit::services::{postgres, shared};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use tokio::time::timeout;

fn open(url: &str) -> Postgres {
    Postgres::connect(url, Config::default()).unwrap()
}

async fn add_thread(database: &Postgres) -> Result<Thread, DatabaseError> {
    let new = NewThread {
        id: ThreadId::new(),
        metadata: JsonMap::new(),
        if_exists: IfExists::Raise,
        ttl: None,
    };
    database.create_thread(new).await
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, DatabaseError>) -> String {
    match result {
        Err(DatabaseError::Unavailable(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_empty_database_is_refused_until_it_is_migrated() {
    let database = open(&shared::new_database().await);
    let refused = database.check_schema().await.unwrap_err();
    assert!(
        matches!(refused, OpenError::OlderSchema { found: 0, .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("run `runloom migrate`"),
        "{refused}"
    );
    database.migrate().await.unwrap();
    database.check_schema().await.unwrap();
    add_thread(&database).await.unwrap();
    database.migrate().await.unwrap();
    database.check_schema().await.unwrap();
}

#[tokio::test]
async fn many_may_migrate_at_once() {
    let url = shared::new_database().await;
    let mut set = JoinSet::new();
    for _ in 0..6 {
        let database = open(&url);
        set.spawn(async move { database.migrate().await });
    }
    for migrated in set.join_all().await {
        migrated.unwrap();
    }
    open(&url).check_schema().await.unwrap();
}

/// As where an index of a large table is made: to begin anew would help nobody.
#[tokio::test]
async fn a_migration_takes_as_long_as_it_needs() {
    let url = shared::new_database().await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    // Whoever makes a table of this name has to wait.
    execute(&mut other, "begin; create table threads (id integer)").await;
    let config = Config {
        patience: Duration::from_millis(200),
        ..Config::default()
    };
    let database = Postgres::connect(&url, config).unwrap();
    let mut migrating = JoinSet::new();
    migrating.spawn(async move { database.migrate().await });
    let soon = timeout(Duration::from_secs(1), migrating.join_next()).await;
    assert!(soon.is_err(), "{soon:?}");
    execute(&mut other, "rollback").await;
    migrating.join_next().await.unwrap().unwrap().unwrap();
    open(&url).check_schema().await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_by_name_and_left_alone() {
    let url = shared::new_database().await;
    let database = open(&url);
    database.migrate().await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let newer = "insert into _sqlx_migrations
        (version, description, success, checksum, execution_time) values (9999, '', true, '', 0)";
    execute(&mut connection, newer).await;
    for refused in [database.check_schema().await, database.migrate().await] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, OpenError::NewerSchema { found: 9999, .. }),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_schema_that_somebody_else_made_is_refused() {
    let url = shared::new_database().await;
    let database = open(&url);
    database.migrate().await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    execute(
        &mut connection,
        "update _sqlx_migrations set checksum = 'x' where version = 1",
    )
    .await;
    for refused in [database.check_schema().await, database.migrate().await] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, OpenError::ForeignSchema { version: 1 }),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_once() {
    let refused = Postgres::connect("not an address", Config::default())
        .err()
        .unwrap();
    assert!(matches!(refused, OpenError::Address(_)), "{refused}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_soon() {
    let database = open("postgres://postgres@127.0.0.1:1/postgres");
    let begin = Instant::now();
    unavailable(add_thread(&database).await);
    unavailable(database.thread(ThreadId::new()).await);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

/// A primary that became a standby refuses writes until somebody is promoted.
#[tokio::test]
async fn a_read_only_database_is_unavailable_for_writes_and_can_be_read() {
    let fresh = Fresh::new().await;
    let before = add_thread(&fresh.open(Config::default())).await.unwrap();
    let mut connection = fresh.connection().await;
    let read_only = |value: &str| {
        format!(
            "do $$ begin execute format(
                'alter database %I set default_transaction_read_only = {value}', current_database()
            ); end $$"
        )
    };
    execute(&mut connection, &read_only("on")).await;
    let database = fresh.open(Config::default());
    unavailable(add_thread(&database).await);
    unavailable(
        database
            .enlist(WorkerId::new(), Duration::from_secs(1))
            .await,
    );
    assert_eq!(database.thread(before.id).await.unwrap(), Some(before));
    execute(&mut connection, "set default_transaction_read_only = off").await;
    execute(&mut connection, &read_only("off")).await;
    // Its connections are given up for new ones, which may lead to whoever is the primary now.
    let mut refused = 0;
    while let Err(error) = add_thread(&database).await {
        unavailable::<()>(Err(error));
        refused += 1;
        assert!(refused <= 2, "it does not look for the primary");
    }
}

#[tokio::test]
async fn connections_that_the_server_has_ended_are_replaced() {
    let fresh = Fresh::new().await;
    let database = Arc::new(fresh.open(Config::default()));
    let mut set = JoinSet::new();
    for _ in 0..20 {
        let database = database.clone();
        set.spawn(async move { add_thread(&database).await.unwrap() });
    }
    set.join_all().await;
    let end = "select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()";
    execute(&mut fresh.connection().await, end).await;
    let mut refused = 0;
    while let Err(error) = add_thread(&database).await {
        unavailable::<()>(Err(error));
        refused += 1;
        assert!(refused <= 20, "no more than there were connections");
    }
    add_thread(&database).await.unwrap();
}

/// Nobody could renew while the server was down, so leases that ran out meanwhile say nothing.
#[tokio::test]
async fn a_server_that_came_back_gives_workers_a_lease_to_renew_in() {
    let lease = Duration::from_secs(5);
    let mut server = postgres::Server::start().await;
    let database = open(&server.create_database("runloom").await);
    database.migrate().await.unwrap();
    let mut attempts = Vec::new();
    for _ in 0..2 {
        let thread = ThreadId::new();
        accepted(&database, a_run(thread, MultitaskStrategy::Enqueue)).await;
        let worker = a_worker(&database).await;
        database.renew(worker, lease).await.unwrap();
        attempts.push(claimed(&database, thread, worker).await);
    }
    server.stop().await;
    unavailable(database.sweep(10).await);
    tokio::time::sleep(lease).await;
    // It is up at some moment after this, and counts from there.
    let back = Instant::now();
    server.restart().await;

    let swept = loop {
        match database.sweep(10).await {
            Err(DatabaseError::Unavailable(_)) => {}
            swept => break swept.unwrap(),
        }
    };
    assert_eq!(swept.reaped, 0);
    let survivor = attempts[0].lease.worker_id;
    let held = database
        .renew(survivor, Duration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(held.len(), 1);
    // The other worker does not come back. The survivor's lease is longer now, and waited for.
    database.renew(survivor, lease).await.unwrap();
    let reaped = loop {
        let reaped = database.sweep(10).await.unwrap().reaped;
        if reaped > 0 {
            break reaped;
        }
        database.renew(survivor, lease).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(reaped, 1, "only the worker that did not come back");
    assert!(back.elapsed() > lease, "{:?}", back.elapsed());
}
