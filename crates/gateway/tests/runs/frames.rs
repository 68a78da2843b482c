//! Streams, byte for byte.

use std::time::Duration;

use runloom_core::database::Transit;
use runloom_gateway::Config;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Server, frame};

#[tokio::test(start_paused = true)]
async fn a_stream_is_that_of_the_published_server() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let mut stream = server.stream(thread, json!({"input": {}})).await.ok();
    let mut attempt = server.claim(thread).await;
    let run = attempt.run().id;
    let place = format!("/threads/{thread}/runs/{run}");
    assert_eq!(
        stream.header("content-type"),
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(stream.header("cache-control"), "no-store");
    assert_eq!(stream.header("x-accel-buffering"), "no");
    assert_eq!(stream.header("content-location"), place);
    assert_eq!(stream.header("location"), format!("{place}/stream"));

    attempt
        .emit("metadata", json!({"run_id": run, "attempt": 1}))
        .await;
    attempt.emit("values", json!({"a": "\n\u{e9}"})).await;
    attempt.emit("updates|child:1f", json!(null)).await;
    attempt.succeed(json!({})).await;
    let expected = format!(
        "event: metadata\r\ndata: {{\"run_id\":\"{run}\",\"attempt\":1}}\r\n\r\n\
         event: values\r\ndata: {{\"a\":\"\\n\u{e9}\"}}\r\n\r\n\
         event: updates|child:1f\r\ndata: null\r\n\r\n"
    );
    assert_eq!(stream.rest().await, expected);
}

#[tokio::test(start_paused = true)]
async fn what_can_be_resumed_carries_ids() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let resumable = json!({"stream_resumable": true});
    let mut stream = server.stream(thread, resumable).await.ok();
    let mut attempt = server.claim(thread).await;
    let id = attempt.emit("values", json!([])).await;
    assert_eq!(
        stream.frame().await.unwrap(),
        format!("event: values\r\ndata: []\r\nid: {id}")
    );
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_steadily_from_the_opening_whatever_else_is_sent() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let opened = Instant::now();
    let mut stream = server.stream(thread, json!({})).await.ok();
    let mut attempt = server.claim(thread).await;
    for beat in 1..=4 {
        if beat == 2 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            attempt.emit("custom", json!(1)).await;
            assert_eq!(stream.frame().await.unwrap(), frame("custom", "1", None));
        }
        assert_eq!(stream.chunk().await.unwrap(), ": heartbeat\r\n\r\n");
        assert_eq!(opened.elapsed().as_secs(), beat * 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_pause_has_heartbeats_too() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let mut stream = server.stream(thread, json!({})).await.ok();
    let mut attempt = server.claim(thread).await;
    let mut heartbeats = 0;
    for _ in 0..110 {
        attempt.emit("custom", json!(1)).await;
        tokio::time::advance(Duration::from_millis(100)).await;
        if stream.frame().await.unwrap() == ": heartbeat" {
            heartbeats += 1;
        }
    }
    assert_eq!(heartbeats, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_closes_as_soon_as_the_run_is_over_and_not_before() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let mut stream = server.stream(thread, json!({})).await.ok();
    let attempt = server.claim(thread).await;
    let run = attempt.run().id;
    assert_eq!(stream.frame().await.unwrap(), ": heartbeat");
    let before = Instant::now();
    attempt.succeed(json!({})).await;
    assert_eq!(stream.rest().await, "");
    assert!(before.elapsed() < Duration::from_millis(100));
    let mut run = server.get(&format!("/threads/{thread}/runs/{run}")).await;
    assert_eq!(run.json(200).await["status"], "success");
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_ends_with_its_error_once() {
    for (is_emitted, transit) in [(true, "fail"), (false, "fail"), (false, "timeout")] {
        let server = Server::start().await;
        let thread = server.thread().await;
        let mut stream = server.stream(thread, json!({})).await.ok();
        let mut attempt = server.claim(thread).await;
        if is_emitted {
            let error = json!({"error": "ValueError", "message": "kaboom"});
            attempt.emit("error", error).await;
        }
        let error = runloom_core::run::RunError::new("ValueError", "kaboom");
        let transit = match transit {
            "fail" => Transit::Fail(error),
            _ => Transit::TimeOut(error),
        };
        attempt.settle(transit, json!(null)).await;
        let data = r#"{"error":"ValueError","message":"kaboom"}"#;
        assert_eq!(stream.events().await, [frame("error", data, None)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_closes_without_a_word_unless_the_server_is_set_to_say_more() {
    let talkative = Config {
        end_event: true,
        ..Config::default()
    };
    for (config, says) in [(Config::default(), false), (talkative, true)] {
        let server = Server::configured(config).await;
        let thread = server.thread().await;
        let mut stream = server.stream(thread, json!({})).await.ok();
        let first = server.claim(thread).await;
        let run = first.run().id;
        let interrupting = json!({"multitask_strategy": "interrupt"});
        let next = server.background(thread, interrupting).await;
        first.settle(Transit::Interrupt, json!({})).await;
        let next = next.rsplit('/').next().unwrap();
        let end =
            format!(r#"{{"run_id":"{run}","status":"interrupted","superseded_by":"{next}"}}"#);
        let expected: Vec<_> = says.then(|| frame("end", &end, None)).into_iter().collect();
        assert_eq!(stream.events().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rolled_back_run_closes_too() {
    let server = Server::configured(Config {
        end_event: true,
        ..Config::default()
    });
    let server = server.await;
    let thread = server.thread().await;
    let mut stream = server.stream(thread, json!({})).await.ok();
    let first = server.claim(thread).await;
    let run = first.run().id;
    let rolling_back = json!({"multitask_strategy": "rollback"});
    server.background(thread, rolling_back).await;
    first.settle(Transit::Interrupt, json!({})).await;
    let end = format!(r#"{{"run_id":"{run}","status":null}}"#);
    assert_eq!(stream.events().await, [frame("end", &end, None)]);
}
