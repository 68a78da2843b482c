//! Many clients on one run, and one that does not keep up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::BoxStream;
use runloom_bus::{LocalEventLog, LocalNotifier};
use runloom_core::bus::{BusError, EventLog, From, Tail};
use runloom_core::event::{Event, Retention};
use runloom_core::ids::{RunId, ThreadId};
use runloom_gateway::{Config, RingLimits};
use serde_json::json;

use crate::support::{Answer, Server};

const READERS: usize = 500;
const EVENTS: usize = 200;

/// Counts its readers.
#[derive(Default)]
struct Counting {
    log: LocalEventLog,
    tails: AtomicUsize,
}

#[async_trait]
impl EventLog for Counting {
    async fn append(
        &self,
        thread: ThreadId,
        run: RunId,
        events: Vec<Event>,
        retention: Retention,
    ) -> Result<(), BusError> {
        self.log.append(thread, run, events, retention).await
    }

    async fn end(&self, thread: ThreadId, run: RunId) -> Result<(), BusError> {
        self.log.end(thread, run).await
    }

    async fn tail(
        &self,
        thread: ThreadId,
        run: RunId,
        from: From,
    ) -> Result<BoxStream<'static, Tail>, BusError> {
        self.tails.fetch_add(1, Ordering::Relaxed);
        self.log.tail(thread, run, from).await
    }
}

fn impatient() -> Config {
    Config {
        ring: RingLimits {
            kept_frames: 8,
            lag_frames: 32,
            ..RingLimits::default()
        },
        ..Config::default()
    }
}

#[tokio::test(start_paused = true)]
async fn all_get_every_event_in_order_and_who_stops_reading_is_cut_loose() {
    let log = Arc::new(Counting::default());
    let server = Server::on(impatient(), Arc::new(LocalNotifier::new()), log.clone()).await;
    let thread = server.thread().await;
    let run = server
        .background(thread, json!({"stream_resumable": true}))
        .await;
    let path = format!("{run}/stream");
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(server.get(&path).await.ok());
    }
    let mut idle = server.get(&path).await.ok();
    assert_eq!(
        log.tails.load(Ordering::Relaxed),
        1,
        "one subscription for all"
    );

    let mut attempt = server.claim(thread).await;
    let mut first = None;
    for number in 0..EVENTS {
        let id = attempt.emit("custom", json!(number)).await;
        first.get_or_insert(id);
        let expected = number.to_string();
        for frame in join_all(readers.iter_mut().map(Answer::event)).await {
            assert_eq!(data(&frame.unwrap()), expected);
        }
        if number == 0 {
            assert_eq!(data(&idle.frame().await.unwrap()), "0");
        }
    }
    attempt.succeed(json!({})).await;
    for rest in join_all(readers.iter_mut().map(Answer::rest)).await {
        assert_eq!(rest, "");
    }
    let first = first.unwrap();
    let farewell = format!(": reading too slowly; resume after {first}");
    assert_eq!(idle.event().await, Some(farewell));
    assert_eq!(idle.event().await, None);
    drop((idle, readers));

    let mut back = server.resume(&path, &first).await.ok();
    let numbers: Vec<_> = back
        .events()
        .await
        .iter()
        .map(|e| data(e).to_owned())
        .collect();
    let rest: Vec<_> = (1..EVENTS).map(|number| number.to_string()).collect();
    assert_eq!(numbers, rest);
    drop(back);
    server.drain().await;
}

fn data(event: &str) -> &str {
    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
    data.unwrap_or_else(|| panic!("no data: {event}"))
}
