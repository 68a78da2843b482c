//! Items of the long-term memory.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Server;

const ITEMS: &str = "/store/items";

async fn put(server: &Server, namespace: Value, key: &str, value: Value) {
    let body = json!({"namespace": namespace, "key": key, "value": value});
    server.call("PUT", ITEMS, body).await.empty(204);
    server.clock.advance(Duration::from_secs(1));
}

async fn filled() -> Server {
    let server = Server::start().await;
    put(
        &server,
        json!(["users", "ada"]),
        "likes",
        json!({"n": 1, "kind": "tea"}),
    )
    .await;
    put(
        &server,
        json!(["users", "bob"]),
        "likes",
        json!({"n": 2, "kind": "ale"}),
    )
    .await;
    put(
        &server,
        json!(["users", "ada", "old"]),
        "liked",
        json!({"n": 3, "kind": "tea"}),
    )
    .await;
    server
}

#[tokio::test]
async fn an_item_reads_back_with_all_its_fields() {
    let server = filled().await;
    let item = server
        .get("/store/items?namespace=users.ada&key=likes")
        .await
        .json(200);
    insta::assert_json_snapshot!("item", item);

    put(&server, json!(["users", "ada"]), "likes", json!({"n": 9})).await;
    let again = server
        .get("/store/items?namespace=users.ada&key=likes&refresh_ttl=true")
        .await;
    let again = again.json(200);
    assert_eq!(
        again["value"],
        json!({"n": 9}),
        "it was replaced, not merged"
    );
    assert_eq!(again["created_at"], item["created_at"]);
    assert_ne!(again["updated_at"], item["updated_at"]);
}

#[tokio::test]
async fn what_is_not_there_reads_as_null() {
    let server = filled().await;
    for query in [
        "namespace=users.ada&key=none",
        "namespace=no.one&key=likes",
        "key=likes",
    ] {
        let reply = server.get(&format!("{ITEMS}?{query}")).await;
        assert_eq!(reply.json(200), Value::Null, "{query}");
    }
}

#[tokio::test]
async fn a_read_without_a_key_is_refused_in_its_own_form() {
    let server = Server::start().await;
    for path in [
        "/store/items",
        "/store/items?namespace=a",
        "/store/items?key=",
    ] {
        let refused = server.get(path).await.json(400);
        assert_eq!(refused, json!({"error": "Key is required"}));
    }
}

#[tokio::test]
async fn an_item_is_deleted_and_may_be_so_twice() {
    let server = filled().await;
    let body = json!({"namespace": ["users", "ada"], "key": "likes"});
    server.call("DELETE", ITEMS, body.clone()).await.empty(204);
    server.call("DELETE", ITEMS, body).await.empty(204);
    let gone = server
        .get("/store/items?namespace=users.ada&key=likes")
        .await;
    assert_eq!(gone.json(200), Value::Null);
    let kept = server
        .get("/store/items?namespace=users.ada.old&key=liked")
        .await;
    assert_eq!(kept.json(200)["value"]["n"], 3);
    server
        .call("DELETE", ITEMS, json!({"namespace": ["a"]}))
        .await
        .refusal(422);
}

