//! Joining the stream of a run that is there.

use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::support::{Server, frame};

#[tokio::test(start_paused = true)]
async fn whoever_joins_gets_what_comes_from_now_on() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let run = server.background(thread, json!({})).await;
    let mut pending = server.get(&format!("{run}/stream")).await.ok();
    assert_eq!(pending.frame().await.unwrap(), ": heartbeat");
    let mut attempt = server.claim(thread).await;
    attempt.emit("values", json!(1)).await;
    assert_eq!(pending.frame().await.unwrap(), frame("values", "1", None));
    let id = run.rsplit('/').next().unwrap();
    let mut late = server.get(&format!("/runs/{id}/stream")).await.ok();
    assert_eq!(late.header("content-location"), format!("/runs/{id}"));
    assert_eq!(late.header("location"), format!("/runs/{id}/stream"));
    attempt.emit("values", json!(2)).await;
    attempt.succeed(json!({})).await;
    let second = [frame("values", "2", None)];
    assert_eq!(late.events().await, second);
    assert_eq!(pending.events().await, second);
}

#[tokio::test(start_paused = true)]
async fn modes_narrow_what_is_forwarded_but_never_hide_how_it_went() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let modes = json!({"stream_mode": ["values", "updates", "messages-tuple"]});
    let run = server.background(thread, modes).await;
    let queries = [
        "stream_mode=updates&stream_mode=messages-tuple",
        "stream_mode=%5B%22updates%22%2C%22messages-tuple%22%5D",
        "stream_mode=updates,messages-tuple&namespace=x&cancel_on_disconnect=0",
    ];
    let mut streams = Vec::new();
    for query in queries {
        streams.push(server.get(&format!("{run}/stream?{query}")).await.ok());
    }
    let mut attempt = server.claim(thread).await;
    for name in [
        "metadata",
        "updates",
        "values",
        "messages",
        "updates|child:1",
    ] {
        attempt.emit(name, json!(1)).await;
    }
    attempt.fail("ValueError", "kaboom").await;
    for mut stream in streams {
        let events = stream.events().await;
        let names: Vec<_> = events
            .iter()
            .map(|event| event.lines().next().unwrap())
            .collect();
        let expected = [
            "metadata",
            "updates",
            "messages",
            "updates|child:1",
            "error",
        ];
        assert_eq!(names, expected.map(|name| format!("event: {name}")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_run_is_an_event_and_nonsense_is_refused() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let run = server.background(thread, json!({})).await;
    let id = run.rsplit('/').next().unwrap();
    let elsewhere = server.thread().await;
    let data = r#"{"error":"HTTPException","message":"404: Run not found"}"#;
    for path in [
        format!("/threads/{thread}/runs/{thread}/stream"),
        format!("/threads/{elsewhere}/runs/{id}/stream"),
        format!("/runs/{thread}/stream"),
    ] {
        let mut stream = server.get(&path).await.ok();
        assert_eq!(
            stream.events().await,
            [frame("error", data, None)],
            "{path}"
        );
    }
    let mut refused = server.get(&format!("{run}/stream?stream_mode=x")).await;
    assert_eq!(refused.refusal(422).await, r#""x" is not a stream mode"#);
    let mut refused = server
        .get(&format!("/threads/{thread}/runs/x/stream"))
        .await;
    assert_eq!(refused.refusal(422).await, "Invalid run ID: must be a UUID");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_over_has_an_empty_stream_that_closes_at_once() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let run = server.background(thread, json!({})).await;
    let mut attempt = server.claim(thread).await;
    attempt.emit("values", json!(1)).await;
    attempt.succeed(json!({})).await;
    let before = Instant::now();
    for last_event_id in ["-1", "1-1"] {
        let mut stream = server.resume(&format!("{run}/stream"), last_event_id).await;
        assert_eq!(stream.rest().await, "");
    }
    assert!(before.elapsed() < Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn joining_while_the_run_ends_never_hangs() {
    // Ends the run after so many turns of the scheduler, so that the end falls into every step.
    for turns in 0..40 {
        let server = Server::start().await;
        let thread = server.thread().await;
        let run = server.background(thread, json!({})).await;
        let attempt = server.claim(thread).await;
        let begun = Instant::now();
        let ending = async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            attempt.succeed(json!({})).await;
        };
        let joining = async {
            let mut stream = server.get(&format!("{run}/stream")).await.ok();
            assert_eq!(stream.rest().await, "");
        };
        tokio::join!(ending, joining);
        assert!(begun.elapsed() < Duration::from_secs(1), "after {turns}");
    }
}
