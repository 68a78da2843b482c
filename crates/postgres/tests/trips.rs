//! How often the server is asked, and what happens if it does not answer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Fresh;
use common::proxy::Proxy;
use common::scene::{LEASE, a_checkpoint, a_run, a_worker, accepted, claimed, guard, settled_as};
use runloom_core::checkpoint::{Blob, NewWrites, PendingWrite};
use runloom_core::database::{Checkpoints, DatabaseError, Queue, Runs, Threads, Transit};
use runloom_core::ids::{CheckpointId, ClaimId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::lease::ClaimReply;
use runloom_core::run::{MultitaskStrategy, RunError};
use runloom_core::thread::{IfExists, NewThread};
use runloom_postgres::{Config, Postgres};
use serde_json::json;
use tokio::task::JoinSet;

/// A run on a thread, step by step; each step is one statement.
async fn whole_run(db: &Postgres, proxy: &Proxy, thread: ThreadId, transit: Transit) {
    let worker = a_worker(db).await;
    proxy.executed();
    let first = accepted(db, a_run(thread, MultitaskStrategy::Interrupt)).await;
    assert_eq!(proxy.executed(), 1, "submit");
    accepted(db, a_run(thread, MultitaskStrategy::Enqueue)).await;
    assert_eq!(proxy.executed(), 1, "submit beside another one");

    let attempt = claimed(db, thread, worker).await;
    assert_eq!(attempt.run.id, first.id);
    assert_eq!(proxy.executed(), 1, "claim");
    let new = vec![a_checkpoint(thread, 1), a_checkpoint(thread, 2)];
    let written = vec![NewWrites {
        ns: String::new(),
        checkpoint_id: new[0].checkpoint.id.clone(),
        writes: vec![a_write()],
    }];
    db.put_checkpoints(thread, guard(&attempt), new, written)
        .await
        .unwrap();
    assert_eq!(proxy.executed(), 1, "put");
    assert_eq!(db.renew(worker, LEASE).await.unwrap().len(), 1);
    assert_eq!(proxy.executed(), 1, "renew");

    let mut settlement = settled_as(transit);
    settlement.residue = Some(NewWrites {
        ns: String::new(),
        checkpoint_id: CheckpointId("1f000000-0000-6000-8000-000000000002".to_owned()),
        writes: vec![a_write()],
    });
    let settled = db
        .settle(&attempt.lease, settlement, Some(ClaimId::new()))
        .await
        .unwrap();
    assert_eq!(proxy.executed(), 1, "settle and claim the next");
    let next = settled.next.unwrap();
    db.settle(
        &next.lease,
        settled_as(Transit::Succeed),
        Some(ClaimId::new()),
    )
    .await
    .unwrap();
    assert_eq!(proxy.executed(), 1, "settle");
}

fn a_write() -> PendingWrite {
    PendingWrite {
        task_id: "task".to_owned(),
        task_path: String::new(),
        index: 0,
        channel: "messages".to_owned(),
        blob: Blob::json(&json!("ho")).unwrap(),
    }
}

#[tokio::test]
async fn what_happens_most_often_takes_one_round_trip() {
    let fresh = Fresh::new().await;
    let config = Config {
        connections: 1,
        ..Config::default()
    };
    let (proxy, db) = fresh.open_behind_proxy(config).await;
    let error = || RunError::new("ValueError", "no such city");
    let thread = ThreadId::new();
    for transit in [
        Transit::Succeed,
        Transit::Interrupt,
        Transit::Fail(error()),
        Transit::TimeOut(error()),
    ] {
        // The same thread again: the process remembers it.
        whole_run(&db, &proxy, thread, transit.clone()).await;
        whole_run(&db, &proxy, ThreadId::new(), transit).await;
    }
}

/// One more for whoever has not seen the thread before.
#[tokio::test]
async fn a_thread_that_another_process_changed_takes_one_more() {
    let fresh = Fresh::new().await;
    let (proxy, db) = fresh.open_behind_proxy(Config::default()).await;
    let new = NewThread {
        id: ThreadId::new(),
        metadata: json!({"user": "ann"}).as_object().unwrap().clone(),
        if_exists: IfExists::Raise,
        ttl: None,
    };
    let thread = new.id;
    fresh
        .open(Config::default())
        .create_thread(new)
        .await
        .unwrap();
    for trips in [2, 1] {
        proxy.executed();
        let run = accepted(&db, a_run(thread, MultitaskStrategy::Enqueue)).await;
        assert_eq!(run.metadata["user"], "ann");
        assert_eq!(proxy.executed(), trips);
    }
    let new = NewThread {
        id: ThreadId::new(),
        metadata: JsonMap::new(),
        if_exists: IfExists::Raise,
        ttl: None,
    };
    let thread = new.id;
    db.create_thread(new).await.unwrap();
    proxy.executed();
    let mut new = a_run(thread, MultitaskStrategy::Enqueue);
    new.if_thread_missing = runloom_core::compose::IfThreadMissing::Reject;
    accepted(&db, new).await;
    assert_eq!(
        proxy.executed(),
        1,
        "a thread without metadata is what is expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_come_together_go_together() {
    let fresh = Fresh::new().await;
    let (proxy, db) = fresh.open_behind_proxy(Config::default()).await;
    let db = Arc::new(db);
    let worker = a_worker(&db).await;
    let mut threads = Vec::new();
    for _ in 0..60 {
        let thread = ThreadId::new();
        accepted(&db, a_run(thread, MultitaskStrategy::Enqueue)).await;
        threads.push(thread);
    }
    proxy.executed();
    let mut set = JoinSet::new();
    for thread in threads {
        let db = db.clone();
        set.spawn(async move {
            (
                thread,
                db.claim(thread, worker, ClaimId::new()).await.unwrap(),
            )
        });
    }
    for (thread, reply) in set.join_all().await {
        let ClaimReply::Claimed(claimed) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(claimed.run.thread_id, thread, "everybody gets its own");
    }
    let trips = proxy.executed();
    assert!(trips <= 20, "{trips} statements for 60 claims");
    assert_eq!(db.renew(worker, LEASE).await.unwrap().len(), 60);
}

/// A caller that goes away while it claims for others leaves them nothing undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_go_on_although_those_who_carry_them_go_away() {
    let fresh = Fresh::new().await;
    let db = Arc::new(fresh.open(Config::default()));
    let worker = a_worker(&db).await;
    for round in 0..20 {
        let mut set = JoinSet::new();
        let mut threads = Vec::new();
        for number in 0..12_u64 {
            let thread = ThreadId::new();
            accepted(&db, a_run(thread, MultitaskStrategy::Enqueue)).await;
            threads.push((thread, number));
        }
        for (thread, number) in threads {
            let db = db.clone();
            set.spawn(async move {
                let claim = ClaimId::new();
                let patience = Duration::from_micros(200 * number);
                if number % 2 == 0 {
                    let _gone =
                        tokio::time::timeout(patience, db.claim(thread, worker, claim)).await;
                }
                db.claim(thread, worker, claim).await.unwrap()
            });
        }
        for reply in set.join_all().await {
            assert!(
                matches!(reply, ClaimReply::Claimed(_)),
                "round {round}: {reply:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_unavailable_and_its_connections_are_given_up() {
    let fresh = Fresh::new().await;
    let config = Config {
        connections: 2,
        patience: Duration::from_secs(2),
        ..Config::default()
    };
    let (proxy, db) = fresh.open_behind_proxy(config).await;
    let thread = ThreadId::new();
    let run = accepted(&db, a_run(thread, MultitaskStrategy::Enqueue)).await;
    proxy.be_silent(true);
    let begin = Instant::now();
    let refused = [
        db.run(None, run.id).await.map(drop),
        db.delete_run(thread, run.id).await,
        db.submit_run(a_run(thread, MultitaskStrategy::Enqueue))
            .await
            .map(drop),
    ];
    for refused in refused {
        assert!(
            matches!(refused, Err(DatabaseError::Unavailable(_))),
            "{refused:?}"
        );
    }
    assert!(begin.elapsed() < Duration::from_secs(30));
    proxy.be_silent(false);
    let begin = Instant::now();
    while db.run(None, run.id).await.is_err() {
        assert!(
            begin.elapsed() < Duration::from_mins(1),
            "it does not come back"
        );
    }
}