#[tokio::test]
async fn bad_labels_are_refused_in_plain_text_everywhere() {
    let server = filled().await;
    let value = json!({});
    for (method, path, body) in [
        (
            "PUT",
            ITEMS,
            json!({"namespace": ["a.b"], "key": "k", "value": value}),
        ),
        (
            "PUT",
            ITEMS,
            json!({"namespace": ["a", ""], "key": "k", "value": value}),
        ),
        (
            "PUT",
            ITEMS,
            json!({"namespace": [], "key": "k", "value": value}),
        ),
        ("DELETE", ITEMS, json!({"namespace": ["a.b"], "key": "k"})),
        ("GET", "/store/items?namespace=a..b&key=k", Value::Null),
        (
            "POST",
            "/store/items/search",
            json!({"namespace_prefix": ["a.b"]}),
        ),
        ("POST", "/store/namespaces", json!({"prefix": [""]})),
        ("POST", "/store/namespaces", json!({"suffix": ["a.b"]})),
    ] {
        let reply = server.call(method, path, body.clone()).await;
        assert_eq!(reply.status, 422, "{method} {path} {body}");
        let kind = reply.header("content-type").unwrap();
        assert!(kind.starts_with("text/plain"), "{kind}");
        assert!(
            reply.text.to_lowercase().contains("namespace"),
            "{}",
            reply.text
        );
    }
    let all = server
        .post("/store/items/search", json!({}))
        .await
        .json(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn what_no_item_can_be_is_refused() {
    let server = Server::start().await;
    for body in [
        json!({"namespace": ["a"], "key": "k"}),
        json!({"namespace": ["a"], "key": "k", "value": [1]}),
        json!({"namespace": ["a"], "key": "k", "value": "x"}),
        json!({"namespace": ["a"], "key": 1, "value": {}}),
        json!({"namespace": "a", "key": "k", "value": {}}),
        json!({"namespace": ["a"], "key": "k", "value": {}, "index": "x"}),
        json!({"namespace": ["a"], "key": "k", "value": {}, "ttl": "x"}),
    ] {
        server.call("PUT", ITEMS, body).await.refusal(422);
    }
    for extra in [
        json!({"index": false, "ttl": null}),
        json!({"index": ["a.b"], "ttl": 1.5}),
        json!({"index": null, "tomorrow": 1}),
    ] {
        let mut body = json!({"namespace": ["a"], "key": "k", "value": {}});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        server.call("PUT", ITEMS, body).await.empty(204);
    }
}

#[tokio::test]
async fn items_are_searched_by_prefix_and_value() {
    let server = filled().await;
    for (body, expected) in [
        (json!({}), vec![3, 2, 1]),
        (json!({"namespace_prefix": []}), vec![3, 2, 1]),
        (json!({"namespace_prefix": ["users", "ada"]}), vec![3, 1]),
        (json!({"namespace_prefix": ["user"]}), vec![]),
        (json!({"filter": {"kind": "tea"}}), vec![3, 1]),
        (json!({"filter": {"kind": {"$ne": "tea"}}}), vec![2]),
        (
            json!({"filter": {"n": {"$gte": 2}, "kind": "tea"}}),
            vec![3],
        ),
        (json!({"limit": 1, "offset": 1, "query": "drinks"}), vec![2]),
    ] {
        let found = server
            .post("/store/items/search", body.clone())
            .await
            .json(200);
        let items = found["items"].as_array().unwrap().iter();
        let numbers: Vec<_> = items
            .map(|item| item["value"]["n"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, expected, "{body}");
    }
    let body = json!({"namespace_prefix": ["users", "bob"]});
    let found = server.post("/store/items/search", body).await.json(200);
    insta::assert_json_snapshot!("found_items", found);
}

#[tokio::test]
async fn what_no_items_can_be_searched_by_is_refused() {
    let server = filled().await;
    let unknown = json!({"filter": {"n": {"$near": 1}}});
    let refused = server
        .post("/store/items/search", unknown)
        .await
        .refusal(400);
    assert!(refused.contains("$near"), "{refused}");
    for body in [
        json!({"limit": 0}),
        json!({"offset": "x"}),
        json!({"filter": []}),
    ] {
        server.post("/store/items/search", body).await.refusal(422);
    }
}

#[tokio::test]
async fn namespaces_are_listed_in_order_and_cut_to_a_depth() {
    let server = filled().await;
    for (body, expected) in [
        (
            json!({}),
            json!([["users", "ada"], ["users", "ada", "old"], ["users", "bob"]]),
        ),
        (
            json!({"max_depth": 2}),
            json!([["users", "ada"], ["users", "bob"]]),
        ),
        (json!({"suffix": ["old"]}), json!([["users", "ada", "old"]])),
        (json!({"prefix": ["*", "bob"]}), json!([["users", "bob"]])),
        (json!({"limit": 1, "offset": 2}), json!([["users", "bob"]])),
        (json!({"prefix": ["none"]}), json!([])),
    ] {
        let listed = server
            .post("/store/namespaces", body.clone())
            .await
            .json(200);
        assert_eq!(listed, json!({"namespaces": expected}), "{body}");
    }
    for body in [
        json!({"max_depth": -1}),
        json!({"limit": 0}),
        json!({"prefix": "users"}),
    ] {
        server.post("/store/namespaces", body).await.refusal(422);
    }
}
