//! An input becomes writes to channels, and START's edges say what runs first.

use runloom_core::json::JsonMap;
use serde_json::Value;

use crate::builder::START;
use crate::channel::UpdateError;
use crate::compiled::Graph;
use crate::error::NodeError;
use crate::node::Values;
use crate::state::{self, Finished};

/// The part of `input` that `graph` takes, in the form in which it is stored: chat messages have
/// their ids.
pub(crate) fn accepted_input(graph: &Graph, input: Value) -> Result<Value, NodeError> {
    let Value::Object(fields) = input else {
        let text = format!("the input must be an object of channels, not {input}");
        return Err(NodeError::new("InvalidUpdateError", text));
    };
    let taken = fields
        .into_iter()
        .filter(|(name, _)| graph.takes_input(name));
    let taken: Result<JsonMap, UpdateError> = taken
        .map(|(name, value)| {
            let value = graph.normalised(&name, value)?;
            Ok((name, value))
        })
        .collect();
    Ok(Value::Object(
        taken.map_err(|error| state::refused(&error))?,
    ))
}

/// What applying the accepted `input` to `values` does.
pub(crate) fn start_writes(
    graph: &Graph,
    values: &Values,
    input: &Value,
) -> Result<Finished, NodeError> {
    let fields = input.as_object().cloned().unwrap_or_default();
    let writes: Vec<_> = fields.into_iter().collect();
    let places = state::routes(graph, START, values, &writes)?;
    Ok(Finished { writes, places })
}
