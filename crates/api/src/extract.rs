//! Picking single values out of threads that were searched for, by alias and path.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The most values that one search may pick.
const MAX: usize = 10;

/// Where a path may begin.
const ROOTS: &[&str] = &["values", "metadata", "config", "interrupts"];

/// What to pick: paths such as `values.messages[-1].content`, by alias.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(try_from = "BTreeMap<String, String>")]
#[schema(value_type = BTreeMap<String, String>)]
pub struct Extract(Vec<(String, Vec<Step>)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    /// Negative numbers count from the end.
    Index(i64),
}

/// Why nothing can be picked so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExtract {
    /// There are too many.
    #[error("extract takes at most {MAX} paths")]
    TooMany,
    /// An alias is not an identifier.
    #[error(
        "extract: alias {0:?} must be letters, digits and underscores, not beginning with a digit"
    )]
    Alias(String),
    /// A path leads nowhere.
    #[error("extract: path {0:?} must begin with one of {ROOTS:?}, followed by .key or [index]")]
    Path(String),
}

impl TryFrom<BTreeMap<String, String>> for Extract {
    type Error = InvalidExtract;

    fn try_from(paths: BTreeMap<String, String>) -> Result<Self, InvalidExtract> {
        if paths.len() > MAX {
            return Err(InvalidExtract::TooMany);
        }
        let parse = |(alias, path): (String, String)| {
            if !is_identifier(&alias) {
                return Err(InvalidExtract::Alias(alias));
            }
            match steps(&path) {
                Some(steps) => Ok((alias, steps)),
                None => Err(InvalidExtract::Path(path)),
            }
        };
        paths
            .into_iter()
            .map(parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Extract {
    /// What the paths lead to in `thread`; null where they lead nowhere.
    pub fn of(&self, thread: &Value) -> BTreeMap<String, Value> {
        let pick = |steps: &[Step]| {
            let found = steps.iter().try_fold(thread, |value, step| step.of(value));
            found.cloned().unwrap_or(Value::Null)
        };
        let picked = self.0.iter();
        picked
            .map(|(alias, steps)| (alias.clone(), pick(steps)))
            .collect()
    }
}

impl Step {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Key(key) => value.get(key),
            Self::Index(index) => {
                let items = value.as_array()?;
                let back = usize::try_from(index.unsigned_abs()).ok()?;
                let place = if *index < 0 {
                    items.len().checked_sub(back)?
                } else {
                    back
                };
                items.get(place)
            }
        }
    }
}

fn is_identifier(alias: &str) -> bool {
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    alias.chars().all(word)
        && !alias.starts_with(|first: char| first.is_ascii_digit())
        && !alias.is_empty()
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (key, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
        if key.is_empty() {
            return None;
        }
        steps.push(Step::Key(key.to_owned()));
        let mut rest = indexes;
        while !rest.is_empty() {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = after;
        }
    }
    match steps.first()? {
        Step::Key(root) if ROOTS.contains(&root.as_str()) => Some(steps),
        Step::Key(_) | Step::Index(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn extract(value: Value) -> Result<Extract, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn paths_lead_through_keys_and_indexes_from_both_ends() {
        let thread = json!({"values": {"messages": [{"content": "a"}, {"content": "b"}]}});
        let paths = extract(json!({
            "first": "values.messages[0].content",
            "last": "values.messages[-1].content",
            "beyond": "values.messages[-3]",
            "missing": "metadata.x",
        }));
        assert_eq!(
            json!(paths.unwrap().of(&thread)),
            json!({"first": "a", "last": "b", "beyond": null, "missing": null})
        );
    }

    #[test]
    fn bad_aliases_paths_and_too_many_are_refused() {
        for wrong in [
            json!({"1a": "values"}),
            json!({"": "values"}),
            json!({"a-b": "values"}),
            json!({"a": "status"}),
            json!({"a": "values."}),
            json!({"a": "values[x]"}),
            json!({"a": "values[0"}),
            json!({"a": ""}),
        ] {
            assert!(extract(wrong.clone()).is_err(), "{wrong}");
        }
        let many: BTreeMap<_, _> = (0..11).map(|n| (format!("a{n}"), "values")).collect();
        assert!(extract(json!(many)).is_err());
    }
}
