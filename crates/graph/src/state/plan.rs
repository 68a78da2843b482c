//! What runs next: decided when writes are applied, and kept in the checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::builder::{END, START};
use crate::command::{Goto, Send};
use crate::compiled::Graph;

/// What a checkpoint says about the future. This is the checkpoint's head, in JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The tasks of the next superstep, in the order in which clients see them.
    pub(crate) next: Vec<Planned>,
    /// Which nodes each waiting join has seen, by [`Join::key`](crate::compiled::Join::key).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) joins: BTreeMap<String, BTreeSet<String>>,
    /// The nodes whose updates made this checkpoint.
    #[serde(default)]
    pub(crate) ran: Vec<String>,
}

/// A task to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Planned {
    /// The input is still to be applied.
    Start,
    /// A node gets the state.
    Node { name: String, triggers: Vec<String> },
    /// A node gets an input of its own.
    Sent { name: String, input: Value },
}

impl Plan {
    /// Only the input is to be applied.
    pub(crate) fn start() -> Self {
        Self {
            next: vec![Planned::Start],
            ..Self::default()
        }
    }

    /// Adds places to go, each node at most once.
    pub(crate) fn go(&mut self, places: impl IntoIterator<Item = Goto>) {
        for place in places {
            match place {
                Goto::Node(name) if name == END => {}
                Goto::Node(name) => {
                    let trigger = format!("branch:to:{name}");
                    self.trigger(name, trigger);
                }
                Goto::Send(Send { node: name, input }) => {
                    // Sent tasks come first, in the order in which they were sent.
                    let sent = |planned: &&Planned| matches!(planned, Planned::Sent { .. });
                    let place = self.next.iter().take_while(sent).count();
                    self.next.insert(place, Planned::Sent { name, input });
                }
            }
        }
    }

    fn trigger(&mut self, node: String, trigger: String) {
        for planned in &mut self.next {
            if let Planned::Node { name, triggers } = planned
                && *name == node
            {
                if !triggers.contains(&trigger) {
                    triggers.push(trigger);
                }
                return;
            }
        }
        let before = |planned: &&Planned| match planned {
            Planned::Node { name, .. } => *name < node,
            Planned::Start | Planned::Sent { .. } => true,
        };
        let place = self.next.iter().take_while(before).count();
        let triggers = vec![trigger];
        self.next.insert(
            place,
            Planned::Node {
                name: node,
                triggers,
            },
        );
    }
}

/// The plan after `done` nodes ran, each with the places that it and its conditional edges chose.
/// `waiting` is what joins have seen before.
pub(crate) fn plan_after<'a>(
    graph: &Graph,
    waiting: &BTreeMap<String, BTreeSet<String>>,
    done: impl IntoIterator<Item = (&'a str, &'a [Goto])>,
) -> Plan {
    let mut plan = Plan {
        joins: waiting.clone(),
        ..Plan::default()
    };
    for (node, places) in done {
        let edges = graph.edges.get(node).into_iter().flatten();
        plan.go(edges.map(|to| Goto::Node(to.clone())));
        plan.go(places.iter().cloned());
        for join in graph.joins.iter().filter(|join| join.from.contains(node)) {
            let seen = plan.joins.entry(join.key()).or_default();
            seen.insert(node.to_owned());
            if *seen == join.from {
                plan.joins.remove(&join.key());
                if join.to != END {
                    plan.trigger(join.to.clone(), format!("join:{}", join.key()));
                }
            }
        }
        if !plan.ran.iter().any(|ran| ran == node) {
            plan.ran.push(node.to_owned());
        }
    }
    plan
}

impl Planned {
    /// The node.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Start => START,
            Self::Node { name, .. } | Self::Sent { name, .. } => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Channel, NodeContext, NodeResult, START, StateGraph};

    fn names(plan: &Plan) -> Vec<&str> {
        plan.next.iter().map(Planned::name).collect()
    }

    #[test]
    fn sent_tasks_keep_their_order_and_come_before_nodes_which_run_once_in_the_order_of_names() {
        let mut plan = Plan::default();
        let send = |number| Goto::Send(Send::new("w", json!(number)));
        plan.go([
            "b".into(),
            send(2),
            "a".into(),
            send(1),
            "b".into(),
            END.into(),
        ]);
        assert_eq!(names(&plan), ["w", "w", "a", "b"]);
        let Planned::Sent { input, .. } = &plan.next[0] else {
            panic!("{plan:?}");
        };
        assert_eq!(input, &json!(2));
    }

    #[test]
    fn a_join_remembers_whom_it_has_seen_until_it_fires() {
        async fn noop(_: Value, _: NodeContext) -> NodeResult<()> {
            Ok(())
        }
        let graph = StateGraph::new().channel("x", Channel::last_value());
        let graph = graph.node("a", noop).node("b", noop).node("c", noop);
        let graph = graph
            .edge(START, "a")
            .join(["a", "b"], "c")
            .compile()
            .unwrap();
        let graph = graph.parts();
        let first = plan_after(graph, &BTreeMap::new(), [("a", &[][..])]);
        assert!(first.next.is_empty());
        let again = plan_after(graph, &first.joins, [("a", &[][..])]);
        assert_eq!(again.joins, first.joins);
        let stored: Plan = serde_json::from_value(json!(again)).unwrap();
        let fired = plan_after(graph, &stored.joins, [("b", &[][..])]);
        assert_eq!(names(&fired), ["c"]);
        assert!(fired.joins.is_empty());
    }
}
