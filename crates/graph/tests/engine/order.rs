//! The order and the form of events: golden tests against what the published runtime was seen to
//! send for the same graphs.

use std::collections::HashMap;

use runloom_core::event::StreamMode;
use runloom_graph::{Node, NodeContext, NodeResult, START, Update};
use serde_json::{Value, json};

use crate::bench::{Bench, Request, ms};
use crate::nodes::{ask, input, log_graph, say, say_after};

const ALL: [StreamMode; 5] = [
    StreamMode::Values,
    StreamMode::Updates,
    StreamMode::Custom,
    StreamMode::Tasks,
    StreamMode::Checkpoints,
];

/// Each event in a line, ids replaced by numbers in the order in which they appear.
fn lines(events: Vec<(String, Value)>) -> String {
    let mut ids = HashMap::new();
    let line = |(name, mut data): (String, Value)| {
        tidy(&mut data, &mut ids);
        format!("{} {data}", tidied(&name, &mut ids))
    };
    events.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn tidy(value: &mut Value, ids: &mut HashMap<String, usize>) {
    match value {
        Value::String(text) => *text = tidied(text, ids),
        Value::Array(items) => items.iter_mut().for_each(|item| tidy(item, ids)),
        Value::Object(fields) => {
            for key in [
                "run_id",
                "assistant_id",
                "graph_id",
                "run_attempt",
                "thread_id",
            ] {
                fields.remove(key);
            }
            fields.values_mut().for_each(|value| tidy(value, ids));
        }
        _ => {}
    }
}

fn tidied(text: &str, ids: &mut HashMap<String, usize>) -> String {
    let mut tidied = text.to_owned();
    let parts: Vec<_> = text.split([':', '|']).collect();
    for part in parts {
        let is_id = part.len() == 36 && part.matches('-').count() == 4;
        let is_interrupt = part.len() == 32 && part.bytes().all(|b| b.is_ascii_hexdigit());
        if is_id || is_interrupt {
            let known = ids.len() + 1;
            let number = ids.entry(part.to_owned()).or_insert(known);
            tidied = tidied.replace(part, &format!("#{number}"));
        }
    }
    tidied
}

#[tokio::test(start_paused = true)]
async fn all_modes_of_a_run_with_branches() {
    let first = Node::new(async |_: Value, context: NodeContext| -> NodeResult {
        context.emit(json!({"hi": 1})).await?;
        Ok(Update::new().set("log", ["a"]))
    });
    let graph = log_graph()
        .node("a", first)
        .node("b", say("b"))
        .node("c", say_after(ms(1), "c"))
        .edge(START, "a")
        .edge("a", "b")
        .edge("a", "c");
    let bench = Bench::new(graph.compile().unwrap());
    bench.run(&Request::input(input()).modes(&ALL)).await;
    insta::assert_snapshot!(lines(bench.events()));
}

#[tokio::test(start_paused = true)]
async fn a_pause_and_a_resume_beside_a_finished_sibling() {
    let graph = log_graph()
        .node("ask", ask("why?"))
        .node("other", say_after(ms(1), "o"))
        .edge(START, "ask")
        .edge(START, "other");
    let bench = Bench::new(graph.compile().unwrap());
    bench.run(&Request::input(input()).modes(&ALL)).await;
    let paused = bench.events().len();
    bench
        .run(&Request::command(json!({"resume": "yes"})).modes(&ALL))
        .await;
    let mut events = bench.events();
    events.insert(paused, ("-- resume".to_owned(), Value::Null));
    insta::assert_snapshot!(lines(events));
}

#[tokio::test(start_paused = true)]
async fn debug_wraps_tasks_and_checkpoints() {
    let graph = log_graph().node("a", say("a")).sequence(["a"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench
        .run(&Request::input(input()).modes(&[StreamMode::Debug]))
        .await;
    let kinds: Vec<_> = bench
        .events_named("debug")
        .iter()
        .map(|event| {
            (
                event["type"].as_str().unwrap().to_owned(),
                event["step"].clone(),
            )
        })
        .collect();
    let expected = [
        ("checkpoint", -1),
        ("checkpoint", 0),
        ("task", 1),
        ("task_result", 1),
        ("checkpoint", 1),
    ];
    assert_eq!(
        kinds,
        expected.map(|(kind, step)| (kind.to_owned(), json!(step)))
    );
    let timestamp = bench.events_named("debug")[0]["timestamp"].clone();
    assert!(
        timestamp.as_str().unwrap().starts_with("2030-"),
        "{timestamp}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_tells_why() {
    let bad = Node::new(async |_: Value, _: NodeContext| -> NodeResult {
        Err(runloom_graph::NodeError::new("ValueError", "kaboom"))
    });
    let graph = log_graph().node("bad", bad).sequence(["bad"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench
        .run(&Request::input(input()).modes(&[StreamMode::Tasks]))
        .await;
    let ended = bench.events_named("tasks").pop().unwrap();
    assert_eq!(ended["error"], "ValueError('kaboom')");
    assert_eq!(
        (&ended["result"], &ended["interrupts"]),
        (&json!({}), &json!([]))
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_writes_nothing_updates_null_and_makes_no_values() {
    let nothing = Node::new(async |_: Value, _: NodeContext| NodeResult::Ok(()));
    let graph = log_graph().node("quiet", nothing).sequence(["quiet"]);
    let bench = Bench::new(graph.compile().unwrap());
    let modes = [StreamMode::Values, StreamMode::Updates];
    bench.run(&Request::input(input()).modes(&modes)).await;
    let expected = [
        ("values", json!({"log": ["in"]})),
        ("updates", json!({"quiet": null})),
    ];
    let expected: Vec<_> = expected.map(|(name, data)| (name.to_owned(), data)).into();
    assert_eq!(bench.events(), expected);
}
