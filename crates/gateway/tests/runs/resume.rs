//! Resuming a stream: nothing twice, nothing missing.

use runloom_gateway::{Config, RingLimits};
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::support::Server;

const EVENTS: usize = 12;

/// So little is kept that most readers have to go to the log.
fn forgetful() -> Config {
    Config {
        ring: RingLimits {
            kept_frames: 3,
            ..RingLimits::default()
        },
        ..Config::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_resumed_from_any_id_at_any_time_has_no_gap_and_no_double() {
    for config in [Config::default(), forgetful()] {
        for emitted_before in [0, 1, 5, EVENTS] {
            resume_from_everywhere(config.clone(), emitted_before).await;
        }
    }
}

async fn resume_from_everywhere(config: Config, emitted_before: usize) {
    let server = Server::configured(config).await;
    let thread = server.thread().await;
    let resumable = json!({"stream_resumable": true});
    let mut original = server.stream(thread, resumable).await.ok();
    let mut attempt = server.claim(thread).await;
    let path = format!("/threads/{thread}/runs/{}/stream", attempt.run().id);

    let mut ids = Vec::new();
    for number in 0..emitted_before {
        ids.push(attempt.emit("custom", json!(number)).await);
        original.frame().await.unwrap();
    }
    let mut resumed = Vec::new();
    for (skipped, id) in ids.iter().enumerate() {
        resumed.push((skipped + 1, server.resume(&path, id).await.ok()));
    }
    for from_start in ["-1", "-", "0", "0-0"] {
        resumed.push((0, server.resume(&path, from_start).await.ok()));
    }
    resumed.push((emitted_before, server.get(&path).await.ok()));
    // Some read at once, so that they switch from the log to the ring in mid-run.
    for (seen, stream) in resumed.iter_mut().step_by(2) {
        while *seen < emitted_before {
            assert_eq!(number(&stream.frame().await.unwrap()), *seen);
            *seen += 1;
        }
    }
    for number in emitted_before..EVENTS {
        ids.push(attempt.emit("custom", json!(number)).await);
        original.frame().await.unwrap();
    }
    attempt.succeed(json!({})).await;
    for (seen, mut stream) in resumed {
        let rest: Vec<_> = stream.events().await.iter().map(|e| number(e)).collect();
        assert_eq!(rest, (seen..EVENTS).collect::<Vec<_>>());
    }
    assert_eq!(original.rest().await, "");
}

fn number(event: &str) -> usize {
    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
    data.unwrap_or_else(|| panic!("no data: {event}"))
        .parse()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_the_original_event_for_event() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let resumable = json!({"stream_resumable": true});
    let mut original = server.stream(thread, resumable).await.ok();
    let mut attempt = server.claim(thread).await;
    let path = format!("/threads/{thread}/runs/{}/stream", attempt.run().id);
    for name in ["metadata", "values", "messages/partial"] {
        attempt.emit(name, json!({"name": name})).await;
    }
    attempt.succeed(json!({})).await;
    let original = original.rest().await;
    assert_eq!(original.matches("\r\nid: ").count(), 3);
    let before = Instant::now();
    assert_eq!(server.resume(&path, "-1").await.rest().await, original);
    assert!(before.elapsed() < Duration::from_millis(500));
    assert_eq!(server.get(&path).await.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_no_longer_kept_is_empty_and_closes_soon() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let run = server
        .background(thread, json!({"stream_resumable": true}))
        .await;
    let mut attempt = server.claim(thread).await;
    attempt.emit("values", json!(1)).await;
    attempt.succeed(json!({})).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    // Its end is what makes the log forget older ones.
    let other = server
        .background(thread, json!({"stream_resumable": true}))
        .await;
    server.claim(thread).await.succeed(json!({})).await;
    drop(other);
    let before = Instant::now();
    let mut replay = server.resume(&format!("{run}/stream"), "-1").await;
    assert!(replay.events().await.len() <= 1);
    assert!(before.elapsed() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_resumed_goes_on_from_now() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let run = server.background(thread, json!({})).await;
    let mut first = server.get(&format!("{run}/stream")).await.ok();
    let mut attempt = server.claim(thread).await;
    attempt.emit("custom", json!(0)).await;
    assert_eq!(number(&first.frame().await.unwrap()), 0);
    let mut late = server.resume(&format!("{run}/stream"), "-1").await.ok();
    attempt.emit("custom", json!(1)).await;
    assert_eq!(number(&late.frame().await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_ahead_of_the_ring_gets_nothing_twice() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let run = server
        .background(thread, json!({"stream_resumable": true}))
        .await;
    let mut attempt = server.claim(thread).await;
    let first = attempt.emit("custom", json!(0)).await;
    // Nothing streamed the run so far: this reader takes the log, the ring begins after 0.
    let mut reader = server.resume(&format!("{run}/stream"), &first).await.ok();
    attempt.emit("custom", json!(1)).await;
    assert_eq!(number(&reader.frame().await.unwrap()), 1);
    settle_down().await;
    // The ring has 1 now. The reader gets 2 from the log before the ring does.
    attempt.emit("custom", json!(2)).await;
    assert_eq!(number(&reader.frame().await.unwrap()), 2);
    settle_down().await;
    let mut behind = server.resume(&format!("{run}/stream"), &first).await.ok();
    let latest = attempt.emit("custom", json!(3)).await;
    // This one comes back after 3, which the ring does not have yet.
    let mut ahead = server.resume(&format!("{run}/stream"), &latest).await.ok();
    attempt.emit("custom", json!(4)).await;
    attempt.succeed(json!({})).await;
    for (reader, expected) in [
        (&mut reader, vec![3, 4]),
        (&mut ahead, vec![4]),
        (&mut behind, vec![1, 2, 3, 4]),
    ] {
        let rest: Vec<_> = reader.events().await.iter().map(|e| number(e)).collect();
        assert_eq!(rest, expected);
    }
}

/// Lets everything run that can.
async fn settle_down() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
