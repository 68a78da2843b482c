//! The graphs that a file names. Whether there is one where it says turns out when they are loaded.

use std::collections::BTreeMap;
use std::path::Path;

use runloom_core::json::JsonMap;
use serde_json::Value;

use super::error::{Findings, Level};

/// Where a graph is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphSource {
    /// `file.py:name`, relative to the project's root or absolute, or `package.module:name`.
    pub path: String,
    /// For people.
    pub description: Option<String>,
}

/// How files of JavaScript and TypeScript end.
const OF_JAVASCRIPT: [&str; 8] = ["js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts"];

/// The graphs of the key `graphs`. What is wrong with one of them is noted; the others are read.
pub(super) fn read(
    value: Option<&Value>,
    findings: &mut Findings,
) -> BTreeMap<String, GraphSource> {
    let mut graphs = BTreeMap::new();
    let Some(object) = value
        .and_then(Value::as_object)
        .filter(|object| !object.is_empty())
    else {
        let example = r#"{"agent": "./agent.py:graph"}"#;
        findings.broken(
            "graphs",
            format!("must name at least one graph, such as {example}"),
        );
        return graphs;
    };
    let mut javascript = 0;
    for (id, value) in object {
        let key = format!("graphs.{id}");
        let Some(graph) = source(&key, value, findings) else {
            continue;
        };
        match check(&graph.path) {
            Ok(()) => {
                graphs.insert(id.clone(), graph);
            }
            Err(Flaw::JavaScript) => {
                javascript += 1;
                let why = format!("`{}` is JavaScript, which is not served yet", graph.path);
                findings.unsupported(Level::Warning, &key, why);
            }
            Err(Flaw::Broken(why)) => findings.broken(&key, why),
        }
    }
    if javascript == object.len() {
        findings.broken("graphs", "none of them is written in Python");
    }
    graphs
}

fn source(key: &str, value: &Value, findings: &mut Findings) -> Option<GraphSource> {
    match value {
        Value::String(path) => Some(GraphSource {
            path: path.clone(),
            description: None,
        }),
        Value::Object(object) => described(key, object, findings),
        _ => {
            findings.broken(
                key,
                "must be \"file.py:name\" or {\"path\": \"file.py:name\"}",
            );
            None
        }
    }
}

fn described(key: &str, object: &JsonMap, findings: &mut Findings) -> Option<GraphSource> {
    for unknown in object
        .keys()
        .filter(|key| !matches!(key.as_str(), "path" | "description"))
    {
        findings.warn(&format!("{key}.{unknown}"), "not a known key of a graph");
    }
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let Some(path) = text("path") else {
        findings.broken(key, "has no `path`");
        return None;
    };
    let description = text("description").filter(|text| !text.is_empty());
    Some(GraphSource { path, description })
}

enum Flaw {
    JavaScript,
    Broken(String),
}

fn check(path: &str) -> Result<(), Flaw> {
    let Some((place, name)) = path.rsplit_once(':').filter(|(place, _)| !place.is_empty()) else {
        // A file of JavaScript may leave the name out, so its kind is looked at first.
        return Err(if is_javascript(path) {
            Flaw::JavaScript
        } else {
            Flaw::Broken(format!(
                "`{path}` does not say which object is the graph: `{path}:name`"
            ))
        });
    };
    if is_javascript(place) {
        return Err(Flaw::JavaScript);
    }
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || "_.".contains(c));
    if !is_name {
        return Err(Flaw::Broken(format!(
            "`{name}` in `{path}` is not a name of Python"
        )));
    }
    Ok(())
}

fn is_javascript(place: &str) -> bool {
    OF_JAVASCRIPT
        .iter()
        .any(|extension| has_extension(place, extension))
}

fn has_extension(place: &str, extension: &str) -> bool {
    Path::new(place)
        .extension()
        .is_some_and(|its| its.eq_ignore_ascii_case(extension))
}
