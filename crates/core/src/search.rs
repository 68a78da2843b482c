//! What can be searched for, and in which order.

use serde::{Deserialize, Serialize};

use crate::ids::{AssistantId, GraphId, ThreadId};
use crate::json::JsonMap;
use crate::run::RunStatus;
use crate::thread::ThreadStatus;

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many.
    pub limit: u32,
    /// After skipping so many.
    pub offset: u32,
}

/// The direction of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortOrder {
    /// Smallest first.
    Asc,
    /// Greatest first.
    #[default]
    Desc,
}

/// What threads can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each names the field it orders by")]
pub enum ThreadSort {
    ThreadId,
    Status,
    CreatedAt,
    #[default]
    UpdatedAt,
    StateUpdatedAt,
}

/// Which threads; empty conditions hold for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadFilter {
    /// Only these.
    pub ids: Option<Vec<ThreadId>>,
    /// Their metadata contains this (JSON containment, see [`contains`]).
    pub metadata: JsonMap,
    /// Their values contain this.
    pub values: JsonMap,
    /// They stand here.
    pub status: Option<ThreadStatus>,
}

/// What assistants can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each names the field it orders by")]
pub enum AssistantSort {
    AssistantId,
    #[default]
    CreatedAt,
    UpdatedAt,
    Name,
    GraphId,
}

/// Which assistants; empty conditions hold for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssistantFilter {
    /// Their metadata contains this.
    pub metadata: JsonMap,
    /// They run this graph.
    pub graph_id: Option<GraphId>,
    /// Their name contains this, whatever the case.
    pub name: Option<String>,
}

/// Which runs of a thread; newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// They stand here.
    pub status: Option<RunStatus>,
}

/// Which runs to cancel.
#[derive(Clone, Debug, PartialEq)]
pub enum CancelSelection {
    /// All that are pending.
    Pending,
    /// All that are running.
    Running,
    /// All that are pending or running.
    All,
    /// These of one thread.
    Runs(ThreadId, Vec<crate::ids::RunId>),
}

/// Which versions of an assistant; newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionFilter {
    /// The assistant.
    pub id: AssistantId,
    /// Their metadata contains this.
    pub metadata: JsonMap,
}

/// JSON containment as Postgres' `@>` has it: objects contain objects key by key, arrays contain
/// arrays whose every element is contained in some element, and scalars are equal. An array also
/// contains a bare scalar among its elements.
pub fn contains(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Object};
    match (whole, part) {
        (Object(whole), Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part))),
        (Array(whole), Array(part)) => part
            .iter()
            .all(|part| whole.iter().any(|whole| contains(whole, part))),
        (Array(whole), part) if !part.is_object() => whole.contains(part),
        (whole, part) => whole == part,
    }
}

/// Whether the object `whole` contains the object `part`.
pub fn map_contains(whole: &JsonMap, part: &JsonMap) -> bool {
    part.iter()
        .all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containment_is_that_of_postgres() {
        assert!(contains(
            &json!({"a": 1, "b": {"c": 2, "d": 3}}),
            &json!({"b": {"c": 2}})
        ));
        assert!(contains(&json!([1, [2, 3]]), &json!([[3]])));
        assert!(contains(&json!(["a", "b"]), &json!("a")));
        assert!(!contains(&json!({"a": 1}), &json!({"a": 2})));
        assert!(!contains(&json!({"a": null}), &json!({"b": null})));
        assert!(!contains(&json!("a"), &json!(["a"])));
    }
}
