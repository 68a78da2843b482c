//! Changes from outside any run.

use runloom_core::executor::{Executor, ExecutorError, StopKind};
use runloom_core::ids::CheckpointId;
use runloom_core::json::{Json, JsonMap};
use runloom_core::state::{Head, NodeUpdate, StateUpdate};
use runloom_graph::{END, START};
use serde_json::{Value, json};

use crate::bench::{Bench, Request, ms, word};
use crate::nodes::{input, log_graph, say, say_after};

fn bench() -> Bench {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .node("c", say("c"))
        .sequence(["a", "b", "c"]);
    Bench::new(graph.compile().unwrap())
}

fn values(values: Value, as_node: Option<&str>) -> NodeUpdate {
    NodeUpdate {
        values: (!values.is_null()).then(|| Json::from_value(&values)),
        command: None,
        as_node: as_node.map(str::to_owned),
    }
}

async fn update_at(
    bench: &Bench,
    checkpoint_id: Option<CheckpointId>,
    supersteps: Vec<Vec<NodeUpdate>>,
) -> Result<Head, ExecutorError> {
    let update = StateUpdate {
        thread_id: bench.thread,
        ns: String::new(),
        checkpoint_id,
        supersteps,
        metadata: JsonMap::new(),
    };
    bench
        .executor
        .update_state(&"g".into(), update, bench.host.clone())
        .await
}

async fn update(bench: &Bench, one: NodeUpdate) -> Result<Head, ExecutorError> {
    update_at(bench, None, vec![vec![one]]).await
}

#[tokio::test(start_paused = true)]
async fn an_update_counts_as_the_node_it_names_and_the_graph_goes_on_from_there() {
    let bench = bench();
    bench.succeed(input()).await;
    let head = update(&bench, values(json!({"log": "told"}), Some("b")))
        .await
        .unwrap();
    assert_eq!(
        head.values.to_value(),
        json!({"log": ["in", "a", "b", "c", "told"]})
    );
    assert_eq!(head.next, ["c"]);
    assert_eq!(bench.steps().last().unwrap(), "update 4");
    let state = bench.state().await;
    assert_eq!((state.next.clone(), state.values), (head.next, head.values));
    let outcome = bench.run(&Request::resume()).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "a", "b", "c", "told", "c"]})
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_name_it_counts_as_the_node_that_ran_last() {
    let bench = bench();
    let request = Request::input(input()).with(|kwargs| {
        let nodes = vec!["c".to_owned()];
        kwargs.interrupt_before = Some(runloom_core::run::NodeSelection::Some(nodes));
    });
    assert_eq!(word(&bench.run(&request).await), "paused");
    let head = update(&bench, values(json!({"log": "told"}), None))
        .await
        .unwrap();
    assert_eq!(head.next, ["c"]);
}

#[tokio::test(start_paused = true)]
async fn on_an_empty_thread_it_counts_as_the_input() {
    let bench = bench();
    let head = update(&bench, values(json!({"log": "told"}), None))
        .await
        .unwrap();
    assert_eq!(head.next, ["a"]);
    assert_eq!(bench.steps(), ["update -1"]);
    let outcome = bench.run(&Request::resume()).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["told", "a", "b", "c"]})
    );
}

#[tokio::test(start_paused = true)]
async fn without_values_a_node_is_done_or_everything_is() {
    let bench = bench();
    bench.succeed(input()).await;
    let head = update(&bench, values(Value::Null, Some("a")))
        .await
        .unwrap();
    assert_eq!(head.next, ["b"]);
    let head = update(&bench, values(Value::Null, None)).await.unwrap();
    assert_eq!(head.next, ["b"]);
    let head = update(&bench, values(Value::Null, Some(END)))
        .await
        .unwrap();
    assert!(head.next.is_empty());
    assert_eq!(
        head.values.to_value(),
        json!({"log": ["in", "a", "b", "c"]})
    );
}

