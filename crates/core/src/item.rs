//! Items: entries of the long-term memory, which the wire calls the store.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::{Json, JsonMap};

/// An entry of the long-term memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Where it is: labels without dots, from the outside in.
    pub namespace: Vec<String>,
    /// Its name in the namespace.
    pub key: String,
    /// A JSON object.
    pub value: Json,
    /// When it was first put.
    pub created_at: DateTime<Utc>,
    /// When it was last put.
    pub updated_at: DateTime<Utc>,
}

/// Which items to find; ordered by last change, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemSearch {
    /// Only items below this namespace.
    pub prefix: Vec<String>,
    /// Conditions on top-level keys of the value: equality, or `{"$eq"|"$ne"|"$gt"|…: x}`.
    pub filter: JsonMap,
    /// At most so many.
    pub limit: u32,
    /// After skipping so many.
    pub offset: u32,
}

/// Which namespaces to list, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceSearch {
    /// They begin with these labels; `*` stands for any one label.
    pub prefix: Vec<String>,
    /// They end with these labels; `*` stands for any one label.
    pub suffix: Vec<String>,
    /// Cut to so many labels, without doubles.
    pub max_depth: Option<usize>,
    /// At most so many.
    pub limit: u32,
    /// After skipping so many.
    pub offset: u32,
}

impl ItemSearch {
    /// Whether an item in `namespace` with `value` is among those searched for.
    pub fn matches(&self, namespace: &[String], value: &Value) -> bool {
        namespace.starts_with(&self.prefix)
            && self
                .filter
                .iter()
                .all(|(key, condition)| holds(value.get(key), condition))
    }
}

impl NamespaceSearch {
    /// Whether `namespace`, uncut, is among those searched for.
    pub fn matches(&self, namespace: &[String]) -> bool {
        let fits = |labels: &[String], pattern: &[String]| {
            labels
                .iter()
                .zip(pattern)
                .all(|(label, pattern)| pattern == "*" || pattern == label)
        };
        let Some(skipped) = namespace.len().checked_sub(self.suffix.len()) else {
            return false;
        };
        namespace.len() >= self.prefix.len()
            && fits(namespace, &self.prefix)
            && fits(&namespace[skipped..], &self.suffix)
    }
}

/// Whether a value (none if its key is missing) meets a condition.
fn holds(value: Option<&Value>, condition: &Value) -> bool {
    let operators = condition
        .as_object()
        .filter(|map| !map.is_empty() && map.keys().all(|key| key.starts_with('$')));
    let Some(operators) = operators else {
        return value == Some(condition);
    };
    operators.iter().all(|(operator, operand)| {
        let order = value.and_then(|value| compare(value, operand));
        match operator.as_str() {
            "$eq" => value == Some(operand),
            "$ne" => value != Some(operand),
            "$gt" => order.is_some_and(Ordering::is_gt),
            "$gte" => order.is_some_and(Ordering::is_ge),
            "$lt" => order.is_some_and(Ordering::is_lt),
            "$lte" => order.is_some_and(Ordering::is_le),
            _ => false,
        }
    })
}

/// Numbers compare with numbers and texts with texts; nothing else has an order.
fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn search(filter: &Value) -> ItemSearch {
        ItemSearch {
            prefix: vec!["a".to_owned()],
            filter: filter.as_object().unwrap().clone(),
            limit: 1,
            offset: 0,
        }
    }

    fn labels(text: &str) -> Vec<String> {
        text.split_terminator('.').map(str::to_owned).collect()
    }

    #[test]
    fn conditions_compare_equal_kinds_only() {
        let value = json!({"n": 5, "t": "b", "o": {"$x": 1, "y": 2}});
        let yes = [
            json!({"n": 5}),
            json!({"n": {"$gt": 4, "$lte": 5}}),
            json!({"t": {"$gte": "b", "$lt": "c"}}),
            json!({"missing": {"$ne": 1}}),
            json!({"o": {"$x": 1, "y": 2}}),
        ];
        let no = [
            json!({"n": {"$gt": "4"}}),
            json!({"missing": {"$lt": 1}}),
            json!({"t": {"$like": "b"}}),
            json!({"n": 5, "t": "x"}),
        ];
        for filter in yes {
            assert!(search(&filter).matches(&labels("a.b"), &value), "{filter}");
        }
        for filter in no {
            assert!(!search(&filter).matches(&labels("a.b"), &value), "{filter}");
        }
        assert!(!search(&json!({})).matches(&labels("b.a"), &value));
    }

    #[test]
    fn namespaces_match_at_both_ends_with_stars_for_one_label() {
        let search = NamespaceSearch {
            prefix: labels("users.*"),
            suffix: labels("*.notes"),
            ..NamespaceSearch::default()
        };
        assert!(search.matches(&labels("users.u1.notes")));
        assert!(search.matches(&labels("users.notes")));
        assert!(!search.matches(&labels("users")));
        assert!(!search.matches(&labels("teams.u1.notes")));
        assert!(!search.matches(&labels("users.u1.drafts")));
    }
}
