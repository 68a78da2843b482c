//! How a run's configuration and metadata come together.

use chrono::{DateTime, TimeDelta, Utc};
use runloom_core::assistant::Assistant;
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::ids::{AssistantId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::partial::PartialPolicy;
use runloom_core::run::{MultitaskStrategy, RunKwargs};
use runloom_core::thread::{Thread, ThreadStatus};
use serde_json::{Value, json};

fn map(value: Value) -> JsonMap {
    serde_json::from_value(value).expect("an object")
}

fn assistant(config: Value, context: Value, metadata: Value) -> Assistant {
    Assistant {
        id: AssistantId::of_graph(&"agent".into()),
        graph_id: "agent".into(),
        config: map(config),
        context: map(context),
        created_at: DateTime::<Utc>::UNIX_EPOCH,
        updated_at: DateTime::<Utc>::UNIX_EPOCH,
        metadata: map(metadata),
        version: 1,
        name: "agent".to_owned(),
        description: None,
    }
}

fn run(assistant: Assistant, config: Value, context: Option<Value>, metadata: Value) -> NewRun {
    NewRun {
        id: RunId::new(),
        thread_id: ThreadId::new(),
        assistant,
        kwargs: RunKwargs {
            config: map(config),
            context: context.map(map),
            ..RunKwargs::default()
        },
        metadata: map(metadata),
        multitask_strategy: MultitaskStrategy::default(),
        delay: TimeDelta::zero(),
        if_thread_missing: IfThreadMissing::default(),
        policy: PartialPolicy::default(),
        server_configurable: map(json!({"langgraph_request_id": "r"})),
        thread_ttl: None,
    }
}

fn thread(new: &NewRun, config: Value, metadata: Value) -> Thread {
    Thread {
        id: new.thread_id,
        created_at: DateTime::<Utc>::UNIX_EPOCH,
        updated_at: DateTime::<Utc>::UNIX_EPOCH,
        state_updated_at: DateTime::<Utc>::UNIX_EPOCH,
        metadata: map(metadata),
        status: ThreadStatus::Idle,
        config: map(config),
        values: None,
        interrupts: JsonMap::new(),
        error: None,
        ttl: None,
    }
}

#[test]
fn the_request_wins_over_the_thread_and_the_thread_over_the_assistant() {
    let keys = |a: u8, b: u8, c: u8| json!({"configurable": {"a": a, "b": b, "c": c}});
    let base = assistant(keys(1, 1, 1), json!({}), json!({"m": 1, "n": 1, "o": 1}));
    let own = json!({"configurable": {"c": 3}, "metadata": {"o": 2}});
    let new = run(base, own, None, json!({"o": 3}));
    let on = thread(
        &new,
        json!({"configurable": {"b": 2, "c": 2}}),
        json!({"n": 2, "o": 2}),
    );

    let composed = new.compose(Some(&on));
    let configurable = composed.kwargs.configurable().unwrap();
    assert_eq!(
        (&configurable["a"], &configurable["b"], &configurable["c"]),
        (&1.into(), &2.into(), &3.into())
    );
    assert_eq!(
        (
            &composed.metadata["m"],
            &composed.metadata["n"],
            &composed.metadata["o"]
        ),
        (&1.into(), &2.into(), &3.into())
    );
    assert_eq!(
        composed.kwargs.config["metadata"],
        Value::Object(composed.metadata.clone())
    );
}

#[test]
fn the_servers_own_keys_cannot_be_overridden() {
    let config =
        json!({"configurable": {"run_id": "x", "graph_id": "y", "langgraph_request_id": "z"}});
    let new = run(
        assistant(json!({}), json!({}), json!({})),
        config,
        None,
        json!({"graph_id": "y"}),
    );
    let composed = new.compose(None);
    let configurable = composed.kwargs.configurable().unwrap();
    assert_eq!(configurable["run_id"], new.id.to_string());
    assert_eq!(configurable["thread_id"], new.thread_id.to_string());
    assert_eq!(configurable["graph_id"], "agent");
    assert_eq!(configurable["langgraph_request_id"], "r");
    assert_eq!(composed.metadata["graph_id"], "agent");
}

#[test]
fn context_and_configurable_mirror_each_other() {
    let none = || assistant(json!({}), json!({}), json!({}));
    let from_context = run(none(), json!({}), Some(json!({"a": 1})), json!({})).compose(None);
    assert_eq!(from_context.kwargs.configurable().unwrap()["a"], 1);
    let own = json!({"configurable": {"a": 1}});
    let from_config = run(none(), own, None, json!({})).compose(None);
    assert_eq!(from_config.kwargs.context, Some(map(json!({"a": 1}))));
}

#[test]
fn a_thread_created_with_its_run_takes_the_metadata_and_an_older_one_only_the_graph() {
    let new = run(
        assistant(json!({}), json!({}), json!({"x": 1})),
        json!({}),
        None,
        json!({"m": 1}),
    );
    let id = new.assistant.id.to_string();
    let created = new.compose(None).thread_metadata;
    assert_eq!(
        Value::Object(created),
        json!({"m": 1, "graph_id": "agent", "assistant_id": id})
    );
    let older = thread(&new, json!({}), json!({"k": 1}));
    let kept = new.compose(Some(&older)).thread_metadata;
    assert_eq!(
        Value::Object(kept),
        json!({"k": 1, "graph_id": "agent", "assistant_id": id})
    );
}

#[test]
fn what_belongs_to_one_run_does_not_stick_to_the_thread() {
    let config = json!({"configurable": {"a": 1}, "metadata": {"m": 1}});
    let new = run(
        assistant(json!({}), json!({}), json!({})),
        config,
        None,
        json!({}),
    );
    let stored = new.compose(None).thread_config;
    assert_eq!(Value::Object(stored), json!({"configurable": {"a": 1}}));
}
