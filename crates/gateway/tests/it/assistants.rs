//! Assistants: create, version, find, draw, delete.

use std::time::Duration;

use runloom_core::database::{Assistants, Runs};
use runloom_core::ids::AssistantId;
use runloom_core::run::RunStatus;
use serde_json::{Value, json};

use crate::support::{AGENT, Server, thread_id};

const ID: &str = "00000000-0000-7000-8000-0000000000a1";

async fn with_assistant(body: Value) -> (Server, Value) {
    let server = Server::start().await;
    server.clock.advance(Duration::from_secs(1));
    let mut all = json!({"assistant_id": ID, "graph_id": "agent"});
    all.as_object_mut()
        .unwrap()
        .extend(body.as_object().unwrap().clone());
    let created = server.post("/assistants", all).await.json(200);
    server.clock.advance(Duration::from_secs(1));
    (server, created)
}

#[tokio::test]
async fn each_graph_has_an_assistant_under_the_id_that_clients_know() {
    let server = Server::start().await;
    let assistant = server.get(&format!("/assistants/{AGENT}")).await.json(200);
    insta::assert_json_snapshot!("system_assistant", assistant);
    assert_eq!(server.get("/assistants/agent").await.json(200), assistant);
}

#[tokio::test]
async fn a_new_assistant_has_all_its_fields() {
    let (server, created) = with_assistant(json!({
        "config": {"tags": ["t"], "recursion_limit": 5, "configurable": {"model": "small"}},
        "metadata": {"team": "a", "run_id": "forged"},
        "name": "Mine",
        "description": "For tests",
    }))
    .await;
    insta::assert_json_snapshot!("new_assistant", created);
    let found = server.get(&format!("/assistants/{ID}")).await.json(200);
    assert_eq!(found, created);
}

#[tokio::test]
async fn an_assistant_needs_little() {
    let server = Server::start().await;
    let body = json!({"graph_id": "agent", "config": null, "name": null, "tomorrow": 1});
    let created = server.post("/assistants", body).await.json(200);
    assert_eq!(created["name"], "Untitled");
    assert_eq!(created["version"], 1);
    assert_eq!(created["config"], json!({}));
    assert_eq!(created["context"], json!({}));
}

#[tokio::test]
async fn context_and_configurable_mirror_each_other_but_exclude_each_other() {
    let (server, created) = with_assistant(json!({"context": {"model": "small"}})).await;
    assert_eq!(
        created["config"],
        json!({"configurable": {"model": "small"}})
    );
    let both = json!({
        "graph_id": "agent",
        "context": {"a": 1},
        "config": {"configurable": {"a": 1}},
    });
    let refused = server.post("/assistants", both.clone()).await.refusal(400);
    assert!(refused.contains("context"), "{refused}");
    server
        .call("PATCH", &format!("/assistants/{ID}"), both)
        .await
        .refusal(400);
}

#[tokio::test]
async fn an_assistant_that_exists_is_refused_or_answered_with() {
    let (server, created) = with_assistant(json!({"name": "first"})).await;
    let again = json!({"assistant_id": ID, "graph_id": "agent", "name": "second"});
    let refused = server.post("/assistants", again).await.refusal(409);
    assert_eq!(refused, format!("Assistant with ID {ID} already exists"));
    let lenient = json!({"assistant_id": ID, "graph_id": "agent", "if_exists": "do_nothing"});
    assert_eq!(server.post("/assistants", lenient).await.json(200), created);
}

#[tokio::test]
async fn what_no_assistant_can_be_made_of_is_refused() {
    let server = Server::start().await;
    let unknown = server
        .post("/assistants", json!({"graph_id": "nobody"}))
        .await;
    let unknown = unknown.refusal(404);
    assert!(
        unknown.contains("'nobody'") && unknown.contains("\"agent\""),
        "{unknown}"
    );
    for body in [
        json!({}),
        json!({"graph_id": 1}),
        json!({"graph_id": "agent", "assistant_id": "mine"}),
        json!({"graph_id": "agent", "config": {"tags": "t"}}),
        json!({"graph_id": "agent", "config": {"recursion_limit": "5"}}),
        json!({"graph_id": "agent", "context": {"a\u{0}": 1}}),
        json!({"graph_id": "agent", "metadata": 1}),
    ] {
        server.post("/assistants", body.clone()).await.refusal(422);
    }
    assert_eq!(
        server.post("/assistants/count", json!({})).await.json(200),
        1
    );
}

