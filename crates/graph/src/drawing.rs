//! Graphs as drawings, `{nodes, edges}`.

use std::collections::BTreeSet;

use runloom_core::json::Json;
use serde::Serialize;
use serde_json::{Value, json};

use crate::builder::{END, START};
use crate::compiled::{CompiledGraph, Graph};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Edge {
    source: String,
    target: String,
    #[serde(skip_serializing_if = "is_false")]
    conditional: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

impl Edge {
    fn new(source: &str, target: &str, conditional: bool) -> Self {
        Self {
            source: source.to_owned(),
            target: target.to_owned(),
            conditional,
        }
    }
}

/// The drawing of `graph`, with subgraphs unfolded `xray` levels deep.
pub(crate) fn drawing(graph: &CompiledGraph, xray: u32) -> Json {
    let (nodes, edges) = draw(graph, xray);
    let mut shown = vec![node(START, "Start", &Value::Null)];
    shown.extend(nodes);
    shown.push(node(END, "End", &Value::Null));
    Json::from_value(&json!({"nodes": shown, "edges": edges}))
}

fn node(id: &str, kind: &str, metadata: &Value) -> Value {
    let mut node = json!({
        "id": id,
        "type": "runnable",
        "data": {"id": ["runloom", "graph", kind], "name": id},
    });
    if metadata
        .as_object()
        .is_some_and(|metadata| !metadata.is_empty())
    {
        node["metadata"] = metadata.clone();
    }
    node
}

/// The nodes without START and END, and all edges.
fn draw(graph: &CompiledGraph, xray: u32) -> (Vec<Value>, BTreeSet<Edge>) {
    let parts = graph.parts();
    let mut nodes = Vec::new();
    let mut edges = edges(parts);
    for name in &parts.order {
        let part = &parts.nodes[name];
        let metadata = Value::Object(part.metadata.clone());
        match part.as_subgraph() {
            Some(subgraph) if xray > 0 => {
                let (inner_nodes, inner_edges) = draw(&subgraph.graph, xray - 1);
                nodes.extend(inner_nodes.into_iter().map(|node| prefixed(name, node)));
                edges = unfolded(name, edges, &inner_edges);
            }
            Some(_) => nodes.push(node(name, "CompiledGraph", &metadata)),
            None => nodes.push(node(name, "Node", &metadata)),
        }
    }
    (nodes, edges)
}

fn edges(graph: &Graph) -> BTreeSet<Edge> {
    let mut edges = BTreeSet::new();
    for (from, targets) in &graph.edges {
        edges.extend(targets.iter().map(|to| Edge::new(from, to, false)));
    }
    for join in &graph.joins {
        edges.extend(
            join.from
                .iter()
                .map(|from| Edge::new(from, &join.to, false)),
        );
    }
    for (from, branch) in graph.branches.iter().flat_map(|(from, all)| {
        let from = from.as_str();
        all.iter().map(move |branch| (from, branch))
    }) {
        let anywhere = graph.order.iter().map(String::as_str).chain([END]);
        let named = branch.targets.iter().map(String::as_str);
        if branch.targets.is_empty() {
            edges.extend(anywhere.map(|to| Edge::new(from, to, true)));
        } else {
            edges.extend(named.map(|to| Edge::new(from, to, true)));
        }
    }
    for (from, node) in &graph.nodes {
        let destinations = node.destinations.iter();
        edges.extend(destinations.map(|to| Edge::new(from, to, true)));
    }
    let leads_nowhere = |name: &&String| !edges.iter().any(|edge| edge.source == **name);
    let last: Vec<_> = graph.order.iter().filter(leads_nowhere).collect();
    edges.extend(last.into_iter().map(|from| Edge::new(from, END, false)));
    edges
}

fn prefixed(outer: &str, mut node: Value) -> Value {
    let id = format!("{outer}:{}", node["id"].as_str().unwrap_or_default());
    node["data"]["name"] = json!(id);
    node["id"] = json!(id);
    node
}

/// The edges with the node `outer` replaced by the graph that it runs: what led to it leads to the
/// graph's first nodes, what came from it comes from its last ones.
fn unfolded(outer: &str, edges: BTreeSet<Edge>, inner: &BTreeSet<Edge>) -> BTreeSet<Edge> {
    let inside = |name: &str| format!("{outer}:{name}");
    let first = || {
        inner
            .iter()
            .filter(|edge| edge.source == START && edge.target != END)
    };
    let last = || {
        inner
            .iter()
            .filter(|edge| edge.target == END && edge.source != START)
    };
    let mut unfolded = BTreeSet::new();
    for edge in edges {
        let to_here = edge.target == outer;
        let sources: Vec<(String, bool)> = if edge.source == outer {
            last()
                .map(|last| (inside(&last.source), last.conditional))
                .collect()
        } else {
            vec![(edge.source.clone(), false)]
        };
        let targets: Vec<(String, bool)> = if to_here {
            first()
                .map(|first| (inside(&first.target), first.conditional))
                .collect()
        } else {
            vec![(edge.target.clone(), false)]
        };
        for (source, from_choice) in &sources {
            for (target, to_choice) in &targets {
                let conditional = edge.conditional || *from_choice || *to_choice;
                unfolded.insert(Edge::new(source, target, conditional));
            }
        }
    }
    let within = inner
        .iter()
        .filter(|edge| edge.source != START && edge.target != END);
    unfolded.extend(within.map(|edge| {
        Edge::new(
            &inside(&edge.source),
            &inside(&edge.target),
            edge.conditional,
        )
    }));
    unfolded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Channel, NodeContext, NodeResult, StateGraph, Update};

    async fn noop(_: Value, _: NodeContext) -> NodeResult {
        Ok(Update::new())
    }

    fn inner() -> CompiledGraph {
        let graph = StateGraph::new().channel("log", Channel::append());
        let graph = graph
            .node("pre", noop)
            .node("ask", noop)
            .sequence(["pre", "ask"]);
        graph.compile().unwrap()
    }

    fn outer() -> CompiledGraph {
        StateGraph::new()
            .channel("log", Channel::append())
            .node("child", inner())
            .node("x", noop)
            .node("y", noop)
            .conditional_edges(START, |_: Value| "child", ["child", "x", END])
            .join(["child", "x"], "y")
            .compile()
            .unwrap()
    }

    fn drawn(xray: u32) -> (Vec<String>, Vec<String>) {
        let drawing = drawing(&outer(), xray).to_value();
        let list = |key: &str| drawing[key].as_array().unwrap().clone();
        let nodes = list("nodes")
            .iter()
            .map(|n| n["id"].as_str().unwrap().to_owned())
            .collect();
        let edge = |edge: &Value| {
            let arrow = if edge["conditional"] == true {
                "-?"
            } else {
                "->"
            };
            format!(
                "{}{arrow}{}",
                edge["source"].as_str().unwrap(),
                edge["target"].as_str().unwrap()
            )
        };
        (nodes, list("edges").iter().map(edge).collect())
    }

    #[test]
    fn edges_joins_and_choices_are_drawn_and_last_nodes_lead_to_the_end() {
        let (nodes, edges) = drawn(0);
        assert_eq!(nodes, ["__start__", "child", "x", "y", "__end__"]);
        let expected = [
            "__start__-?__end__",
            "__start__-?child",
            "__start__-?x",
            "child->y",
            "x->y",
            "y->__end__",
        ];
        assert_eq!(edges, expected);
    }

    #[test]
    fn an_unfolded_subgraph_is_entered_at_its_first_node_and_left_from_its_last() {
        let (nodes, edges) = drawn(1);
        assert_eq!(
            nodes,
            ["__start__", "child:pre", "child:ask", "x", "y", "__end__"]
        );
        let expected = [
            "__start__-?__end__",
            "__start__-?child:pre",
            "__start__-?x",
            "child:ask->y",
            "child:pre->child:ask",
            "x->y",
            "y->__end__",
        ];
        assert_eq!(edges, expected);
    }
}