#[tokio::test(start_paused = true)]
async fn supersteps_replay_a_history() {
    let bench = bench();
    let supersteps = vec![
        vec![values(json!({"log": "1"}), Some("__input__"))],
        vec![values(json!({"log": "1"}), Some(START))],
        vec![values(json!({"log": "2"}), Some("a"))],
    ];
    let head = update_at(&bench, None, supersteps).await.unwrap();
    assert_eq!(head.values.to_value(), json!({"log": ["1", "2"]}));
    assert_eq!(head.next, ["b"]);
    assert_eq!(bench.steps(), ["input -1", "update 0", "update 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_of_an_older_checkpoint_forks_and_what_does_not_fit_is_refused_whole() {
    let bench = bench();
    bench.succeed(input()).await;
    let chosen = bench.stored()[2].checkpoint.id.clone();
    let told = vec![vec![values(json!({"log": "told"}), Some("b"))]];
    let head = update_at(&bench, Some(chosen.clone()), told).await.unwrap();
    assert_eq!(head.values.to_value(), json!({"log": ["in", "a", "told"]}));
    let newest = bench.stored().pop().unwrap();
    assert_eq!(newest.checkpoint.parent, Some(chosen));
    assert_eq!(head.checkpoint_id, Some(newest.checkpoint.id));

    let before = bench.puts();
    let fine = vec![values(json!({"log": "x"}), Some("a"))];
    for wrong in [
        values(json!({"log": "x"}), Some("nobody")),
        values(json!({"nothing": "x"}), Some("a")),
        values(json!("x"), Some("a")),
    ] {
        let refused = update_at(&bench, None, vec![fine.clone(), vec![wrong]]).await;
        assert!(
            matches!(refused, Err(ExecutorError::Invalid(_))),
            "{refused:?}"
        );
    }
    assert_eq!(bench.puts(), before);
}

#[tokio::test(start_paused = true)]
async fn a_command_redirects() {
    let bench = bench();
    bench.succeed(input()).await;
    let command = json!({"update": {"log": "told"}, "goto": "a"});
    let one = NodeUpdate {
        values: None,
        command: Some(Json::from_value(&command)),
        as_node: Some("c".to_owned()),
    };
    let head = update(&bench, one).await.unwrap();
    assert_eq!(head.next, ["a"]);
    assert_eq!(head.values.to_value()["log"][4], "told");
}

#[tokio::test(start_paused = true)]
async fn after_parallel_nodes_the_name_is_needed() {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .edge(START, "a")
        .edge(START, "b");
    let bench = Bench::new(graph.compile().unwrap());
    bench.succeed(input()).await;
    let refused = update(&bench, values(json!({"log": "x"}), None)).await;
    assert!(matches!(refused, Err(ExecutorError::Invalid(_))));
    // Both at once are one superstep.
    let both = vec![vec![
        values(json!({"log": "x"}), Some("a")),
        values(json!({"log": "y"}), Some("b")),
    ]];
    let head = update_at(&bench, None, both).await.unwrap();
    assert_eq!(
        head.values.to_value(),
        json!({"log": ["in", "a", "b", "x", "y"]})
    );
}

#[tokio::test(start_paused = true)]
async fn finished_siblings_of_a_stopped_superstep_are_part_of_what_is_updated() {
    let graph = log_graph()
        .node("fast", say("fast"))
        .node("slow", say_after(ms(50), "slow"))
        .edge(START, "fast")
        .edge(START, "slow");
    let bench = Bench::new(graph.compile().unwrap());
    let request = Request::input(input());
    request.stop_after(ms(10), StopKind::Interrupt);
    bench.run(&request).await;
    let head = update(&bench, values(json!({"log": "told"}), Some("slow")))
        .await
        .unwrap();
    assert_eq!(
        head.values.to_value(),
        json!({"log": ["in", "fast", "told"]})
    );
    assert!(head.next.is_empty());
}
