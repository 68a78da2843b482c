//! States of threads: now, then, and changed from outside a run.

use std::sync::Arc;

use futures::FutureExt;
use runloom_core::ids::{CheckpointId, ThreadId};
use serde_json::{Value, json};

use crate::support::{Server, thread_id};

fn path(n: u8, rest: &str) -> String {
    format!("/threads/{}/{rest}", thread_id(n))
}

/// A thread with the given entries, one update each.
async fn with_entries(entries: &[Value]) -> Server {
    let server = Server::start().await;
    server
        .thread(1, json!({"graph_id": "agent", "user": "ada"}))
        .await;
    for entry in entries {
        let body = json!({"values": entry, "as_node": "write"});
        server.post(&path(1, "state"), body).await.json(200);
    }
    server
}

async fn state(server: &Server, n: u8) -> Value {
    server.get(&path(n, "state")).await.json(200)
}

/// Ids of checkpoints have a random part; what they are is tested apart.
fn without_ids(mut state: Value) -> Value {
    for key in ["checkpoint", "parent_checkpoint"] {
        if let Some(id) = state[key].get_mut("checkpoint_id") {
            *id = json!("<id>");
        }
        let flat = format!("{key}_id");
        if !state[&flat].is_null() {
            state[&flat] = json!("<id>");
        }
    }
    state
}

#[tokio::test]
async fn a_thread_without_any_run_has_an_empty_state() {
    let server = Server::start().await;
    server.thread(1, json!({})).await;
    let empty = state(&server, 1).await;
    insta::assert_json_snapshot!("empty_state", empty);
    assert_eq!(
        server.post(&path(1, "history"), json!({})).await.json(200),
        json!([])
    );

    server.thread(2, json!({"graph_id": "agent"})).await;
    assert_eq!(state(&server, 2).await, empty);
}

#[tokio::test]
async fn a_state_has_all_its_fields() {
    let server = with_entries(&[json!({"n": 1}), json!({"n": 2})]).await;
    let state = state(&server, 1).await;
    assert_eq!(state["checkpoint_id"], state["checkpoint"]["checkpoint_id"]);
    let parent = &state["parent_checkpoint"]["checkpoint_id"];
    assert_eq!(state["parent_checkpoint_id"], *parent);
    assert!(parent.as_str() < state["checkpoint_id"].as_str());
    insta::assert_json_snapshot!("state", without_ids(state));
}

#[tokio::test]
async fn an_update_answers_with_its_checkpoint_in_every_form() {
    let server = with_entries(&[]).await;
    let body = json!({"values": {"n": 1}, "as_node": "write", "tomorrow": 1});
    let mut updated = server.post(&path(1, "state"), body).await.json(200);
    let state = state(&server, 1).await;
    assert_eq!(updated["checkpoint"], state["checkpoint"]);
    assert_eq!(updated["configurable"], state["checkpoint"]);
    assert_eq!(updated["checkpoint_id"], state["checkpoint_id"]);
    for key in ["checkpoint", "configurable"] {
        updated[key]["checkpoint_id"] = json!("<id>");
    }
    updated["checkpoint_id"] = json!("<id>");
    insta::assert_json_snapshot!("state_updated", updated);
}

#[tokio::test]
async fn an_update_shows_on_the_thread_at_once() {
    let server = with_entries(&[json!({"n": 1})]).await;
    let thread = server
        .get(&format!("/threads/{}", thread_id(1)))
        .await
        .json(200);
    assert_eq!(thread["values"], json!({"entries": [{"n": 1}]}));
    assert_eq!(
        thread["status"], "interrupted",
        "its graph has come to `check`"
    );
    let body = json!({"values": null, "as_node": "check"});
    server.post(&path(1, "state"), body).await.json(200);
    let thread = server
        .get(&format!("/threads/{}", thread_id(1)))
        .await
        .json(200);
    assert_eq!(thread["status"], "idle");
    assert_eq!(state(&server, 1).await["next"], json!([]));
}

