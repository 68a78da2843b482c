//! Listing and getting runs.

use serde_json::json;

use crate::support::Server;

const ABSENT: &str = "01900000-0000-7000-8000-000000000000";

#[tokio::test(start_paused = true)]
async fn runs_are_listed_newest_first_by_page_status_and_field() {
    let server = Server::start().await;
    let thread = server.thread().await;
    let mut places = Vec::new();
    for _ in 0..12 {
        places.push(server.background(thread, json!({})).await);
        tokio::time::advance(tokio::time::Duration::from_secs(1)).await;
    }
    server.claim(thread).await.succeed(json!({})).await;
    places.reverse();
    let path = format!("/threads/{thread}/runs");
    for (query, expected) in [
        ("", &places[..10]),
        ("?limit=1000", &places[..]),
        ("?limit=2&offset=3", &places[3..5]),
        ("?status=success", &places[11..]),
        ("?status=asleep", &[]),
        ("?limit=0", &[]),
    ] {
        let runs = server.get(&format!("{path}{query}")).await.json(200).await;
        let listed: Vec<_> = runs
            .as_array()
            .unwrap()
            .iter()
            .map(|run| format!("{path}/{}", run["run_id"].as_str().unwrap()))
            .collect();
        assert_eq!(listed, expected, "{query}");
    }
    let some = format!("{path}?status=pending&limit=1&select=run_id&select=kwargs");
    let runs = server.get(&some).await.json(200).await;
    let keys: Vec<_> = runs[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["kwargs", "run_id"]);
}

#[tokio::test(start_paused = true)]
async fn wrong_questions_are_refused() {
    let server = Server::start().await;
    let thread = server.thread().await;
    for (path, status) in [
        (format!("/threads/{thread}/runs?limit=x"), 400),
        (format!("/threads/{thread}/runs?offset=-1"), 400),
        (format!("/threads/{thread}/runs?select=colour"), 422),
        (format!("/threads/{ABSENT}/runs"), 404),
        (format!("/threads/{ABSENT}/runs?status=asleep"), 404),
        (format!("/threads/{thread}/runs/x"), 422),
    ] {
        server.get(&path).await.refusal(status).await;
    }
    for path in [
        format!("/threads/{thread}/runs/{ABSENT}"),
        format!("/runs/{ABSENT}"),
    ] {
        let refusal = server.get(&path).await.refusal(404).await;
        assert_eq!(refusal, "Not Found");
    }
    let mut wrong = server.call("DELETE", "/runs/wait").await;
    assert_eq!(wrong.refusal(405).await, "Method Not Allowed");
}
