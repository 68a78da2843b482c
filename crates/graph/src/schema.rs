//! JSON Schemas of states, inputs and outputs.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use runloom_core::executor::GraphSchemas;
use runloom_core::json::Json;

use crate::compiled::{CompiledGraph, Graph};
use crate::node::Node;

/// The schema of `T`.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    SchemaGenerator::default()
        .into_root_schema_for::<T>()
        .to_value()
}

/// The names of an object schema's properties.
pub(crate) fn properties(schema: &Value) -> Option<Vec<String>> {
    let properties = schema.get("properties")?.as_object()?;
    Some(properties.keys().cloned().collect())
}

/// All schemas of a graph. What was not given as a type is drawn from its channels.
pub(crate) fn schemas(graph: &Graph) -> GraphSchemas {
    let given = &graph.schemas;
    let state = given.state.clone().unwrap_or_else(|| of_channels(graph));
    let or_state = |schema: &Option<Value>| Json::from_value(schema.as_ref().unwrap_or(&state));
    GraphSchemas {
        input_schema: Some(or_state(&given.input)),
        output_schema: Some(or_state(&given.output)),
        state_schema: Some(Json::from_value(&state)),
        config_schema: given.config.as_ref().map(Json::from_value),
        context_schema: given.context.as_ref().map(Json::from_value),
    }
}

/// The schemas of the graphs in nodes, by namespace; of all levels if `recurse`.
pub(crate) fn subgraphs(graph: &CompiledGraph, recurse: bool) -> Vec<(String, GraphSchemas)> {
    let mut found = Vec::new();
    for (name, node) in nodes(graph) {
        let Some(subgraph) = node.as_subgraph() else {
            continue;
        };
        found.push((name.to_owned(), schemas(subgraph.graph.parts())));
        if recurse {
            let inner = subgraphs(&subgraph.graph, true);
            found.extend(
                inner
                    .into_iter()
                    .map(|(ns, of)| (format!("{name}|{ns}"), of)),
            );
        }
    }
    found
}

fn nodes(graph: &CompiledGraph) -> impl Iterator<Item = (&str, &Node)> {
    let parts = graph.parts();
    parts
        .order
        .iter()
        .map(|name| (name.as_str(), &parts.nodes[name]))
}

fn of_channels(graph: &Graph) -> Value {
    let properties: serde_json::Map<_, _> = graph
        .channels
        .iter()
        .map(|(name, channel)| (name.clone(), channel.schema()))
        .collect();
    json!({"title": "State", "type": "object", "properties": properties})
}
