//! Streams and waits when hints are lost and the log fails: slower, but never wrong and never
//! without an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use runloom_bus::{LocalEventLog, LocalNotifier};
use runloom_core::bus::{BusError, EventLog, From, Tail};
use runloom_core::database::Transit;
use runloom_core::event::{Event, Retention};
use runloom_core::ids::{RunId, ThreadId};
use runloom_gateway::Config;
use runloom_testkit::doubles::{Faults, Faulty};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::support::{Server, frame};

/// A log that is out of reach or loses events, as the test says.
#[derive(Default)]
struct Unreliable {
    log: LocalEventLog,
    is_away: AtomicBool,
    loses: AtomicBool,
}

#[async_trait]
impl EventLog for Unreliable {
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
        if self.is_away.load(Ordering::Relaxed) {
            return Err(BusError("away".to_owned()));
        }
        let tail = self.log.tail(thread, run, from).await?;
        if self.loses.load(Ordering::Relaxed) {
            return Ok(tail.take(1).chain(stream::iter([Tail::Gap])).boxed());
        }
        Ok(tail)
    }
}

async fn unreliable() -> (Server, Arc<Unreliable>) {
    let log = Arc::new(Unreliable::default());
    let notifier = Arc::new(LocalNotifier::new());
    let server = Server::on(Config::default(), notifier, log.clone()).await;
    (server, log)
}

#[tokio::test(start_paused = true)]
async fn with_all_hints_lost_everybody_still_learns_of_the_end() {
    let notifier = Arc::new(LocalNotifier::new());
    let faulty = Arc::new(Faulty::new(notifier, Faults::ALL_LOST, 1));
    let log = Arc::new(LocalEventLog::default());
    let server = Server::on(Config::default(), faulty, log).await;
    let thread = server.thread().await;
    let mut stream = server.stream(thread, json!({})).await.ok();
    let mut attempt = server.claim(thread).await;
    let run = format!("/threads/{thread}/runs/{}", attempt.run().id);
    let mut joined = server.get(&format!("{run}/join")).await.ok();
    attempt.emit("values", json!(1)).await;
    let begun = Instant::now();
    attempt
        .settle_quietly(Transit::Succeed, json!({"a": 1}))
        .await;
    assert_eq!(stream.events().await, [frame("values", "1", None)]);
    assert_eq!(joined.json(200).await, json!({"a": 1}));
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_comes_back_is_read_from_then_on() {
    let (server, log) = unreliable().await;
    log.is_away.store(true, Ordering::Relaxed);
    let thread = server.thread().await;
    let mut stream = server.stream(thread, json!({})).await.ok();
    assert_eq!(stream.frame().await.unwrap(), ": heartbeat");
    log.is_away.store(false, Ordering::Relaxed);
    assert_eq!(stream.frame().await.unwrap(), ": heartbeat");
    let mut attempt = server.claim(thread).await;
    attempt.emit("values", json!(1)).await;
    attempt.succeed(json!({})).await;
    assert_eq!(stream.events().await, [frame("values", "1", None)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_while_the_log_could_not_be_read_is_told_when_it_can() {
    let (server, log) = unreliable().await;
    log.is_away.store(true, Ordering::Relaxed);
    let thread = server.thread().await;
    let body = json!({"stream_resumable": true});
    let mut stream = server.stream(thread, body).await.ok();
    let mut attempt = server.claim(thread).await;
    attempt.emit("values", json!(1)).await;
    log.is_away.store(false, Ordering::Relaxed);
    attempt.succeed(json!({})).await;
    let told = stream.events().await;
    assert!(told[0].starts_with("event: values\r\ndata: 1"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn without_the_log_a_stream_still_closes() {
    let (server, log) = unreliable().await;
    log.is_away.store(true, Ordering::Relaxed);
    let thread = server.thread().await;
    let mut stream = server.stream(thread, json!({})).await.ok();
    server
        .claim(thread)
        .await
        .fail("ValueError", "kaboom")
        .await;
    let data = r#"{"error":"ValueError","message":"kaboom"}"#;
    assert_eq!(stream.events().await, [frame("error", data, None)]);
}

#[tokio::test(start_paused = true)]
async fn lost_events_close_the_stream_so_that_clients_come_back_for_them() {
    let (server, log) = unreliable().await;
    log.loses.store(true, Ordering::Relaxed);
    let thread = server.thread().await;
    let fields = json!({"stream_resumable": true, "on_disconnect": "cancel"});
    let mut stream = server.stream(thread, fields).await.ok();
    let mut attempt = server.claim(thread).await;
    let run = format!("/threads/{thread}/runs/{}", attempt.run().id);
    let first = attempt.emit("custom", json!(0)).await;
    let second = attempt.emit("custom", json!(1)).await;
    assert_eq!(stream.events().await, [frame("custom", "0", Some(&first))]);
    drop(stream);
    log.loses.store(false, Ordering::Relaxed);
    let mut back = server.resume(&format!("{run}/stream"), &first).await.ok();
    assert_eq!(
        back.frame().await.unwrap(),
        frame("custom", "1", Some(&second))
    );
    let reason = server.get(&run).await.json(200).await["cancel_reason"].clone();
    assert_eq!(reason, Value::Null, "the client did not leave");
}
