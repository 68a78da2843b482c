//! The places of the next superstep's tasks: names that stay the same whenever it runs again.

use std::sync::Arc;

use runloom_core::ids::CheckpointId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::plan::Planned;
use super::snapshot::Snapshot;
use crate::node::Input;

/// The namespace of task ids.
const TASKS: Uuid = Uuid::from_u128(0x8d1c_47f3_52ab_5e90_b3f6_0a7c_9e24_d518);

/// Where a task stands.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// The task's id.
    pub(crate) id: String,
    /// The node.
    pub(crate) name: String,
    /// As clients see it.
    pub(crate) path: Vec<Value>,
    /// Why it runs.
    pub(crate) triggers: Vec<String>,
    /// What it gets.
    pub(crate) input: Input,
    /// Its own namespace, where the checkpoints of its subgraph are.
    pub(crate) ns: String,
}

impl Slot {
    /// The path as pending writes are ordered by it.
    pub(crate) fn path_text(&self) -> String {
        let part = |part: &Value| match part {
            Value::String(text) => text.clone(),
            Value::Number(number) => format!("{number:0>10}"),
            other => other.to_string(),
        };
        let parts: Vec<_> = self.path.iter().take(2).map(part).collect();
        format!("~{}", parts.join(", "))
    }
}

/// The slots of the superstep after `at`, in namespace `ns`.
pub(crate) fn slots(at: &Snapshot, ns: &str) -> Vec<Slot> {
    let state = Arc::new(at.values.clone());
    let mut sent = 0;
    let slot = |planned: &Planned| {
        let (path, triggers, input) = match planned {
            Planned::Start => (
                vec![json!("__pregel_pull"), json!(planned.name())],
                vec![planned.name().to_owned()],
                Input::Sent(at.input.clone().unwrap_or_default()),
            ),
            Planned::Node { name, triggers } => (
                vec![json!("__pregel_pull"), json!(name)],
                triggers.clone(),
                Input::State(state.clone()),
            ),
            Planned::Sent { input, .. } => {
                sent += 1;
                (
                    vec![json!("__pregel_push"), json!(sent - 1), json!(false)],
                    vec!["__pregel_push".to_owned()],
                    Input::Sent(Arc::new(input.clone())),
                )
            }
        };
        let id = task_id(&at.id, ns, at.step + 1, planned.name(), &path);
        Slot {
            ns: below(ns, planned.name(), &id),
            name: planned.name().to_owned(),
            id,
            path,
            triggers,
            input,
        }
    };
    at.plan.next.iter().map(slot).collect()
}

fn task_id(checkpoint: &CheckpointId, ns: &str, step: i64, node: &str, path: &[Value]) -> String {
    let name = json!([checkpoint, ns, step, node, path]).to_string();
    Uuid::new_v5(&TASKS, name.as_bytes()).to_string()
}

/// The namespace of a task in the graph with namespace `ns`.
fn below(ns: &str, node: &str, task: &str) -> String {
    let own = format!("{node}:{task}");
    if ns.is_empty() {
        own
    } else {
        format!("{ns}|{own}")
    }
}
