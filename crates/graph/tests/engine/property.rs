//! Random graphs, stopped at random instants: a resume ends where an undisturbed run does.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use runloom_core::executor::StopKind;
use runloom_core::run::Durability;
use runloom_graph::{CompiledGraph, Node, START};
use serde_json::{Value, json};

use crate::bench::{Bench, Request, ms, word};
use crate::nodes::{input, log_graph, say_after};

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// A graph without circles: each node with its time, and edges to later nodes. A node with several
/// sources is either joined or runs once for each.
#[derive(Clone, Debug)]
struct Shape {
    times: Vec<u64>,
    edges: Vec<(usize, usize)>,
    joined: Vec<bool>,
    /// These nodes are subgraphs of two nodes.
    nested: Vec<bool>,
}

/// What becomes of the attempts: asked to stop so, after so many milliseconds. The last one is not
/// disturbed.
type Stops = Vec<(u64, StopKind)>;

fn shapes() -> impl Strategy<Value = Shape> {
    (2..=NAMES.len()).prop_flat_map(|count| {
        let pairs: Vec<_> = (0..count)
            .flat_map(|from| (from + 1..count).map(move |to| (from, to)))
            .collect();
        let most = pairs.len().min(10);
        (
            prop::collection::vec(1..20_u64, count),
            prop::sample::subsequence(pairs, 0..=most),
            prop::collection::vec(any::<bool>(), count),
            prop::collection::vec(prop::bool::weighted(0.2), count),
        )
            .prop_map(|(times, edges, joined, nested)| Shape {
                times,
                edges,
                joined,
                nested,
            })
    })
}

fn stops() -> impl Strategy<Value = Stops> {
    let kind = prop_oneof![
        Just(StopKind::Interrupt),
        Just(StopKind::Timeout),
        Just(StopKind::Drain),
    ];
    prop::collection::vec((0..60_u64, kind), 1..5)
}

fn durabilities() -> impl Strategy<Value = Durability> {
    prop_oneof![
        Just(Durability::Sync),
        Just(Durability::Async),
        Just(Durability::Exit),
    ]
}

fn node(shape: &Shape, place: usize) -> Node {
    let (name, time) = (NAMES[place], ms(shape.times[place]));
    if !shape.nested[place] {
        return say_after(time, name);
    }
    let inner = log_graph()
        .node("one", say_after(time, name))
        .node("two", say_after(ms(3), "+"))
        .sequence(["one", "two"])
        .compile()
        .unwrap();
    Node::mapped(
        inner,
        |_: Value| json!({}),
        |values| runloom_graph::Update::new().set("log", values["log"].clone()),
    )
}

fn graph(shape: &Shape) -> CompiledGraph {
    let mut graph = log_graph();
    let mut sources: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (from, to) in &shape.edges {
        sources.entry(*to).or_default().push(*from);
    }
    for (place, name) in NAMES.iter().copied().enumerate().take(shape.times.len()) {
        graph = graph.node(name, node(shape, place));
        match sources.get(&place) {
            None => graph = graph.edge(START, name),
            Some(from) if shape.joined[place] => {
                graph = graph.join(from.iter().map(|from| NAMES[*from]), name);
            }
            Some(from) => {
                for from in from {
                    graph = graph.edge(NAMES[*from], name);
                }
            }
        }
    }
    graph.compile().unwrap()
}

async fn undisturbed(shape: &Shape) -> Value {
    let bench = Bench::new(graph(shape));
    let request = Request::input(input()).with(|kwargs| {
        kwargs
            .config
            .insert("recursion_limit".to_owned(), json!(500));
    });
    let outcome = bench.run(&request).await;
    assert_eq!(word(&outcome), "success");
    outcome.head.unwrap().values.to_value()
}

async fn disturbed(shape: &Shape, stops: &Stops, durability: Durability) -> Value {
    let bench = Bench::new(graph(shape));
    let configured = |request: Request| {
        request.durability(durability).with(|kwargs| {
            kwargs
                .config
                .insert("recursion_limit".to_owned(), json!(500));
        })
    };
    let mut request = configured(Request::input(input()));
    for (after, kind) in stops {
        let stop = request.stop_after(Duration::from_millis(*after), *kind);
        let outcome = bench.run(&request).await;
        stop.abort();
        let head = outcome.head.clone().unwrap();
        // What the outcome says is what a reader sees.
        let state = bench.state().await;
        assert_eq!((&head.values, &head.next), (&state.values, &state.next));
        match word(&outcome).as_str() {
            "success" => return head.values.to_value(),
            // A drained run goes on as another attempt of the same run.
            "drained" => request = request.again(),
            "stopped" => request = configured(Request::resume()),
            other => panic!("{other}"),
        }
    }
    let outcome = bench.run(&request).await;
    assert_eq!(word(&outcome), "success");
    outcome.head.unwrap().values.to_value()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_resume_ends_where_an_undisturbed_run_does(
        shape in shapes(),
        stops in stops(),
        durability in durabilities(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (expected, found) = runtime.block_on(async {
            (undisturbed(&shape).await, disturbed(&shape, &stops, durability).await)
        });
        prop_assert_eq!(expected, found);
    }
}
