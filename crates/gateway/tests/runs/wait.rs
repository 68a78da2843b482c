//! Waiting for runs.

use runloom_core::database::Transit;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::support::Server;

#[tokio::test(start_paused = true)]
async fn waiting_gives_a_sign_of_life_and_then_the_output() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let begun = Instant::now();
    let mut waiting = server.wait(thread, json!({"input": {}})).await.ok();
    let attempt = server.claim(thread).await;
    let place = format!("/threads/{thread}/runs/{}", attempt.run().id);
    assert_eq!(waiting.header("content-type"), "application/json");
    assert_eq!(waiting.header("content-location"), place);
    assert_eq!(waiting.header("location"), format!("{place}/join"));
    for beat in 1..=3 {
        assert_eq!(waiting.chunk().await.unwrap(), "\n");
        assert_eq!(begun.elapsed().as_secs(), beat * 5);
    }
    let output = json!({"messages": [], "__interrupt__": [{"value": 1, "id": "x"}]});
    attempt.succeed(output.clone()).await;
    assert_eq!(waiting.rest().await, output.to_string());
    assert!(begun.elapsed() < Duration::from_millis(15_100));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_an_answer() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let mut waiting = server.wait(thread, json!({})).await.ok();
    server
        .claim(thread)
        .await
        .fail("ValueError", "kaboom")
        .await;
    let failure = json!({"__error__": {"error": "ValueError", "message": "kaboom"}});
    assert_eq!(waiting.json(200).await, failure);
}

#[tokio::test(start_paused = true)]
async fn a_superseded_run_answers_with_its_last_values() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let mut waiting = server.wait(thread, json!({})).await.ok();
    let first = server.claim(thread).await;
    let interrupting = json!({"multitask_strategy": "interrupt"});
    server.background(thread, interrupting).await;
    first.settle(Transit::Interrupt, json!({"so": "far"})).await;
    assert_eq!(waiting.json(200).await, json!({"so": "far"}));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_gone_leaves_the_values_of_its_thread() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let mut waiting = server.wait(thread, json!({})).await.ok();
    let first = server.claim(thread).await;
    let rolling_back = json!({"multitask_strategy": "rollback"});
    server.background(thread, rolling_back).await;
    first.settle(Transit::Interrupt, json!({"so": "far"})).await;
    assert_eq!(waiting.json(200).await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_join_answers_with_the_output_of_the_run_it_names() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let mut places = Vec::new();
    for number in 1..=2 {
        places.push(server.background(thread, json!({})).await);
        server
            .claim(thread)
            .await
            .succeed(json!({"n": number}))
            .await;
    }
    for (place, number) in places.iter().zip(1..) {
        let mut joined = server.get(&format!("{place}/join")).await.ok();
        assert_eq!(joined.header("content-location"), place);
        assert_eq!(joined.json(200).await, json!({"n": number}));
        let id = place.rsplit('/').next().unwrap();
        let mut joined = server.get(&format!("/runs/{id}/join")).await;
        assert_eq!(joined.json(200).await, json!({"n": number}));
    }
}

#[tokio::test(start_paused = true)]
async fn joining_an_unknown_run_is_answered_with_an_error_in_the_body() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let unknown = json!({"__error__": {
        "error": "HTTPException", "message": "404: Run not found"}});
    let mut joined = server
        .get(&format!("/threads/{thread}/runs/{thread}/join"))
        .await;
    assert_eq!(joined.json(200).await, unknown);
}

#[tokio::test(start_paused = true)]
async fn joining_while_the_run_ends_never_hangs() {
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
            attempt.succeed(json!({"done": true})).await;
        };
        let joining = async {
            let mut joined = server.get(&format!("{run}/join")).await;
            assert_eq!(joined.json(200).await, json!({"done": true}));
        };
        tokio::join!(ending, joining);
        assert!(begun.elapsed() < Duration::from_secs(1), "after {turns}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_thread_of_ones_own_leaves_nothing_behind() {
    let server = Server::start().await;
    for (fields, remains) in [(json!({}), false), (json!({"on_completion": "keep"}), true)] {
        let body = crate::support::with_assistant(fields);
        let mut waiting = server.post("/runs/wait", body).await.ok();
        let place = waiting.header("content-location").to_owned();
        let thread = place.split('/').nth(2).unwrap().parse().unwrap();
        let attempt = server.claim(thread).await;
        assert_eq!(
            place,
            format!("/threads/{thread}/runs/{}", attempt.run().id)
        );
        attempt.succeed(json!({"a": 1})).await;
        assert_eq!(waiting.json(200).await, json!({"a": 1}));
        drop(waiting);
        server.drain().await;
        let left = server.get(&format!("/threads/{thread}")).await;
        assert_eq!(left.status.is_success(), remains);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_breaks_off_so_that_the_client_joins_elsewhere() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let cancelling = json!({"on_disconnect": "cancel"});
    let mut waiting = server.wait(thread, cancelling.clone()).await.ok();
    let attempt = server.claim(thread).await;
    let mut stream = server
        .get(&format!(
            "/threads/{thread}/runs/{}/stream?cancel_on_disconnect=1",
            attempt.run().id
        ))
        .await;
    server.stop.cancel();
    assert!(waiting.breaks_off().await);
    assert_eq!(
        stream.rest().await,
        ": the server stops; go on elsewhere\r\n\r\n"
    );
    drop((waiting, stream));
    server.drain().await;
    let run = attempt.run().id;
    let mut run = server.get(&format!("/threads/{thread}/runs/{run}")).await;
    assert_eq!(run.json(200).await["cancel_reason"], Value::Null);
}
