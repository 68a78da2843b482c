//! Threads: create, read, change, copy, find.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use runloom_core::bus::Notifier;
use runloom_core::database::{Queue, Runs, Settlement, Transit};
use runloom_core::thread::{Ttl, TtlStrategy};
use runloom_gateway::Config;
use serde_json::{Value, json};

use crate::support::{Server, thread_id};

#[tokio::test]
async fn a_new_thread_has_all_its_fields() {
    let server = Server::start().await;
    let created = server.thread(1, json!({"user": "ada"})).await;
    insta::assert_json_snapshot!("new_thread", created);
    let path = format!("/threads/{}", thread_id(1));
    assert_eq!(server.get(&path).await.json(200), created);
}

#[tokio::test]
async fn a_thread_without_an_id_gets_one_that_sorts_by_time() {
    let server = Server::start().await;
    let created = server.post("/threads", json!({})).await.json(200);
    let id: uuid::Uuid = created["thread_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
}

#[tokio::test]
async fn unknown_fields_and_nulls_are_harmless() {
    let server = Server::start().await;
    let body = json!({
        "thread_id": null, "metadata": null, "if_exists": null, "ttl": null,
        "supersteps": null, "tomorrow": {"a": 1},
    });
    server.post("/threads?tomorrow=1", body).await.json(200);
}

#[tokio::test]
async fn a_thread_that_exists_is_refused_or_answered_with() {
    let server = Server::start().await;
    let first = server.thread(1, json!({"a": 1})).await;
    let again = json!({"thread_id": thread_id(1), "metadata": {"a": 2}});
    let refused = server.post("/threads", again).await.refusal(409);
    assert_eq!(
        refused,
        format!("Thread with ID {} already exists", thread_id(1))
    );

    let lenient =
        json!({"thread_id": thread_id(1), "metadata": {"a": 2}, "if_exists": "do_nothing"});
    assert_eq!(server.post("/threads", lenient).await.json(200), first);
}

#[tokio::test]
async fn what_a_thread_cannot_be_created_with_writes_nothing() {
    let server = Server::start().await;
    for body in [
        json!({"thread_id": "one"}),
        json!({"thread_id": 1}),
        json!({"metadata": "x"}),
        json!({"if_exists": "replace"}),
        json!({"ttl": "soon"}),
        json!({"ttl": {"strategy": "delete"}}),
        json!({"ttl": {"ttl": 1, "strategy": "burn"}}),
        json!({"ttl": 0}),
        json!({"ttl": {"ttl": -1.5}}),
        json!({"ttl": 1e9}),
        json!({"supersteps": [{"updates": "x"}]}),
        json!([]),
    ] {
        server.post("/threads", body.clone()).await.refusal(422);
    }
    let no_id = server.post("/threads", json!({"thread_id": "one"})).await;
    assert_eq!(no_id.refusal(422), "Invalid thread ID: must be a UUID");
    // What may be said is said.
    let vague = server.post("/threads", json!({"ttl": "soon"})).await;
    let said = vague.refusal(422);
    assert!(
        said.contains("a number of minutes") && said.contains("keep_latest"),
        "{said}"
    );
    assert_eq!(server.post("/threads/count", json!({})).await.json(200), 0);
}

/// The time to live that a thread shows, without the moment at which it is up, and that moment.
async fn shown_ttl(server: &Server, id: &str) -> (Value, Option<DateTime<Utc>>) {
    let path = format!("/threads/{id}");
    assert_eq!(server.get(&path).await.json(200).get("ttl"), None);
    let path = format!("{path}?include=values,ttl");
    let mut ttl = server.get(&path).await.json(200)["ttl"].take();
    let at = ttl.as_object_mut().and_then(|ttl| ttl.remove("expires_at"));
    (ttl, at.map(|at| serde_json::from_value(at).unwrap()))
}

#[tokio::test]
async fn a_ttl_is_taken_in_both_forms_and_shown_on_request() {
    let server = Server::start().await;
    let trimming = json!({"ttl": 5, "strategy": "keep_latest"});
    for (ttl, strategy, minutes, seconds) in [
        (json!(5), "delete", 5.0, 300),
        (trimming, "keep_latest", 5.0, 300),
        (json!({"ttl": 0.5}), "delete", 0.5, 30),
    ] {
        let made = server.post("/threads", json!({"ttl": ttl})).await.json(200);
        let id = made["thread_id"].as_str().unwrap();
        let (shown, at) = shown_ttl(&server, id).await;
        assert_eq!(shown, json!({"strategy": strategy, "ttl_minutes": minutes}));
        let created: DateTime<Utc> = made["created_at"].as_str().unwrap().parse().unwrap();
        assert_eq!(at.unwrap() - created, TimeDelta::seconds(seconds));
    }
}

#[tokio::test]
async fn a_ttl_is_changed_and_taken_away_by_a_patch() {
    let server = Server::start().await;
    let id = thread_id(1);
    server.thread(1, json!({"a": 1})).await;
    let path = format!("/threads/{id}");
    let change = async |body: Value| server.call("PATCH", &path, body).await;
    assert_eq!(shown_ttl(&server, &id).await, (Value::Null, None));
    change(json!({"ttl": 7})).await.json(200);
    let kept = json!({"strategy": "delete", "ttl_minutes": 7.0});
    assert_eq!(shown_ttl(&server, &id).await.0, kept);
    for wrong in [json!(0), json!("long"), json!({"strategy": "delete"})] {
        let body = json!({"ttl": wrong, "metadata": {"a": 2}});
        change(body).await.refusal(422);
    }
    let unchanged = change(json!({"metadata": {"b": 1}})).await.json(200);
    assert_eq!(unchanged["metadata"], json!({"a": 1, "b": 1}));
    assert_eq!(shown_ttl(&server, &id).await.0, kept);
    change(json!({"ttl": null})).await.json(200);
    assert_eq!(shown_ttl(&server, &id).await, (Value::Null, None));
}

#[tokio::test]
async fn threads_have_the_ttl_of_the_server_if_they_name_none() {
    let ttl = Ttl::new(60.0, TtlStrategy::KeepLatest);
    let server = Server::configured(Config {
        thread_ttl: ttl,
        ..Config::default()
    })
    .await;
    let usual = json!({"strategy": "keep_latest", "ttl_minutes": 60.0});
    server.thread(1, json!({})).await;
    assert_eq!(shown_ttl(&server, &thread_id(1)).await.0, usual);
    let own = server.post("/threads", json!({"ttl": 1})).await.json(200);
    let own = own["thread_id"].as_str().unwrap();
    assert_eq!(shown_ttl(&server, own).await.0["ttl_minutes"], 1.0);

    let path = format!("/threads/{}/runs", thread_id(2));
    let body = json!({"assistant_id": "agent", "if_not_exists": "create"});
    server.post(&path, body).await.json(200);
    assert_eq!(shown_ttl(&server, &thread_id(2)).await.0, usual);
    for (on_completion, ttl) in [("delete", Value::Null), ("keep", usual)] {
        let body = json!({"assistant_id": "agent", "on_completion": on_completion});
        let run = server.post("/runs", body).await.json(200);
        let thread = run["thread_id"].as_str().unwrap();
        assert_eq!(shown_ttl(&server, thread).await.0, ttl, "{on_completion}");
    }
}

#[tokio::test]
async fn the_history_of_threads_is_pruned_and_busy_ones_are_passed_over() {
    let server = three_threads().await;
    server.run(2).await;
    let ids = [thread_id(1), thread_id(2), thread_id(9)];
    let body = json!({"thread_ids": ids, "strategy": "keep_latest"});
    let pruned = server.post("/threads/prune", body).await.json(200);
    assert_eq!(pruned, json!({"pruned_count": 1}));
    assert_eq!(server.post("/threads/count", json!({})).await.json(200), 3);
}

#[tokio::test]
async fn metadata_is_merged_and_the_answer_may_be_left_out() {
    let server = Server::start().await;
    server.thread(1, json!({"a": 1, "b": 1})).await;
    let path = format!("/threads/{}", thread_id(1));
    let patched = server
        .call("PATCH", &path, json!({"metadata": {"b": 2}}))
        .await
        .json(200);
    assert_eq!(patched["metadata"], json!({"a": 1, "b": 2}));
    assert_ne!(patched["updated_at"], patched["created_at"]);

    let minimal = Request::patch(&path).header("prefer", "respond-async, return=minimal");
    let minimal = minimal.body(Body::from(r#"{"metadata":{"c":3}}"#)).unwrap();
    server.send(minimal).await.empty(204);
    let now = server.get(&path).await.json(200);
    assert_eq!(now["metadata"], json!({"a": 1, "b": 2, "c": 3}));
}

#[tokio::test]
async fn a_thread_that_is_not_there_is_not_found_by_any_way() {
    let server = Server::start().await;
    let path = format!("/threads/{}", thread_id(9));
    let expected = format!("Thread with ID {} not found", thread_id(9));
    assert_eq!(server.get(&path).await.refusal(404), expected);
    let patched = server.call("PATCH", &path, json!({})).await;
    assert_eq!(patched.refusal(404), expected);
    let deleted = server.call("DELETE", &path, Value::Null).await;
    assert_eq!(deleted.refusal(404), expected);
    // The published server answers 409 here, and only here.
    let copied = server.post(&format!("{path}/copy"), Value::Null).await;
    assert_eq!(copied.refusal(409), expected);
}

#[tokio::test]
async fn an_id_that_is_none_is_refused_everywhere() {
    let server = Server::start().await;
    let expected = "Invalid thread ID: must be a UUID";
    for (method, path) in [
        ("GET", "/threads/one"),
        ("PATCH", "/threads/one"),
        ("DELETE", "/threads/one"),
        ("POST", "/threads/one/copy"),
        ("GET", "/threads/%F0%9F%A6%80/state"),
        ("POST", "/threads/one/history"),
    ] {
        let reply = server.call(method, path, json!({})).await;
        assert_eq!(reply.refusal(422), expected, "{method} {path}");
    }
    let not_text = server.get("/threads/%FF").await;
    not_text.refusal(422);
}

#[tokio::test]
async fn a_copy_has_the_same_metadata_and_an_id_of_its_own() {
    let server = Server::start().await;
    server.thread(1, json!({"a": 1})).await;
    let path = format!("/threads/{}/copy", thread_id(1));
    let copy = server
        .send(crate::support::request("POST", &path, Body::empty()))
        .await
        .json(200);
    assert_ne!(copy["thread_id"], thread_id(1));
    assert_eq!(copy["metadata"], json!({"a": 1}));
    assert_eq!(copy["status"], "idle");
    assert_eq!(server.post("/threads/count", json!({})).await.json(200), 2);
}

async fn three_threads() -> Server {
    let server = Server::start().await;
    server.thread(1, json!({"team": "a", "n": 1})).await;
    server.thread(2, json!({"team": "b", "n": 2})).await;
    server.thread(3, json!({"team": "a", "n": 3})).await;
    server
}

fn numbers(found: &Value) -> Vec<u64> {
    let threads = found.as_array().unwrap().iter();
    threads
        .map(|thread| thread["metadata"]["n"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_search_filters_and_orders() {
    let server = three_threads().await;
    server.run(2).await;
    for (body, expected) in [
        (json!({}), vec![2, 3, 1]),
        (json!({"sort_by": "created_at"}), vec![3, 2, 1]),
        (
            json!({"sort_by": "thread_id", "sort_order": "asc"}),
            vec![1, 2, 3],
        ),
        (json!({"metadata": {"team": "a"}}), vec![3, 1]),
        (json!({"status": "busy"}), vec![2]),
        (json!({"status": "idle", "sort_order": "asc"}), vec![1, 3]),
        (json!({"ids": [thread_id(1), thread_id(9)]}), vec![1]),
        (json!({"ids": []}), vec![2, 3, 1]),
        (json!({"values": {"x": 1}}), vec![]),
        (json!({"limit": 1, "offset": 1}), vec![3]),
    ] {
        let found = server.post("/threads/search", body.clone()).await.json(200);
        assert_eq!(numbers(&found), expected, "{body}");
    }
}

#[tokio::test]
async fn a_search_leads_to_the_next_part_and_counts_all() {
    let server = three_threads().await;
    for (body, next, total) in [
        (json!({"limit": 2}), Some("2"), "3"),
        (json!({"limit": 2, "offset": 2}), None, "3"),
        (json!({"limit": 3}), None, "3"),
        (json!({"offset": 7}), None, "3"),
        (json!({"metadata": {"team": "c"}}), None, "0"),
    ] {
        let reply = server.post("/threads/search", body.clone()).await;
        reply.json(200);
        assert_eq!(reply.header("x-pagination-next"), next, "{body}");
        assert_eq!(reply.header("x-pagination-total"), Some(total), "{body}");
    }
}

#[tokio::test]
async fn a_search_shows_chosen_fields_and_picked_values() {
    let server = three_threads().await;
    let body = json!({
        "ids": [thread_id(1)],
        "select": ["thread_id", "status"],
        "extract": {"team": "metadata.team", "missing": "values.messages[-1].content"},
    });
    assert_eq!(
        server.post("/threads/search", body).await.json(200),
        json!([{
            "thread_id": thread_id(1),
            "status": "idle",
            "extracted": {"team": "a", "missing": null},
        }])
    );
    let every = [
        "thread_id",
        "created_at",
        "updated_at",
        "state_updated_at",
        "metadata",
        "status",
        "config",
        "values",
        "interrupts",
        "error",
    ];
    let found = server
        .post("/threads/search", json!({"select": every}))
        .await
        .json(200);
    assert_eq!(found.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_searched_for_is_refused() {
    let server = three_threads().await;
    for body in [
        json!({"limit": 0}),
        json!({"limit": 1001}),
        json!({"limit": "many"}),
        json!({"offset": -1}),
        json!({"status": "asleep"}),
        json!({"sort_by": "name"}),
        json!({"sort_order": "up"}),
        json!({"select": ["password"]}),
        json!({"ids": ["one"]}),
        json!({"metadata": []}),
        json!({"values": "x"}),
        json!({"extract": {"a": "status"}}),
        json!({"extract": {"a-b": "values"}}),
    ] {
        let reply = server.post("/threads/search", body.clone()).await;
        assert_eq!(reply.status, 422, "{body}: {}", reply.text);
    }
}

#[tokio::test]
async fn threads_are_counted() {
    let server = three_threads().await;
    for (body, expected) in [
        (json!({}), 3),
        (json!({"metadata": {"team": "a"}}), 2),
        (json!({"status": "error"}), 0),
    ] {
        let count = server.post("/threads/count", body).await.json(200);
        assert_eq!(count, expected);
    }
    server
        .post("/threads/count", json!({"status": 1}))
        .await
        .refusal(422);
}

#[tokio::test]
async fn threads_are_pruned_and_unknown_ones_passed_over() {
    let server = three_threads().await;
    let body = json!({"thread_ids": [thread_id(1), thread_id(9), thread_id(2)]});
    let pruned = server.post("/threads/prune", body).await.json(200);
    assert_eq!(pruned, json!({"pruned_count": 2}));
    assert_eq!(server.post("/threads/count", json!({})).await.json(200), 1);

    for wrong in [
        json!({"thread_ids": [thread_id(3)], "strategy": "burn"}),
        json!({"thread_ids": ["one"]}),
        json!({}),
    ] {
        server.post("/threads/prune", wrong).await.refusal(422);
    }
    assert_eq!(server.post("/threads/count", json!({})).await.json(200), 1);
}

#[tokio::test]
async fn a_quiet_thread_is_deleted_with_its_waiting_runs() {
    let server = Server::start().await;
    server.thread(1, json!({})).await;
    let run = server.run(1).await;
    let path = format!("/threads/{}", thread_id(1));
    server.call("DELETE", &path, Value::Null).await.empty(204);
    server.get(&path).await.refusal(404);
    assert_eq!(server.database.run(None, run.id).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_thread_with_an_executing_run_goes_once_that_has_stopped() {
    let server = Server::start().await;
    server.thread(1, json!({})).await;
    server.run(1).await;
    let claimed = server.claim(1).await;
    let path = format!("/threads/{}", thread_id(1));
    let mut changes = server
        .notifier
        .changes(claimed.lease.thread_id)
        .await
        .unwrap();

    let deletion = server.call("DELETE", &path, Value::Null);
    let worker = async {
        // Long enough for the deletion to wait, far too short for it to give up.
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.get(&path).await.json(200);
        let settlement = Settlement {
            transit: Transit::Interrupt,
            head: None,
            residue: None,
            output: None,
            interrupted_output: None,
        };
        let settled = server
            .database
            .settle(&claimed.lease, settlement, None)
            .await
            .unwrap();
        assert!(settled.effects.changes[0].is_end());
        for change in settled.effects.changes {
            server.notifier.announce(change).await.unwrap();
        }
    };
    let (reply, ()) = tokio::join!(deletion, worker);
    reply.empty(204);
    server.get(&path).await.refusal(404);
    assert!(changes.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_thread_whose_run_does_not_stop_is_kept_and_said_to_be() {
    let server = Server::start().await;
    server.thread(1, json!({})).await;
    server.run(1).await;
    let claimed = server.claim(1).await;
    let path = format!("/threads/{}", thread_id(1));
    let refused = server.call("DELETE", &path, Value::Null).await.refusal(409);
    assert!(refused.contains("has not stopped yet"), "{refused}");
    server.get(&path).await.json(200);

    let pruned = server
        .post("/threads/prune", json!({"thread_ids": [thread_id(1)]}))
        .await;
    assert_eq!(pruned.json(200), json!({"pruned_count": 0}));
    drop(claimed);
}