#[tokio::test]
async fn a_change_makes_a_version_and_keeps_what_it_leaves_out() {
    let (server, created) = with_assistant(json!({
        "config": {"tags": ["t"], "configurable": {"model": "small"}},
        "metadata": {"a": 1},
        "name": "Mine",
    }))
    .await;
    let path = format!("/assistants/{ID}");
    let change = json!({"context": {"model": "large"}, "metadata": {"b": 2}});
    let patched = server.call("PATCH", &path, change).await.json(200);
    assert_eq!(patched["version"], 2);
    assert_eq!(patched["metadata"], json!({"a": 1, "b": 2}));
    assert_eq!(patched["name"], "Mine");
    assert_eq!(patched["context"], json!({"model": "large"}));
    let config = json!({"tags": ["t"], "configurable": {"model": "large"}});
    assert_eq!(
        patched["config"], config,
        "a new context leaves the tags alone"
    );
    assert_eq!(patched["created_at"], created["created_at"]);

    let versions = server
        .post(&format!("{path}/versions"), json!({}))
        .await
        .json(200);
    let numbers: Vec<_> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v["version"])
        .collect();
    assert_eq!(numbers, [2, 1]);
    let one = server
        .post(
            &format!("{path}/versions"),
            json!({"limit": 1, "offset": 1}),
        )
        .await;
    assert_eq!(one.json(200)[0]["version"], 1);

    let latest = format!("{path}/latest");
    let back = server.post(&latest, json!({"version": 1})).await.json(200);
    assert_eq!(
        (&back["version"], &back["context"]),
        (&json!(1), &json!({"model": "small"}))
    );
    assert_eq!(server.get(&path).await.json(200)["version"], 1);
    let third = server
        .call("PATCH", &path, json!({"name": "x"}))
        .await
        .json(200);
    assert_eq!(
        third["version"], 3,
        "one above the highest, not above the current"
    );

    server
        .post(&latest, json!({"version": 9}))
        .await
        .refusal(404);
    server
        .post(&latest, json!({"version": "x"}))
        .await
        .refusal(422);
    server.post(&latest, json!({})).await.refusal(422);
}

#[tokio::test]
async fn an_assistant_cannot_move_to_an_unknown_graph() {
    let (server, created) = with_assistant(json!({})).await;
    let path = format!("/assistants/{ID}");
    server
        .call("PATCH", &path, json!({"graph_id": "nobody"}))
        .await
        .refusal(404);
    assert_eq!(server.get(&path).await.json(200), created);
}

#[tokio::test]
async fn an_assistant_that_is_not_there_is_not_found_by_any_way() {
    let server = Server::start().await;
    let path = format!("/assistants/{ID}");
    let expected = format!("Assistant with ID {ID} not found");
    for (method, path) in [
        ("GET", path.clone()),
        ("PATCH", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/versions")),
        ("GET", format!("{path}/graph")),
        ("GET", format!("{path}/schemas")),
        ("GET", format!("{path}/subgraphs")),
        ("GET", format!("{path}/subgraphs/write")),
    ] {
        let reply = server.call(method, &path, json!({})).await;
        assert_eq!(reply.refusal(404), expected, "{method} {path}");
    }
    server
        .post(&format!("{path}/latest"), json!({"version": 1}))
        .await
        .refusal(404);
    let neither = server.get("/assistants/nobody").await.refusal(422);
    assert!(
        neither.contains("'nobody'") && neither.contains("\"agent\""),
        "{neither}"
    );
}

#[tokio::test]
async fn assistants_are_found_and_counted() {
    let (server, _) = with_assistant(json!({"name": "Mine", "metadata": {"team": "a"}})).await;
    for (body, expected) in [
        (json!({}), vec!["Mine", "agent"]),
        (
            json!({"sort_by": "name", "sort_order": "asc"}),
            vec!["Mine", "agent"],
        ),
        (
            json!({"sort_by": "created_at", "sort_order": "asc", "limit": 5}),
            vec!["agent", "Mine"],
        ),
        (json!({"metadata": {"team": "a"}}), vec!["Mine"]),
        (json!({"name": "min"}), vec!["Mine"]),
        (json!({"graph_id": "nobody"}), vec![]),
    ] {
        let reply = server.post("/assistants/search", body.clone()).await;
        let found = reply.json(200);
        let names: Vec<_> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|a| &a["name"])
            .collect();
        assert_eq!(names, expected, "{body}");
        let total = expected.len().to_string();
        assert_eq!(reply.header("x-pagination-total"), Some(total.as_str()));
    }
    let part = server.post("/assistants/search", json!({"limit": 1})).await;
    assert_eq!(part.header("x-pagination-next"), Some("1"));
    assert_eq!(part.header("x-pagination-total"), Some("2"));
    let body = json!({"name": "Mine", "select": ["name", "version"]});
    let chosen = server.post("/assistants/search", body).await.json(200);
    assert_eq!(chosen, json!([{"name": "Mine", "version": 1}]));

    let count = server
        .post("/assistants/count", json!({"metadata": {"team": "a"}}))
        .await;
    assert_eq!(count.json(200), 1);
    for wrong in [
        json!({"sort_by": "status"}),
        json!({"select": ["x"]}),
        json!({"limit": 0}),
    ] {
        server.post("/assistants/search", wrong).await.refusal(422);
    }
}

