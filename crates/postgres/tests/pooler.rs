//! Through `PgBouncer` in transaction mode, which lends a connection for a transaction at a time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::sync::Arc;

use common::scene::{a_checkpoint, a_run, a_worker, accepted, claimed, guard, settled_as};
use runloom_core::database::{Checkpoints, Items, Queue, Runs, Threads, Transit};
use runloom_core::ids::ThreadId;
use runloom_core::json::Json;
use runloom_core::run::{MultitaskStrategy, RunStatus};
use runloom_core::search::{Page, SortOrder, ThreadFilter, ThreadSort};
use runloom_postgres::{Config, Postgres};
use runloom_testkit::services::{pgbouncer, postgres};
use tokio::task::JoinSet;

/// A run from its acceptance to its end, on a thread of its own.
async fn whole_run(db: &Postgres) {
    let thread = ThreadId::new();
    let run = accepted(db, a_run(thread, MultitaskStrategy::Interrupt)).await;
    let worker = a_worker(db).await;
    let attempt = claimed(db, thread, worker).await;
    let new = vec![a_checkpoint(thread, 1)];
    db.put_checkpoints(thread, guard(&attempt), new, Vec::new())
        .await
        .unwrap();
    assert_eq!(
        db.renew(worker, common::scene::LEASE).await.unwrap().len(),
        1
    );
    db.settle(&attempt.lease, settled_as(Transit::Succeed), None)
        .await
        .unwrap();
    db.retire(worker).await.unwrap();
    let run = db.run(Some(thread), run.id).await.unwrap().unwrap();
    assert_eq!(run.status, RunStatus::Success);
    assert!(db.checkpoint(thread, "", None).await.unwrap().is_some());
    assert!(db.thread(thread).await.unwrap().unwrap().values.is_some());
}

/// The oldest one that is still in use knows nothing of prepared statements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_lends_connections_by_the_transaction_works_without_prepared_statements() {
    let server = postgres::Server::start().await;
    server.create_database("runloom").await;
    let pooler = pgbouncer::Server::start_with(&server, &[("default_pool_size", "3")]).await;
    let config = Config {
        prepared: false,
        ..Config::default()
    };
    let url = pooler.database_url("runloom");
    let processes = [(); 3].map(|()| Arc::new(Postgres::connect(&url, config.clone()).unwrap()));
    let mut set = JoinSet::new();
    for db in processes.clone() {
        set.spawn(async move {
            db.migrate().await.unwrap();
            db.check_schema().await.unwrap();
        });
    }
    set.join_all().await;

    let mut set = JoinSet::new();
    for number in 0..60 {
        let db = processes[number % 3].clone();
        set.spawn(async move { whole_run(&db).await });
    }
    set.join_all().await;

    let db = &processes[0];
    let page = Page {
        limit: 100,
        offset: 0,
    };
    let order = (ThreadSort::CreatedAt, SortOrder::Desc);
    let found = db
        .search_threads(&ThreadFilter::default(), order, page)
        .await;
    assert_eq!(found.unwrap().len(), 60);
    let namespace = ["notes".to_owned()];
    db.put_item(&namespace, "key", Json::null()).await.unwrap();
    assert!(db.item(&namespace, "key").await.unwrap().is_some());
    assert_eq!(db.sweep(10).await.unwrap().reaped, 0);
}