#[tokio::test]
async fn past_states_can_be_seen_and_built_upon() {
    let server = with_entries(&[json!({"n": 1}), json!({"n": 2})]).await;
    let now = state(&server, 1).await;
    let first = now["parent_checkpoint_id"].as_str().unwrap();
    let then = server
        .get(&path(1, &format!("state/{first}")))
        .await
        .json(200);
    assert_eq!(then["values"], json!({"entries": [{"n": 1}]}));
    let body = json!({"checkpoint": {"checkpoint_id": first}, "subgraphs": true});
    let same = server
        .post(&path(1, "state/checkpoint"), body)
        .await
        .json(200);
    assert_eq!(same, then);

    let forms = [
        json!({"values": {"n": 3}, "checkpoint_id": first}),
        json!({"values": {"n": 3}, "checkpoint": {"checkpoint_id": first, "checkpoint_ns": "",
            "thread_id": thread_id(1)}}),
    ];
    for form in forms {
        server.post(&path(1, "state"), form).await.json(200);
        let forked = state(&server, 1).await;
        assert_eq!(forked["parent_checkpoint_id"], first);
        assert_eq!(forked["values"], json!({"entries": [{"n": 1}, {"n": 3}]}));
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_not_there_reads_as_empty_and_cannot_be_built_upon() {
    let server = with_entries(&[json!({"n": 1})]).await;
    let before = state(&server, 1).await;
    let nowhere = "1f0c0000-0000-6000-8000-000000000000";
    let empty = server
        .get(&path(1, &format!("state/{nowhere}")))
        .await
        .json(200);
    assert_eq!(empty["checkpoint"], Value::Null);
    assert_eq!(empty["values"], json!({}));
    let body = json!({"values": {"n": 2}, "checkpoint_id": nowhere});
    let refused = server.post(&path(1, "state"), body).await.refusal(404);
    assert!(refused.contains(nowhere), "{refused}");
    assert_eq!(state(&server, 1).await, before);
}

#[tokio::test]
async fn a_checkpoint_of_another_thread_is_refused() {
    let server = with_entries(&[json!({"n": 1})]).await;
    server.thread(2, json!({"graph_id": "agent"})).await;
    let foreign = state(&server, 1).await["checkpoint"].clone();
    for (rest, body) in [
        ("state", json!({"values": {"n": 2}, "checkpoint": foreign})),
        ("state/checkpoint", json!({"checkpoint": foreign})),
        ("history", json!({"checkpoint": foreign})),
    ] {
        let refused = server.post(&path(2, rest), body).await.refusal(422);
        assert!(refused.contains(&thread_id(1)), "{refused}");
    }
    // Named by its id alone it is simply not there.
    let id = foreign["checkpoint_id"].as_str().unwrap();
    let body = json!({"values": {"n": 2}, "checkpoint_id": id});
    server.post(&path(2, "state"), body).await.refusal(404);
    let empty = server.get(&path(2, &format!("state/{id}"))).await.json(200);
    assert_eq!(empty["checkpoint"], Value::Null);
    assert_eq!(state(&server, 2).await["checkpoint"], Value::Null);
}

#[tokio::test]
async fn what_does_not_fit_the_graph_or_the_wire_writes_nothing() {
    let server = with_entries(&[json!({"n": 1})]).await;
    let before = state(&server, 1).await;
    for (status, body) in [
        (400, json!({"values": {"n": 2}, "as_node": "nobody"})),
        (400, json!({"values": "not an entry", "as_node": "write"})),
        (422, json!({"values": {"n": 2}, "as_node": 1})),
        (422, json!({"values": {"n": 2}, "checkpoint_id": "x"})),
        (
            422,
            json!({"values": {"n": 2}, "checkpoint": {"checkpoint_id": "x"}}),
        ),
        (422, json!({"values": {"n": 2}, "checkpoint": "x"})),
        (422, json!([])),
    ] {
        server.post(&path(1, "state"), body).await.refusal(status);
    }
    server.get(&path(1, "state/x")).await.refusal(422);
    assert_eq!(state(&server, 1).await, before);
    assert_eq!(
        server
            .post(&path(1, "history"), json!({"limit": 9}))
            .await
            .json(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_state_of_no_thread_is_not_found() {
    let server = Server::start().await;
    let expected = format!("Thread with ID {} not found", thread_id(1));
    let id = "1f0c0000-0000-6000-8000-000000000000";
    for (method, rest, body) in [
        ("GET", "state", json!({})),
        ("POST", "state", json!({"values": {}})),
        ("PATCH", "state", json!({})),
        ("GET", &format!("state/{id}"), json!({})),
        (
            "POST",
            "state/checkpoint",
            json!({"checkpoint": {"checkpoint_id": id}}),
        ),
        ("GET", "history", json!({})),
        ("POST", "history", json!({})),
    ] {
        let reply = server.call(method, &path(1, rest), body).await;
        assert_eq!(reply.refusal(404), expected, "{method} {rest}");
    }
}

#[tokio::test]
async fn a_thread_without_a_graph_cannot_be_updated() {
    let server = Server::start().await;
    server.thread(1, json!({})).await;
    let refused = server
        .post(&path(1, "state"), json!({"values": {}}))
        .await
        .refusal(400);
    assert!(refused.contains("graph"), "{refused}");
    server.thread(2, json!({"graph_id": "nobody"})).await;
    for (method, rest) in [("POST", "state"), ("GET", "state"), ("POST", "history")] {
        let refused = server
            .call(method, &path(2, rest), json!({"values": {}}))
            .await
            .refusal(404);
        assert!(refused.contains("'nobody'"), "{refused}");
    }
}

#[tokio::test]
async fn a_busy_thread_cannot_be_updated_and_says_so_in_plain_words() {
    let server = with_entries(&[]).await;
    server.run(1).await;
    let refused = server
        .post(&path(1, "state"), json!({"values": {}}))
        .await
        .refusal(409);
    assert_eq!(
        refused,
        format!(
            "Thread {} has in-flight runs. Wait for them or cancel them, then update its state.",
            thread_id(1)
        )
    );
    assert_eq!(state(&server, 1).await["checkpoint"], Value::Null);
}

#[tokio::test]
async fn a_run_that_arrives_while_an_update_is_computed_wins() {
    let server = Arc::new(with_entries(&[json!({"n": 1})]).await);
    let before = state(&server, 1).await;
    let also = server.clone();
    server
        .ledger
        .meanwhile(move || async move { drop(also.run(1).await) }.boxed());
    server
        .post(&path(1, "state"), json!({"values": {"n": 2}}))
        .await
        .refusal(409);
    assert_eq!(state(&server, 1).await, before);
}

#[tokio::test]
async fn an_update_that_another_one_overtook_is_computed_anew() {
    let server = Arc::new(with_entries(&[json!({"n": 1})]).await);
    let also = server.clone();
    server.ledger.meanwhile(move || {
        let other = async move {
            also.post(&path(1, "state"), json!({"values": {"n": "other"}}))
                .await
                .json(200);
        };
        other.boxed()
    });
    server
        .post(&path(1, "state"), json!({"values": {"n": "mine"}}))
        .await
        .json(200);
    let now = state(&server, 1).await;
    let all = json!({"entries": [{"n": 1}, {"n": "other"}, {"n": "mine"}]});
    assert_eq!(now["values"], all, "neither is lost");
}

#[tokio::test]
async fn an_update_that_is_overtaken_again_and_again_gives_up() {
    let server = Arc::new(with_entries(&[json!({"n": 1})]).await);
    for _ in 0..5 {
        let also = server.clone();
        server.ledger.meanwhile(move || {
            let other = async move {
                // Not through the ledger, which would take the next of these actions.
                also.touch(1).await;
            };
            other.boxed()
        });
    }
    let refused = server
        .post(&path(1, "state"), json!({"values": {"n": 2}}))
        .await
        .refusal(409);
    assert!(refused.contains("changed meanwhile"), "{refused}");
    server
        .post(&path(1, "state"), json!({"values": {"n": 2}}))
        .await
        .json(200);
}

#[tokio::test]
async fn history_is_listed_from_the_latest_and_in_parts() {
    let entries = [json!({"n": 1}), json!({"n": 2}), json!({"n": 3})];
    let server = with_entries(&entries).await;
    let lengths = |found: &Value| -> Vec<usize> {
        let states = found.as_array().unwrap().iter();
        states
            .map(|state| state["values"]["entries"].as_array().unwrap().len())
            .collect()
    };
    let history = async |body: Value| server.post(&path(1, "history"), body).await.json(200);
    assert_eq!(
        lengths(&history(json!({})).await),
        [3],
        "one is the default"
    );
    let all = history(json!({"limit": 10})).await;
    assert_eq!(lengths(&all), [3, 2, 1]);
    assert_eq!(all[0], state(&server, 1).await);

    let latest = all[0]["checkpoint_id"].as_str().unwrap();
    for before in [
        json!(latest),
        json!({"checkpoint_id": latest}),
        json!({"configurable": {"checkpoint_id": latest}}),
    ] {
        let body = json!({"limit": 10, "before": before});
        assert_eq!(lengths(&history(body).await), [2, 1]);
    }
    let by_step = history(json!({"limit": 10, "metadata": {"step": 1}})).await;
    assert_eq!(lengths(&by_step), [2]);
    let by_user = history(json!({"limit": 10, "metadata": {"user": "bob"}})).await;
    assert_eq!(by_user, json!([]));

    let get = server
        .get(&path(1, &format!("history?limit=2&before={latest}")))
        .await
        .json(200);
    assert_eq!(lengths(&get), [2, 1]);
    assert_eq!(
        lengths(&server.get(&path(1, "history")).await.json(200)),
        [3]
    );
}

#[tokio::test]
async fn what_no_history_can_be_listed_by_is_refused() {
    let server = with_entries(&[json!({"n": 1})]).await;
    for body in [
        json!({"limit": 0}),
        json!({"limit": 1001}),
        json!({"before": "x"}),
        json!({"before": 1}),
        json!({"metadata": []}),
        json!({"checkpoint": {"checkpoint_id": "x"}}),
    ] {
        server.post(&path(1, "history"), body).await.refusal(422);
    }
    server.get(&path(1, "history?limit=x")).await.refusal(400);
    server.get(&path(1, "history?limit=0")).await.refusal(422);
    server.get(&path(1, "history?before=x")).await.refusal(422);
}

#[tokio::test]
async fn patching_the_state_merges_metadata() {
    let server = with_entries(&[]).await;
    let patch = json!({"metadata": {"mood": "good"}});
    server
        .call("PATCH", &path(1, "state"), patch)
        .await
        .empty(204);
    let thread = server
        .get(&format!("/threads/{}", thread_id(1)))
        .await
        .json(200);
    assert_eq!(thread["metadata"]["mood"], "good");
}

fn supersteps() -> Value {
    json!([
        {"updates": [{"values": {"n": 1}, "as_node": "write"}]},
        {"updates": [{"values": {"n": 2}, "as_node": "write"}, {"as_node": "check"}]},
    ])
}

#[tokio::test]
async fn a_thread_can_begin_with_a_state() {
    let server = Server::start().await;
    let body = json!({
        "thread_id": thread_id(1),
        "metadata": {"graph_id": "agent"},
        "supersteps": supersteps(),
    });
    let created = server.post("/threads", body.clone()).await.json(200);
    assert_eq!(created["values"], json!({"entries": [{"n": 1}, {"n": 2}]}));
    let history = server
        .post(&path(1, "history"), json!({"limit": 9}))
        .await
        .json(200);
    assert_eq!(history.as_array().unwrap().len(), 2);
    assert_eq!(
        history[0]["parent_checkpoint_id"],
        history[1]["checkpoint_id"]
    );

    // Once there is a state, creating the thread leniently leaves it alone.
    server.post("/threads", body.clone()).await.refusal(409);
    let mut lenient = body;
    lenient["if_exists"] = json!("do_nothing");
    server.post("/threads", lenient).await.json(200);
    let now = server
        .post(&path(1, "history"), json!({"limit": 9}))
        .await
        .json(200);
    assert_eq!(now, history);
}

#[tokio::test]
async fn a_first_state_that_cannot_be_made_leaves_no_thread() {
    let server = Server::start().await;
    for (status, metadata, supersteps) in [
        (400, json!({}), supersteps()),
        (404, json!({"graph_id": "nobody"}), supersteps()),
        (
            400,
            json!({"graph_id": "agent"}),
            json!([{"updates": [{"values": {}, "as_node": "nobody"}]}]),
        ),
    ] {
        let body = json!({"metadata": metadata, "supersteps": supersteps});
        server.post("/threads", body).await.refusal(status);
    }
    assert_eq!(server.post("/threads/count", json!({})).await.json(200), 0);
}

impl Server {
    /// Adds a checkpoint to thread `n`, on no graph's behalf.
    async fn touch(&self, n: u8) {
        use runloom_core::checkpoint::NewCheckpoint;
        use runloom_core::clock::Clock;
        use runloom_core::database::{Checkpoints, Guard};
        use runloom_core::json::Json;
        use runloom_core::state::Head;

        let thread = ThreadId(thread_id(n).parse().unwrap());
        let latest = self
            .database
            .checkpoint(thread, "", None)
            .await
            .unwrap()
            .unwrap();
        let seen = latest.checkpoint.id.clone();
        let mut checkpoint = latest.checkpoint;
        checkpoint.id = CheckpointId::after(Some(&seen), self.clock.now());
        checkpoint.parent = Some(seen.clone());
        let head = Head {
            checkpoint_id: Some(checkpoint.id.clone()),
            values: Json::null(),
            next: Vec::new(),
            interrupts: serde_json::Map::new(),
        };
        let guard = Guard::Idle {
            seen: Some(seen),
            head,
        };
        let new = NewCheckpoint {
            checkpoint,
            blobs: Vec::new(),
        };
        self.database
            .put_checkpoints(thread, guard, vec![new], Vec::new())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn the_latest_state_can_be_read_while_nobody_can_compute_it() {
    let server = with_entries(&[json!({"n": 1}), json!({"n": 2})]).await;
    let computed = state(&server, 1).await;
    server.ledger.leave();
    let kept = state(&server, 1).await;
    for known in [
        "values",
        "metadata",
        "created_at",
        "checkpoint",
        "parent_checkpoint",
        "interrupts",
    ] {
        assert_eq!(kept[known], computed[known], "{known}");
    }
    assert_eq!(kept["values"]["entries"], json!([{"n": 1}, {"n": 2}]));
    assert_eq!(kept["next"], json!([]), "only the graph knows");

    server.thread(2, json!({"graph_id": "agent"})).await;
    assert_eq!(state(&server, 2).await["values"], json!({}));
}

#[tokio::test]
async fn what_only_the_graph_can_answer_has_to_wait_for_it() {
    let server = with_entries(&[json!({"n": 1})]).await;
    let at = state(&server, 1).await["checkpoint_id"].clone();
    server.ledger.leave();
    let at = path(1, &format!("state/{}", at.as_str().unwrap()));
    let update = json!({"values": {"n": 2}});
    let replies = [
        server.get(&at).await,
        server.post(&path(1, "history"), json!({})).await,
        server.post(&path(1, "state"), update).await,
        server.get("/assistants/agent/graph").await,
    ];
    for reply in replies {
        assert!(reply.refusal(503).contains("out for lunch"));
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
}
