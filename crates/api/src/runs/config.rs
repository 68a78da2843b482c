//! What a request may say about configuration, context and metadata, and the keys in them that
//! belong to the server.

use runloom_core::ids::ThreadId;
use runloom_core::json::JsonMap;
use runloom_core::partial::CONFIGURABLE_KEY;
use serde_json::Value;
use uuid::Uuid;

use super::RunRefusal;

/// Keys of `configurable` and `context` that only the server sets.
const RESERVED: [&str; 10] = [
    "langgraph_auth_user",
    "langgraph_auth_user_id",
    "langgraph_auth_permissions",
    "langgraph_request_id",
    "__langsmith_project__",
    "__langsmith_example_id__",
    "__request_start_time_ms__",
    "__after_seconds__",
    "__dd_trace_headers__",
    "__context_provided__",
];

/// Beginnings of such keys.
const RESERVED_PREFIXES: [&str; 2] = ["__otel_", "__pregel_node_finished"];

/// Keys of metadata that only the server sets.
const RESERVED_METADATA: [&str; 5] = [
    "thread_id",
    "assistant_id",
    "run_id",
    "cron_id",
    "counters_since_delta_snapshot",
];

/// Keys of `configurable` that mean this run alone, so that later runs of the thread must not
/// inherit them.
const OF_THE_RUN: [&str; 4] = [
    "checkpoint_id",
    "checkpoint_ns",
    "checkpoint_map",
    CONFIGURABLE_KEY,
];

/// What a request says about configuration, checked.
#[derive(Debug)]
pub(super) struct Configuration {
    /// Without what means this run alone.
    pub(super) config: JsonMap,
    /// The static context.
    pub(super) context: Option<JsonMap>,
    /// The keys of `configurable` that mean this run alone.
    pub(super) own: JsonMap,
}

impl Configuration {
    /// Checks what a request says. `thread` is the run's own; none if the run has no thread yet.
    pub(super) fn of(
        mut config: JsonMap,
        context: Option<JsonMap>,
        checkpoint: Option<JsonMap>,
        checkpoint_id: Option<String>,
        thread: Option<ThreadId>,
    ) -> Result<Self, RunRefusal> {
        check_types(&config)?;
        let mut configurable = match config.remove("configurable") {
            Some(Value::Object(configurable)) => configurable,
            _ => JsonMap::new(),
        };
        let mut own = JsonMap::new();
        for key in OF_THE_RUN {
            if let Some(value) = configurable.shift_remove(key) {
                own.insert(key.to_owned(), value);
            }
        }
        own.extend(named_checkpoint(checkpoint, checkpoint_id, thread)?);
        own.retain(|_, value| !value.is_null());
        if let Some(id) = own.get("checkpoint_id") {
            let known = id.as_str().is_some_and(|id| id.parse::<Uuid>().is_ok());
            known.then_some(()).ok_or(RunRefusal::InvalidCheckpoint)?;
        }

        without_reserved(&mut configurable)?;
        let context = match context {
            Some(mut context) => {
                without_reserved(&mut context)?;
                (!context.is_empty()).then_some(context)
            }
            None => None,
        };
        if context.is_some() && !configurable.is_empty() {
            return Err(RunRefusal::BothConfigurations);
        }
        if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
            without_reserved_metadata(metadata);
        }
        config.insert("configurable".to_owned(), Value::Object(configurable));
        Ok(Self {
            config,
            context,
            own,
        })
    }
}

/// Removes from metadata what only the server sets.
pub(super) fn without_reserved_metadata(metadata: &mut JsonMap) {
    metadata.retain(|key, _| !RESERVED_METADATA.contains(&key.as_str()));
}

fn without_reserved(map: &mut JsonMap) -> Result<(), RunRefusal> {
    if let Some(key) = map.keys().find(|key| key.contains('\0')) {
        return Err(RunRefusal::Invalid(format!(
            "{key:?} is not a valid key of configurable: it contains a NUL character"
        )));
    }
    map.retain(|key, _| {
        !RESERVED.contains(&key.as_str())
            && !RESERVED_PREFIXES.iter().any(|start| key.starts_with(start))
    });
    Ok(())
}

/// The keys of `configurable` that a named checkpoint stands for.
fn named_checkpoint(
    checkpoint: Option<JsonMap>,
    id: Option<String>,
    thread: Option<ThreadId>,
) -> Result<JsonMap, RunRefusal> {
    let mut named = checkpoint.unwrap_or_default();
    let foreign = named
        .get("thread_id")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok())
        .filter(|named| thread.is_some_and(|thread| thread != *named));
    if let Some(foreign) = foreign {
        return Err(RunRefusal::ForeignCheckpoint(foreign));
    }
    if let Some(id) = id {
        named.insert("checkpoint_id".to_owned(), Value::String(id));
    }
    named.retain(|key, _| OF_THE_RUN[..3].contains(&key.as_str()));
    Ok(named)
}

