//! What becomes of a run when its client goes away.

use serde_json::{Value, json};

use crate::support::{Server, with_assistant};

async fn reason(server: &Server, run: &str) -> Value {
    server.drain().await;
    server.get(run).await.json(200).await["cancel_reason"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_with_its_client_if_it_says_so() {
    for form in ["stream", "wait"] {
        for (fields, expected) in [
            (json!({}), Value::Null),
            (json!({"on_disconnect": "continue"}), Value::Null),
            (
                json!({"on_disconnect": "cancel"}),
                json!("the client disconnected"),
            ),
        ] {
            let server = Server::start().await;
            let thread = server.thread().await;
            let path = format!("/threads/{thread}/runs/{form}");
            let open = server
                .post(&path, with_assistant(fields.clone()))
                .await
                .ok();
            let attempt = server.claim(thread).await;
            let run = format!("/threads/{thread}/runs/{}", attempt.run().id);
            drop(open);
            assert_eq!(reason(&server, &run).await, expected, "{form} {fields}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn joining_never_alters_a_run_unless_asked_to() {
    for form in ["stream", "join"] {
        for (query, expected) in [
            ("", Value::Null),
            ("?cancel_on_disconnect=0", Value::Null),
            (
                "?cancel_on_disconnect=true",
                json!("the client disconnected"),
            ),
        ] {
            let server = Server::start().await;
            let thread = server.thread().await;
            let run = server.background(thread, json!({})).await;
            let _attempt = server.claim(thread).await;
            drop(server.get(&format!("{run}/{form}{query}")).await.ok());
            assert_eq!(reason(&server, &run).await, expected, "{form}{query}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_saw_the_end_has_not_left() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let cancelling = json!({"on_disconnect": "cancel"});
    let mut stream = server.stream(thread, cancelling).await.ok();
    let attempt = server.claim(thread).await;
    let run = format!("/threads/{thread}/runs/{}", attempt.run().id);
    attempt.succeed(json!({})).await;
    stream.rest().await;
    drop(stream);
    assert_eq!(reason(&server, &run).await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_lone_run_outlives_a_client_that_leaves() {
    let server = Server::start().await;
    let mut stream = server
        .post("/runs/stream", with_assistant(json!({})))
        .await
        .ok();
    let run = stream.header("content-location").to_owned();
    let thread = server.get(&run).await.json(200).await["thread_id"].clone();
    let thread = thread.as_str().unwrap().parse().unwrap();
    let mut attempt = server.claim(thread).await;
    attempt.emit("values", json!(1)).await;
    stream.frame().await.unwrap();
    drop(stream);
    attempt.succeed(json!({})).await;
    server.drain().await;
    assert_eq!(server.get(&run).await.json(200).await["status"], "success");
}
