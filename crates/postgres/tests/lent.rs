//! Connections stay at hand between statements, and nobody goes without one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Fresh, until_alone};
use runloom_core::database::{Items, Threads};
use runloom_core::ids::ThreadId;
use runloom_core::json::Json;
use runloom_postgres::Config;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// No question of whether the connection is still good comes between.
#[tokio::test]
async fn a_statement_is_one_message_to_the_server() {
    let fresh = Fresh::new().await;
    let (proxy, db) = fresh.open_behind_proxy(Config::default()).await;
    // It is prepared once, on the one connection that is at hand.
    db.thread(ThreadId::new()).await.unwrap();
    proxy.synced();
    for _ in 0..20 {
        db.thread(ThreadId::new()).await.unwrap();
    }
    assert_eq!(proxy.synced(), 20);
}

/// More ask at once than there are connections: each is served in its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_while_all_are_in_use_gets_the_next_that_is_free() {
    let fresh = Fresh::new().await;
    let db = Arc::new(fresh.open(Config {
        connections: 2,
        ..Config::default()
    }));
    let mut asking = JoinSet::new();
    for number in 0..200_u32 {
        let db = db.clone();
        asking.spawn(async move {
            let namespace = ["notes".to_owned()];
            let key = number.to_string();
            db.put_item(&namespace, &key, Json::null()).await.unwrap();
            assert!(db.item(&namespace, &key).await.unwrap().is_some());
        });
    }
    while let Some(served) = asking.join_next().await {
        served.unwrap();
    }
    // Those that are at hand end as well.
    db.close().await;
    assert!(db.thread(ThreadId::new()).await.is_err());
}

/// As when the network is cut without a word: nobody would ever answer on that connection.
#[tokio::test]
async fn a_call_that_is_given_up_in_silence_does_not_take_its_connection_along() {
    let fresh = Fresh::new().await;
    let config = Config {
        connections: 1,
        patience: Duration::from_secs(1),
        ..Config::default()
    };
    let (proxy, db) = fresh.open_behind_proxy(config).await;
    db.thread(ThreadId::new()).await.unwrap();
    proxy.be_silent(true);
    let asked = timeout(Duration::from_millis(100), db.thread(ThreadId::new())).await;
    assert!(asked.is_err(), "there was an answer");
    proxy.be_silent(false);
    let again = async { while db.thread(ThreadId::new()).await.is_err() {} };
    timeout(Duration::from_secs(30), again).await.unwrap();
}

/// As at the end of a process, whatever else goes first.
#[test]
fn what_is_at_hand_ends_without_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (db, fresh) = runtime.block_on(async {
        let fresh = Fresh::new().await;
        let db = fresh.open(Config::default());
        db.thread(ThreadId::new()).await.unwrap();
        (db, fresh)
    });
    drop(runtime);
    drop(db);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut connection = fresh.connection().await;
        until_alone(&mut connection).await;
    });
}