/// Checks the parts of `config` that have a type; what else is there is only passed on.
fn check_types(config: &JsonMap) -> Result<(), RunRefusal> {
    let strings =
        |value: &Value| matches!(value, Value::Array(all) if all.iter().all(Value::is_string));
    for (key, value) in config.iter().filter(|(_, value)| !value.is_null()) {
        let (fits, kind) = match key.as_str() {
            "tags" => (strings(value), "a list of strings"),
            "recursion_limit" => (value.is_i64() || value.is_u64(), "an integer"),
            "configurable" | "metadata" => (value.is_object(), "an object"),
            _ => continue,
        };
        if !fits {
            return Err(RunRefusal::Invalid(format!(
                "config.{key} must be {kind}, not {value}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> JsonMap {
        serde_json::from_value(value).unwrap()
    }

    fn configuration(config: Value, context: Option<Value>) -> Result<Configuration, RunRefusal> {
        Configuration::of(map(config), context.map(map), None, None, None)
    }

    #[test]
    fn reserved_keys_are_removed() {
        let config = configuration(
            json!({"configurable": {"a": 1, "langgraph_auth_user": "x", "__otel_trace": 1},
                "metadata": {"run_id": "x", "m": 1}}),
            Some(json!({"__after_seconds__": 1})),
        );
        let config = config.unwrap();
        assert_eq!(
            Value::Object(config.config),
            json!({"metadata": {"m": 1}, "configurable": {"a": 1}})
        );
        assert_eq!(config.context, None);
    }

    #[test]
    fn configurable_and_context_exclude_each_other_unless_one_is_empty() {
        let both = configuration(json!({"configurable": {"a": 1}}), Some(json!({"b": 1})));
        assert_eq!(both.unwrap_err(), RunRefusal::BothConfigurations);
        assert!(configuration(json!({"configurable": {}}), Some(json!({"b": 1}))).is_ok());
        assert!(configuration(json!({"configurable": {"a": 1}}), Some(json!({}))).is_ok());
        // A checkpoint is not a setting.
        let id = Uuid::from_u128(1);
        let fork = json!({"configurable": {"checkpoint_id": id}});
        assert!(configuration(fork, Some(json!({"b": 1}))).is_ok());
    }

    #[test]
    fn what_means_this_run_alone_is_kept_apart() {
        let id = Uuid::from_u128(1).to_string();
        let config = Configuration::of(
            map(json!({"configurable": {"a": 1, "runloom": {"partial": "off"}}})),
            None,
            Some(map(json!({"checkpoint_ns": "", "checkpoint_id": "x"}))),
            Some(id.clone()),
            None,
        );
        let config = config.unwrap();
        assert_eq!(config.config["configurable"], json!({"a": 1}));
        assert_eq!(
            Value::Object(config.own),
            json!({"runloom": {"partial": "off"}, "checkpoint_ns": "", "checkpoint_id": id})
        );
    }

    #[test]
    fn a_checkpoint_must_have_an_id_that_can_be_one_and_be_of_this_thread() {
        let wrong = Configuration::of(JsonMap::new(), None, None, Some("x".to_owned()), None);
        assert_eq!(wrong.unwrap_err(), RunRefusal::InvalidCheckpoint);
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let named = |thread| {
            let checkpoint = Some(map(json!({"thread_id": one})));
            Configuration::of(JsonMap::new(), None, checkpoint, None, Some(thread))
        };
        assert!(named(ThreadId(one)).is_ok());
        let foreign = named(ThreadId(other)).unwrap_err();
        assert_eq!(foreign, RunRefusal::ForeignCheckpoint(ThreadId(one)));
    }

    #[test]
    fn parts_of_a_wrong_type_and_keys_with_nul_are_refused() {
        for wrong in [
            json!({"tags": "a"}),
            json!({"tags": [1]}),
            json!({"recursion_limit": 1.5}),
            json!({"recursion_limit": "1"}),
            json!({"configurable": []}),
            json!({"metadata": 1}),
            json!({"configurable": {"a\u{0}": 1}}),
        ] {
            let refusal = configuration(wrong.clone(), None).unwrap_err();
            assert!(matches!(refusal, RunRefusal::Invalid(_)), "{wrong}");
        }
        assert!(configuration(json!({"recursion_limit": 5, "run_name": 1}), None).is_ok());
    }
}
