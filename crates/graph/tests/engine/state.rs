//! What readers see.

use runloom_core::executor::{Executor, StopKind};
use runloom_core::ids::CheckpointId;
use runloom_core::json::JsonMap;
use runloom_core::state::{HistoryQuery, StateQuery};
use runloom_graph::START;
use serde_json::json;

use crate::bench::{Bench, Request, ms};
use crate::nodes::{input, log_graph, say, say_after};

#[tokio::test(start_paused = true)]
async fn history_tells_what_each_task_did() {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .sequence(["a", "b"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench.succeed(input()).await;
    let history = bench.history().await;
    let told: Vec<_> = history
        .iter()
        .map(|state| {
            let results: Vec<_> = state.tasks.iter().map(|task| json!(task.result)).collect();
            json!([state.values.to_value(), state.next, results])
        })
        .collect();
    let expected = [
        json!([{"log": ["in", "a", "b"]}, [], []]),
        json!([{"log": ["in", "a"]}, ["b"], [{"log": "b"}]]),
        json!([{"log": ["in"]}, ["a"], [{"log": "a"}]]),
        json!([{"log": []}, ["__start__"], [{"log": ["in"]}]]),
    ];
    assert_eq!(told, expected);
    for pair in history.windows(2) {
        assert_eq!(pair[0].parent_checkpoint, pair[1].checkpoint);
    }
    assert_eq!(history[3].parent_checkpoint, None);
    assert_eq!(history[0].metadata.as_ref().unwrap()["source"], "loop");
    assert!(history[0].created_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn history_can_be_narrowed() {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .sequence(["a", "b"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench.succeed(input()).await;
    let all = bench.history().await;
    let ids: Vec<CheckpointId> = all
        .iter()
        .map(|s| s.checkpoint.clone().unwrap().checkpoint_id.unwrap())
        .collect();
    let found = async |change: &dyn Fn(&mut HistoryQuery)| {
        let mut query = HistoryQuery {
            thread_id: bench.thread,
            ns: String::new(),
            checkpoint_id: None,
            before: None,
            metadata: JsonMap::new(),
            limit: 10,
        };
        change(&mut query);
        let states = bench
            .executor
            .history(&"g".into(), query, bench.host.clone())
            .await;
        let states = states.unwrap().into_iter();
        let ids = states.map(|state| state.checkpoint.unwrap().checkpoint_id.unwrap());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(found(&|q| q.limit = 2).await, ids[..2]);
    assert_eq!(found(&|q| q.before = Some(ids[1].clone())).await, ids[2..]);
    assert_eq!(
        found(&|q| q.checkpoint_id = Some(ids[2].clone())).await,
        ids[2..3]
    );
    let input = |q: &mut HistoryQuery| {
        q.metadata.insert("source".to_owned(), json!("input"));
    };
    assert_eq!(found(&input).await, ids[3..]);
}

#[tokio::test(start_paused = true)]
async fn the_latest_state_shows_what_finished_siblings_wrote_but_an_older_view_does_not() {
    let graph = log_graph()
        .node("fast", say("fast"))
        .node("slow", say_after(ms(50), "slow"))
        .edge(START, "fast")
        .edge(START, "slow");
    let bench = Bench::new(graph.compile().unwrap());
    let request = Request::input(input());
    request.stop_after(ms(10), StopKind::Interrupt);
    let outcome = bench.run(&request).await;
    let state = bench.state().await;
    assert_eq!(state.values.to_value(), json!({"log": ["in", "fast"]}));
    assert_eq!(state.next, ["slow"]);
    let head = outcome.head.unwrap();
    assert_eq!((head.values, head.next), (state.values, state.next));
    assert_eq!(state.tasks[0].result, Some(json!({"log": "fast"})));
    assert_eq!(state.tasks[1].error.as_deref(), Some("CancelledError()"));
    let old = &bench.history().await[0];
    assert_eq!(old.values.to_value(), json!({"log": ["in"]}));
    assert_eq!(old.next, ["fast", "slow"]);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_not_there_has_no_state() {
    let graph = log_graph().node("a", say("a")).sequence(["a"]);
    let bench = Bench::new(graph.compile().unwrap());
    let query = StateQuery {
        thread_id: bench.thread,
        ns: String::new(),
        checkpoint_id: None,
        subgraphs: false,
    };
    let unknown = Some(CheckpointId(
        "1f1e6c37-25d4-6e0a-bfff-9d184338a043".to_owned(),
    ));
    for query in [
        query.clone(),
        StateQuery {
            checkpoint_id: unknown,
            ..query
        },
    ] {
        let state = bench
            .executor
            .state(&"g".into(), query, bench.host.clone())
            .await;
        assert!(state.unwrap().is_none());
    }
    let nowhere = StateQuery {
        thread_id: bench.thread,
        ns: "a:1".to_owned(),
        checkpoint_id: None,
        subgraphs: false,
    };
    let state = bench
        .executor
        .state(&"g".into(), nowhere, bench.host.clone())
        .await;
    assert!(state.is_err());
}
