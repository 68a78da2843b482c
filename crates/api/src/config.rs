//! Configuration and context as callers send them: of an assistant, or of a run.

use runloom_core::json::JsonMap;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Keys that only the server may set. They are silently left out of what callers send.
const RESERVED: &[&str] = &[
    "langgraph_auth_user",
    "langgraph_auth_user_id",
    "langgraph_auth_permissions",
    "langgraph_request_id",
    "__langsmith_project__",
    "__langsmith_example_id__",
    "__request_start_time_ms__",
    "__after_seconds__",
    "__dd_trace_headers__",
    "__pregel_node_finished",
    "__context_provided__",
];

/// The same for every key that begins so.
const RESERVED_PREFIX: &str = "__otel_";

/// Keys of metadata that only the server may set.
const RESERVED_METADATA: &[&str] = &[
    "thread_id",
    "assistant_id",
    "run_id",
    "cron_id",
    "counters_since_delta_snapshot",
];

/// What is wrong with a configuration or a context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// A field has another type than it must have.
    #[error("config.{0} must be {1}")]
    Type(&'static str, &'static str),
    /// Databases cannot store such a key.
    #[error("keys must not contain NUL characters: {0:?}")]
    Nul(String),
}

/// `{tags?, recursion_limit?, configurable?, …}`, checked and without reserved keys.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(try_from = "JsonMap")]
#[schema(value_type = Object)]
pub struct Config(JsonMap);

impl Config {
    /// The configuration as it is stored.
    pub fn into_map(self) -> JsonMap {
        self.0
    }
}

impl TryFrom<JsonMap> for Config {
    type Error = InvalidConfig;

    fn try_from(mut config: JsonMap) -> Result<Self, InvalidConfig> {
        // A null is the same as nothing.
        config.retain(|_, value| !value.is_null());
        let strings = |value: &Value| {
            let items = value.as_array();
            items.is_some_and(|items| items.iter().all(Value::is_string))
        };
        check(&config, "tags", "a list of strings", strings)?;
        check(&config, "recursion_limit", "an integer", |value| {
            value.is_i64() || value.is_u64()
        })?;
        check(&config, "metadata", "an object", Value::is_object)?;
        check(&config, "configurable", "an object", Value::is_object)?;
        if let Some(Value::Object(configurable)) = config.get_mut("configurable") {
            open(configurable)?;
        }
        if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
            strip_metadata(metadata);
        }
        Ok(Self(config))
    }
}

fn check(
    config: &JsonMap,
    key: &'static str,
    form: &'static str,
    is_right: impl Fn(&Value) -> bool,
) -> Result<(), InvalidConfig> {
    match config.get(key) {
        Some(value) if !is_right(value) => Err(InvalidConfig::Type(key, form)),
        _ => Ok(()),
    }
}

/// Static context of a run, checked and without reserved keys.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(try_from = "JsonMap")]
#[schema(value_type = Object)]
pub struct Context(JsonMap);

impl Context {
    /// The context as it is stored.
    pub fn into_map(self) -> JsonMap {
        self.0
    }
}

impl TryFrom<JsonMap> for Context {
    type Error = InvalidConfig;

    fn try_from(mut context: JsonMap) -> Result<Self, InvalidConfig> {
        open(&mut context)?;
        Ok(Self(context))
    }
}

/// Checks and cleans a map with keys of the caller's own.
fn open(map: &mut JsonMap) -> Result<(), InvalidConfig> {
    if let Some(key) = map.keys().find(|key| key.contains('\0')) {
        return Err(InvalidConfig::Nul(key.clone()));
    }
    map.retain(|key, _| !RESERVED.contains(&key.as_str()) && !key.starts_with(RESERVED_PREFIX));
    Ok(())
}

/// Leaves out of `metadata` what only the server may set on a run or an assistant.
pub fn strip_metadata(metadata: &mut JsonMap) {
    metadata.retain(|key, _| !RESERVED_METADATA.contains(&key.as_str()));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(value: Value) -> Result<Value, String> {
        let config: Result<Config, _> = serde_json::from_value(value);
        config
            .map(|config| Value::Object(config.into_map()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn reserved_keys_are_left_out_and_others_kept() {
        let sent = json!({
            "configurable": {"langgraph_auth_user": 1, "__otel_x": 1, "mine": 1},
            "metadata": {"run_id": "x", "mine": 1},
            "max_concurrency": 2,
            "tags": null,
        });
        let kept = json!({
            "configurable": {"mine": 1},
            "metadata": {"mine": 1},
            "max_concurrency": 2,
        });
        assert_eq!(config(sent), Ok(kept));
    }

    #[test]
    fn wrong_types_and_nul_characters_are_refused() {
        for wrong in [
            json!({"tags": "a"}),
            json!({"tags": [1]}),
            json!({"recursion_limit": "5"}),
            json!({"recursion_limit": 5.5}),
            json!({"configurable": []}),
            json!({"configurable": {"a\0b": 1}}),
        ] {
            assert!(config(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(serde_json::from_value::<Context>(json!({"a\0b": 1})).is_err());
    }
}