#[tokio::test]
async fn a_graph_is_drawn_as_deep_as_asked() {
    let server = Server::start().await;
    for (query, unfolded) in [
        ("", json!(0)),
        ("?xray=false", json!(0)),
        ("?xray=True", json!(u32::MAX)),
        ("?xray=2", json!(2)),
    ] {
        let path = format!("/assistants/agent/graph{query}");
        let drawing = server.get(&path).await.json(200);
        assert_eq!(drawing["unfolded"], unfolded, "{query}");
        assert!(drawing["nodes"].is_array() && drawing["edges"].is_array());
    }
    for query in ["?xray=0", "?xray=-1", "?xray=deep"] {
        let path = format!("/assistants/{AGENT}/graph{query}");
        server.get(&path).await.refusal(422);
    }
}

#[tokio::test]
async fn schemas_are_those_of_the_graph_and_of_its_subgraphs() {
    let server = Server::start().await;
    let schemas = server.get("/assistants/agent/schemas").await.json(200);
    insta::assert_json_snapshot!("schemas", schemas);
    for (path, expected) in [
        ("subgraphs", vec!["check", "write"]),
        (
            "subgraphs?recurse=true",
            vec!["check", "write", "write|inner"],
        ),
        ("subgraphs/write", vec!["write"]),
        ("subgraphs/write?recurse=1", vec!["write", "write|inner"]),
        ("subgraphs/write%7Cinner", vec!["write|inner"]),
        ("subgraphs/nobody", vec![]),
    ] {
        let found = server
            .get(&format!("/assistants/agent/{path}"))
            .await
            .json(200);
        let names: Vec<_> = found.as_object().unwrap().keys().collect();
        assert_eq!(names, expected, "{path}");
        if let Some(one) = found.get("write") {
            assert!(one.get("input_schema").is_some());
        }
    }
}

#[tokio::test]
async fn deleting_an_assistant_stops_its_runs_and_leaves_those_of_others() {
    let (server, _) = with_assistant(json!({})).await;
    let id = AssistantId(ID.parse().unwrap());
    let mine = server.database.assistant(id).await.unwrap().unwrap();
    server.thread(1, json!({})).await;
    let own = server.run_of(1, mine).await;
    let other = server.run(1).await;
    server
        .call("DELETE", &format!("/assistants/{ID}"), Value::Null)
        .await
        .empty(204);
    server.get(&format!("/assistants/{ID}")).await.refusal(404);

    let own = server.database.run(None, own.id).await.unwrap().unwrap();
    assert_eq!(own.status, RunStatus::Interrupted);
    assert_eq!(
        own.cancel_reason.as_deref(),
        Some("the assistant was deleted")
    );
    let other = server.database.run(None, other.id).await.unwrap().unwrap();
    assert_eq!(other.status, RunStatus::Pending);
}

#[tokio::test]
async fn threads_of_a_deleted_assistant_go_with_it_only_if_asked() {
    let (server, _) = with_assistant(json!({})).await;
    server.thread(1, json!({"assistant_id": ID})).await;
    server.thread(2, json!({"assistant_id": AGENT})).await;
    server
        .call("DELETE", &format!("/assistants/{ID}"), Value::Null)
        .await
        .empty(204);
    server
        .get(&format!("/threads/{}", thread_id(1)))
        .await
        .json(200);

    let path = "/assistants/agent?delete_threads=true";
    server.call("DELETE", path, Value::Null).await.empty(204);
    server
        .get(&format!("/threads/{}", thread_id(1)))
        .await
        .json(200);
    server
        .get(&format!("/threads/{}", thread_id(2)))
        .await
        .refusal(404);
}

#[tokio::test]
async fn an_assistant_of_the_system_comes_back_as_it_was_at_first() {
    let server = Server::start().await;
    let path = format!("/assistants/{AGENT}");
    let first = server.get(&path).await.json(200);
    server
        .call("PATCH", &path, json!({"name": "changed"}))
        .await
        .json(200);
    server.call("DELETE", &path, Value::Null).await.empty(204);
    assert_eq!(server.get(&path).await.json(200), first);
    let versions = server
        .post(&format!("{path}/versions"), json!({}))
        .await
        .json(200);
    assert_eq!(versions.as_array().unwrap().len(), 1);
}
