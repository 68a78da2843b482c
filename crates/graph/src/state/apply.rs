//! Writes become values, and conditional edges choose places.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::Value;

use crate::builder::END;
use crate::channel::UpdateError;
use crate::command::Goto;
use crate::compiled::Graph;
use crate::error::NodeError;
use crate::node::{Input, Values};
use crate::task::panic_message;

/// Applies `writes`, in order, and says which channels changed.
pub(crate) fn apply<'a>(
    graph: &Graph,
    values: &mut Values,
    writes: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> Result<BTreeSet<String>, UpdateError> {
    let mut by_channel: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for (channel, value) in writes {
        by_channel.entry(channel).or_default().push(value);
    }
    for (name, updates) in &by_channel {
        let channel = graph.channels.get(*name);
        let channel = channel.ok_or_else(|| UpdateError::UnknownChannel((*name).to_owned()))?;
        let current = values.get(*name).map(|value| &**value);
        let value = channel.apply(name, current, updates)?;
        values.insert((*name).to_owned(), Arc::new(value));
    }
    Ok(by_channel.into_keys().map(str::to_owned).collect())
}

/// The places that the conditional edges of `node` choose from the state after its own `writes`.
pub(crate) fn routes(
    graph: &Graph,
    node: &str,
    values: &Values,
    writes: &[(String, Value)],
) -> Result<Vec<Goto>, NodeError> {
    let Some(branches) = graph.branches.get(node) else {
        return Ok(Vec::new());
    };
    let mut values = values.clone();
    let writes = writes
        .iter()
        .map(|(channel, value)| (channel.as_str(), value));
    apply(graph, &mut values, writes).map_err(|error| refused(&error))?;
    let input = Input::State(Arc::new(values));
    let mut places = Vec::new();
    for branch in branches {
        let chosen = catch_unwind(AssertUnwindSafe(|| (branch.route)(&input)));
        let chosen = chosen.unwrap_or_else(|panic| {
            let reason = panic_message(&*panic);
            let text = format!("the conditional edge after {node:?} panicked: {reason}");
            Err(NodeError::new("Panic", text))
        })?;
        places.extend(chosen);
    }
    check(graph, node, &places)?;
    Ok(places)
}

/// Refuses places that are no nodes.
pub(crate) fn check(graph: &Graph, node: &str, places: &[Goto]) -> Result<(), NodeError> {
    for place in places {
        let (Goto::Node(name) | Goto::Send(crate::command::Send { node: name, .. })) = place;
        if name != END && !graph.nodes.contains_key(name) {
            let text = format!("{node:?} goes to {name:?}, which is no node");
            return Err(NodeError::new("InvalidUpdateError", text));
        }
    }
    Ok(())
}

/// A refused update as a failure.
pub(crate) fn refused(error: &UpdateError) -> NodeError {
    NodeError::new("InvalidUpdateError", error.to_string())
}
