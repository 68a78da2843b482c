//! What every route refuses alike: bodies that are not JSON, a database that is out of reach, a
//! handler that panics.

use std::sync::Arc;

use axum::body::Body;
use runloom_gateway::document;
use serde_json::{Value, json};

use crate::support::broken::Broken;
use crate::support::{AGENT, Server, request, router_on, send, thread_id};

/// Every operation that the document describes, with its parameters filled in.
fn operations() -> Vec<(String, String, bool)> {
    let document = serde_json::to_value(document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let filled = path
            .replace("{thread_id}", &thread_id(1))
            .replace("{run_id}", &thread_id(2))
            .replace("{checkpoint_id}", &thread_id(3))
            .replace("{assistant_id}", AGENT)
            .replace("{namespace}", "a");
        for (method, operation) in item.as_object().unwrap() {
            let has_body = operation.get("requestBody").is_some();
            all.push((method.to_uppercase(), filled.clone(), has_body));
        }
    }
    all
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_wherever_one_is_read() {
    let server = Server::start().await;
    server.thread(1, json!({"graph_id": "agent"})).await;
    let with_body = operations()
        .into_iter()
        .filter(|(_, _, has_body)| *has_body);
    let mut seen = 0;
    for (method, path, _) in with_body {
        for text in ["{", "{\"a\": 1,}", "\u{0}", "{\"a\": NaN}"] {
            let reply = server.send(request(&method, &path, Body::from(text))).await;
            let detail = reply.refusal(422);
            assert_eq!(
                detail, "Invalid JSON in request body",
                "{method} {path} {text}"
            );
        }
        let reply = server
            .send(request(&method, &path, Body::from("[1]")))
            .await;
        assert_eq!(reply.status, 422, "{method} {path}: {}", reply.text);
        seen += 1;
    }
    assert!(seen > 15, "only {seen} operations were tried");
    assert_eq!(server.post("/threads/count", json!({})).await.json(200), 1);
    assert_eq!(
        server.post("/assistants/count", json!({})).await.json(200),
        1
    );
}

#[tokio::test]
async fn an_empty_body_is_not_an_empty_object() {
    let server = Server::start().await;
    for path in [
        "/threads",
        "/threads/search",
        "/assistants",
        "/store/namespaces",
    ] {
        let reply = server.send(request("POST", path, Body::empty())).await;
        assert_eq!(reply.refusal(422), "Invalid JSON in request body", "{path}");
    }
}

#[tokio::test]
async fn the_type_of_the_content_does_not_matter() {
    let server = Server::start().await;
    let plain = axum::http::Request::post("/threads")
        .body(Body::from("{}"))
        .unwrap();
    server.send(plain).await.json(200);
}

#[tokio::test]
async fn without_a_database_every_question_is_worth_another_try() {
    let router = router_on(Arc::new(Broken));
    let id = thread_id(1);
    let item = json!({"namespace": ["a"], "key": "k", "value": {}});
    for (method, path, body) in [
        ("POST", "/threads".to_owned(), json!({})),
        ("GET", format!("/threads/{id}"), Value::Null),
        ("PATCH", format!("/threads/{id}"), json!({})),
        ("DELETE", format!("/threads/{id}"), Value::Null),
        ("POST", format!("/threads/{id}/copy"), Value::Null),
        ("POST", "/threads/search".to_owned(), json!({})),
        ("POST", "/threads/count".to_owned(), json!({})),
        (
            "POST",
            "/threads/prune".to_owned(),
            json!({"thread_ids": [id]}),
        ),
        ("GET", format!("/threads/{id}/state"), Value::Null),
        (
            "POST",
            format!("/threads/{id}/state"),
            json!({"values": {}}),
        ),
        ("POST", format!("/threads/{id}/history"), json!({})),
        (
            "POST",
            "/assistants".to_owned(),
            json!({"graph_id": "agent"}),
        ),
        ("GET", "/assistants/agent".to_owned(), Value::Null),
        ("PATCH", "/assistants/agent".to_owned(), json!({})),
        ("DELETE", "/assistants/agent".to_owned(), Value::Null),
        ("POST", "/assistants/search".to_owned(), json!({})),
        ("GET", "/assistants/agent/graph".to_owned(), Value::Null),
        ("PUT", "/store/items".to_owned(), item),
        ("GET", "/store/items?key=k".to_owned(), Value::Null),
        ("POST", "/store/items/search".to_owned(), json!({})),
        ("POST", "/store/namespaces".to_owned(), json!({})),
    ] {
        let body = Body::from(body.to_string());
        let reply = send(&router, request(method, &path, body)).await;
        let detail = reply.refusal(503);
        assert!(
            detail.contains("the disk is full"),
            "{method} {path}: {detail}"
        );
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_graph_is_said_to_who_asks_it() {
    let server = Server::start().await;
    server.thread(1, json!({"graph_id": "agent"})).await;
    let path = format!("/threads/{}/state", thread_id(1));
    let reply = server
        .post(&path, json!({"values": {}, "as_node": "fail"}))
        .await;
    assert_eq!(reply.refusal(500), "ValueError: no ink");
}

#[tokio::test]
async fn a_handler_that_panics_is_answered_for_and_the_server_goes_on() {
    let server = Server::start().await;
    server.thread(1, json!({"graph_id": "agent"})).await;
    let path = format!("/threads/{}/state", thread_id(1));
    let reply = server
        .post(&path, json!({"values": {}, "as_node": "panic"}))
        .await;
    assert_eq!(reply.refusal(500), "Internal Server Error");
    server.get("/ok").await.json(200);
    server.post(&path, json!({"values": {}})).await.json(200);
}
