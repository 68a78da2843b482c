//! What a run's configuration says of this run alone, and how configuration and context go together.

use runloom_core::ids::ThreadId;
use runloom_core::json::JsonMap;
use runloom_core::partial::CONFIGURABLE_KEY;
use serde_json::Value;
use uuid::Uuid;

use super::RunRefusal;

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
        if let Some(id) = own.get_mut("checkpoint_id") {
            let uuid: Option<Uuid> = id.as_str().and_then(|id| id.parse().ok());
            let uuid = uuid.ok_or(RunRefusal::InvalidCheckpoint)?;
            // In the form that they are stored in, so that texts can be compared.
            *id = Value::String(uuid.to_string());
        }

        let context = context.filter(|context| !context.is_empty());
        if context.is_some() && !configurable.is_empty() {
            return Err(RunRefusal::BothConfigurations);
        }
        config.insert("configurable".to_owned(), Value::Object(configurable));
        Ok(Self {
            config,
            context,
            own,
        })
    }
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
}
