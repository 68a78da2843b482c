//! What runs when, and what becomes of updates.

use runloom_core::executor::Ended;
use runloom_core::json::JsonMap;
use runloom_graph::{
    Channel, Command, END, Node, NodeContext, NodeResult, START, Send, StateGraph, Update,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bench::{Bench, Request, ms, word};
use crate::nodes::{input, log_graph, say, say_after};

#[tokio::test(start_paused = true)]
async fn nodes_run_one_after_the_other_and_each_superstep_is_a_checkpoint() {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .sequence(["a", "b"]);
    let bench = Bench::new(graph.compile().unwrap());
    assert_eq!(
        bench.succeed(input()).await,
        json!({"log": ["in", "a", "b"]})
    );
    assert_eq!(bench.steps(), ["input -1", "loop 0", "loop 1", "loop 2"]);
    let stored = bench.stored();
    for pair in stored.windows(2) {
        assert_eq!(
            pair[1].checkpoint.parent.as_ref(),
            Some(&pair[0].checkpoint.id)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_typed_state_needs_no_declarations_but_for_what_merges() {
    #[derive(Deserialize, schemars::JsonSchema)]
    struct State {
        count: i64,
        #[serde(default)]
        log: Vec<String>,
    }
    #[derive(Serialize)]
    struct Change {
        count: i64,
        log: String,
    }
    async fn add(state: State, _: NodeContext) -> NodeResult {
        let log = format!("{} before", state.log.len());
        Ok(Update::of(Change {
            count: state.count + 1,
            log,
        }))
    }
    let graph = StateGraph::of::<State>().channel("log", Channel::append());
    let graph = graph
        .node("a", add)
        .node("b", add)
        .sequence(["a", "b"])
        .compile()
        .unwrap();
    let values = Bench::new(graph).succeed(json!({"count": 5})).await;
    assert_eq!(values, json!({"count": 7, "log": ["0 before", "1 before"]}));
}

#[tokio::test(start_paused = true)]
async fn branches_run_side_by_side_and_their_updates_are_applied_in_the_order_of_names() {
    let graph = log_graph()
        .node("b", say_after(ms(1), "b"))
        .node("a", say_after(ms(9), "a"))
        .node("end", say("end"))
        .edge(START, "a")
        .edge(START, "b")
        .join(["a", "b"], "end");
    let bench = Bench::new(graph.compile().unwrap());
    let started = tokio::time::Instant::now();
    assert_eq!(
        bench.succeed(input()).await,
        json!({"log": ["in", "a", "b", "end"]})
    );
    assert_eq!(started.elapsed(), ms(9));
}

#[tokio::test(start_paused = true)]
async fn a_join_waits_for_branches_of_different_length() {
    let graph = log_graph()
        .node("short", say("short"))
        .node("long1", say("long1"))
        .node("long2", say("long2"))
        .node("end", say("end"))
        .edge(START, "short")
        .edge(START, "long1")
        .edge("long1", "long2")
        .join(["short", "long2"], "end");
    let values = Bench::new(graph.compile().unwrap()).succeed(input()).await;
    assert_eq!(
        values,
        json!({"log": ["in", "long1", "short", "long2", "end"]})
    );
}

#[tokio::test(start_paused = true)]
async fn conditional_edges_see_what_their_node_wrote() {
    let route = |state: Value| match state["log"].as_array().unwrap().len() {
        2 => "again",
        _ => END,
    };
    let graph = log_graph()
        .node("first", say("first"))
        .node("again", say("again"))
        .edge(START, "first")
        .conditional_edges("first", route, ["again", END]);
    let values = Bench::new(graph.compile().unwrap()).succeed(input()).await;
    assert_eq!(values, json!({"log": ["in", "first", "again"]}));
}

#[tokio::test(start_paused = true)]
async fn a_command_fans_out_to_tasks_with_inputs_of_their_own() {
    #[derive(Deserialize)]
    struct Part {
        number: i64,
    }
    async fn fan(_: Value, _: NodeContext) -> NodeResult<Command> {
        let command = Command::new().update(json!({"log": ["fan"]}));
        let send = |number| Send::new("work", json!({"number": number}));
        Ok(command.goto(send(2)).goto(send(1)).goto("beside"))
    }
    let work = async |part: Part, _: NodeContext| -> NodeResult {
        tokio::time::sleep(ms(10 - part.number.unsigned_abs())).await;
        Ok(Update::new().set("log", format!("work {}", part.number)))
    };
    let graph = log_graph()
        .node("fan", fan)
        .node("work", Node::new(work))
        .node("beside", say("beside"))
        .edge(START, "fan");
    let bench = Bench::new(graph.compile().unwrap());
    let values = bench.succeed(input()).await;
    // Nodes come first, sent tasks after them in the order in which they were sent.
    let log = ["in", "fan", "beside", "work 2", "work 1"];
    assert_eq!(values, json!({"log": log}));
    let history = bench.history().await;
    assert_eq!(history[1].next, ["work", "work", "beside"]);
    assert_eq!(history[1].tasks[1].path, json!(["__pregel_push", 1, false]));
}

#[tokio::test(start_paused = true)]
async fn two_values_for_a_plain_channel_fail_the_run_and_leave_the_state() {
    async fn set(_: Value, context: NodeContext) -> NodeResult<Value> {
        Ok(json!({"one": context.node()}))
    }
    let graph = StateGraph::new()
        .channel("one", Channel::last_value())
        .node("a", set)
        .node("b", set)
        .edge(START, "a")
        .edge(START, "b");
    let bench = Bench::new(graph.compile().unwrap());
    let outcome = bench.run(&Request::input(json!({"one": "in"}))).await;
    assert_eq!(word(&outcome), "failed InvalidUpdateError");
    assert_eq!(bench.steps(), ["input -1", "loop 0"]);
}

#[tokio::test(start_paused = true)]
async fn what_no_channel_takes_is_refused_of_nodes_and_left_out_of_inputs() {
    async fn wrong(_: JsonMap, _: NodeContext) -> NodeResult<Value> {
        Ok(json!({"lgo": ["x"]}))
    }
    let graph = log_graph().node("a", wrong).sequence(["a"]);
    let bench = Bench::new(graph.compile().unwrap());
    let outcome = bench
        .run(&Request::input(json!({"log": ["in"], "zzz": 1})))
        .await;
    let Ended::Failed(error) = outcome.ended else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.error, "InvalidUpdateError");
    assert!(error.message.contains("lgo"), "{error:?}");
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in"]})
    );
}

#[tokio::test(start_paused = true)]
async fn a_graph_that_goes_in_circles_is_stopped_at_the_limit() {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .sequence(["a", "b"]);
    let graph = graph.edge("b", "a").compile().unwrap();
    let bench = Bench::new(graph);
    let limit = |limit: u64| {
        Request::input(input()).with(|kwargs| {
            kwargs
                .config
                .insert("recursion_limit".to_owned(), json!(limit));
        })
    };
    let outcome = bench.run(&limit(4)).await;
    assert_eq!(word(&outcome), "failed GraphRecursionError");
    let head = outcome.head.unwrap();
    assert_eq!(
        head.values.to_value(),
        json!({"log": ["in", "a", "b", "a", "b"]})
    );
    assert_eq!(head.next, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_chain_as_long_as_the_limit_comes_to_its_end() {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .sequence(["a", "b"]);
    let bench = Bench::new(graph.compile().unwrap());
    let request = Request::input(input()).with(|kwargs| {
        kwargs.config.insert("recursion_limit".to_owned(), json!(2));
    });
    assert_eq!(word(&bench.run(&request).await), "success");
}

#[tokio::test(start_paused = true)]
async fn outputs_show_only_their_fields_and_inputs_set_only_theirs() {
    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Question {
        question: String,
    }
    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Answer {
        answer: String,
    }
    async fn answer(state: Value, _: NodeContext) -> NodeResult<Value> {
        Ok(json!({"answer": state["question"], "notes": state.get("answer").is_none()}))
    }
    let graph = StateGraph::new()
        .channel("question", Channel::last_value())
        .channel("answer", Channel::last_value())
        .channel("notes", Channel::last_value())
        .input::<Question>()
        .output::<Answer>()
        .node("reply", answer)
        .sequence(["reply"]);
    let bench = Bench::new(graph.compile().unwrap());
    let values = bench
        .succeed(json!({"question": "q", "answer": "mine"}))
        .await;
    assert_eq!(values, json!({"answer": "q"}));
    assert_eq!(
        bench.state().await.values.to_value(),
        json!({"answer": "q"})
    );
    let stored = bench.stored().pop().unwrap();
    assert_eq!(stored.channels["notes"].data, "true");
}
