//! Health, abilities, and what surrounds every route.

use axum::body::Body;
use axum::http::Request;
use runloom_core::health::{BusHealth, Health};
use runloom_gateway::Config;
use serde_json::json;

use crate::support::broken::Broken;
use crate::support::{Server, request, router_on, router_telling, send};

#[tokio::test]
async fn health_is_told_at_the_root_and_at_ok() {
    let server = Server::start().await;
    for path in ["/", "/ok", "/ok?check_db=1"] {
        let health = server.get(path).await.json(200);
        assert_eq!(health, json!({"ok": true, "services": {}}), "{path}");
    }
}

#[tokio::test]
async fn without_its_database_the_server_says_so_only_when_asked() {
    let router = router_on(std::sync::Arc::new(Broken));
    let get = async |path| send(&router, request("GET", path, Body::empty())).await;
    get("/ok").await.json(200);
    let reply = get("/ok?check_db=1").await;
    assert!(reply.refusal(503).contains("the disk is full"));
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn health_tells_what_is_known_of_the_services() {
    let health = Health::default();
    let router = router_telling(std::sync::Arc::new(Broken), health.clone());
    let get = async |path| send(&router, request("GET", path, Body::empty())).await;
    let unready = get("/ready").await.json(503);
    let why = json!(["starting", "the database was not asked yet"]);
    assert_eq!(unready, json!({"ready": false, "why": why, "services": {}}));
    health.begin();
    health.database_answered();
    health.ask_bus(|| BusHealth::Degraded);
    let services = json!({"database": "ok", "nats": "degraded"});
    let ready = get("/ready").await.json(200);
    assert_eq!(
        ready,
        json!({"ready": true, "why": [], "services": services})
    );
    health.database_failed();
    health.database_failed();
    get("/ready").await.json(503);
    let services = json!({"database": "unreachable", "nats": "degraded"});
    assert_eq!(
        get("/ok").await.json(200),
        json!({"ok": true, "services": services})
    );
}

#[tokio::test]
async fn info_has_the_flags_that_clients_look_for() {
    let server = Server::start().await;
    let mut info = server.get("/info").await.json(200);
    assert!(!info["version"].as_str().unwrap().is_empty());
    info["version"] = json!("");
    insta::assert_json_snapshot!("info", info);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_json() {
    let server = Server::start().await;
    assert_eq!(server.get("/nowhere").await.refusal(404), "Not Found");
    let wrong = server.call("PUT", "/threads", json!({})).await;
    assert_eq!(wrong.refusal(405), "Method Not Allowed");
    assert_eq!(
        server.get("/threads").await.refusal(405),
        "Method Not Allowed"
    );
}

#[tokio::test]
async fn head_works_wherever_get_does() {
    let server = Server::start().await;
    let head = request("HEAD", "/ok", Body::empty());
    server.send(head).await.empty(200);
}

#[tokio::test]
async fn any_page_may_call_and_reads_the_headers_it_needs() {
    let server = Server::start().await;
    let preflight = Request::builder()
        .method("OPTIONS")
        .uri("/threads")
        .header("origin", "https://studio.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-api-key,x-odd")
        .header("access-control-request-private-network", "true");
    let reply = server.send(preflight.body(Body::empty()).unwrap()).await;
    reply.empty(200);
    let header = |name| reply.header(name).unwrap().to_ascii_lowercase();
    assert_eq!(header("access-control-allow-origin"), "*");
    assert_eq!(header("access-control-allow-methods"), "post");
    assert_eq!(header("access-control-allow-headers"), "x-api-key,x-odd");
    assert_eq!(header("access-control-allow-private-network"), "true");
    assert_eq!(header("access-control-max-age"), "600");

    let call = Request::builder()
        .uri("/ok")
        .header("origin", "https://studio.example");
    let reply = server.send(call.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        reply.header("access-control-expose-headers"),
        Some("content-location,location,x-pagination-total,x-pagination-next")
    );
    assert!(reply.header("access-control-allow-credentials").is_none());
}

#[tokio::test]
async fn a_refusal_can_be_read_by_pages_too() {
    let server = Server::start().await;
    let call = Request::builder()
        .uri("/nowhere")
        .header("origin", "https://studio.example");
    let reply = server.send(call.body(Body::empty()).unwrap()).await;
    reply.refusal(404);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
    let config = Config {
        body_limit: 100,
        ..Config::default()
    };
    let server = Server::configured(config).await;
    let large = json!({"metadata": {"text": "x".repeat(100)}}).to_string();

    let announced = Request::post("/threads").header("content-length", large.len());
    let announced = announced.body(Body::from(large.clone())).unwrap();
    assert!(
        server
            .send(announced)
            .await
            .refusal(413)
            .contains("100 bytes")
    );

    let pieces = futures::stream::iter([Ok::<_, std::io::Error>(large)]);
    let streamed = request("POST", "/threads", Body::from_stream(pieces));
    assert!(
        server
            .send(streamed)
            .await
            .refusal(413)
            .contains("100 bytes")
    );

    let count = server.post("/threads/count", json!({})).await;
    assert_eq!(count.json(200), 0);
}

#[tokio::test]
async fn the_page_of_the_document_comes_from_this_server_alone() {
    let server = Server::start().await;
    let page = server.get("/docs").await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        !page.text.contains("//"),
        "it loads from elsewhere: {}",
        page.text
    );
    let parts = page.text.split(['"']).filter(|part| part.contains('.'));
    let parts: Vec<_> = parts.collect();
    assert!(parts.len() > 3, "{parts:?}");
    for part in parts {
        let reply = server.get(&format!("/docs/{part}")).await;
        let (status, kind) = reply.kind();
        assert_eq!(status, 200, "{part}");
        assert!(
            !kind.starts_with("application/octet-stream"),
            "{part} is {kind}"
        );
    }
    let start = server.get("/docs/swagger-initializer.js").await;
    assert!(start.text.contains("/openapi.json"), "{}", start.text);
    server.get("/docs/nowhere.js").await.refusal(404);
}
