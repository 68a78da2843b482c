//! Calls that are dropped before they are answered, as those are whose caller has no more time: what
//! the same connection is used for next is nevertheless true when it is answered.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::pin::pin;
use std::task::Poll;

use common::Fresh;
use runloom_core::database::{Items, Threads};
use runloom_core::ids::ThreadId;
use runloom_core::json::{Json, JsonMap};
use runloom_core::thread::{IfExists, NewThread};
use runloom_postgres::Config;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_dropped_call_is_committed_when_it_is_answered() {
    let fresh = Fresh::new().await;
    // One connection, so that each call is followed by another on the same one.
    let config = Config {
        connections: 1,
        ..Config::default()
    };
    let (database, others) = (fresh.open(config), fresh.open(Config::default()));
    let namespace = ["notes".to_owned()];
    let mut dropped = 0;
    for step in 0..300_u32 {
        let new = NewThread {
            id: ThreadId::new(),
            metadata: JsonMap::new(),
            if_exists: IfExists::Raise,
            ttl: None,
        };
        // Dropped with one of its requests on the way, each time another one.
        let turns = 1 + step % 4;
        let call = database.create_thread(new);
        dropped += u32::from(so_far(call, turns).await.is_none());
        let key = step.to_string();
        let put = database.put_item(&namespace, &key, Json::null());
        put.await.unwrap();
        let seen = others.item(&namespace, &key).await.unwrap();
        assert!(
            seen.is_some(),
            "put after a call that was dropped after {turns} turns"
        );
    }
    assert!(dropped >= 30, "{dropped} were dropped");
}

/// What `call` answers if it goes no further than `turns` times; it is dropped where it waits then.
async fn so_far<T>(call: impl Future<Output = T>, mut turns: u32) -> Option<T> {
    let mut call = pin!(call);
    std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if turns == 1 => Poll::Ready(None),
        Poll::Pending => {
            turns -= 1;
            Poll::Pending
        }
    })
    .await
}
