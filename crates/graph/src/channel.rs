//! Channels: the named slots of a graph's state, and how updates change their values.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use runloom_core::message;
use serde_json::{Value, json};

use crate::task::panic_message;

/// Why a channel does not take an update.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// No such channel.
    #[error("the graph has no channel named {0:?}")]
    UnknownChannel(String),
    /// Two nodes of one superstep wrote to a channel that holds one value.
    #[error(
        "channel {0:?} can take one value in a superstep; give it a reducer to take more than one"
    )]
    TooManyValues(String),
    /// The reducer refused the value.
    #[error("channel {channel:?} refuses the update: {reason}")]
    Refused {
        /// The channel.
        channel: String,
        /// What is wrong.
        reason: String,
    },
}

type Reducer = Arc<dyn Fn(Option<&Value>, &Value) -> Result<Value, String> + Send + Sync>;

/// How a channel combines updates with its value.
#[derive(Clone)]
pub struct Channel {
    kind: Kind,
    default: Option<Value>,
}

#[derive(Clone)]
enum Kind {
    LastValue,
    Append,
    Messages,
    Reduce(Reducer),
}

impl Channel {
    /// Holds the value written last; refuses two values in one superstep.
    pub fn last_value() -> Self {
        Self::of(Kind::LastValue, None)
    }

    /// Holds a list. A list is appended to it item by item, anything else as one item.
    pub fn append() -> Self {
        Self::of(Kind::Append, Some(Value::Array(Vec::new())))
    }

    /// Holds chat messages, merged by their ids ([`runloom_core::message::add_messages`]).
    pub fn messages() -> Self {
        Self::of(Kind::Messages, Some(Value::Array(Vec::new())))
    }

    /// Holds what `reduce` makes of the value so far and each update. An error is shown to whoever
    /// made the update.
    pub fn reduce(
        reduce: impl Fn(Option<&Value>, &Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        Self::of(Kind::Reduce(Arc::new(reduce)), None)
    }

    /// The value before anything was written.
    pub fn starting_with(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    fn of(kind: Kind, default: Option<Value>) -> Self {
        Self { kind, default }
    }

    pub(crate) fn default_value(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    pub(crate) fn holds_messages(&self) -> bool {
        matches!(self.kind, Kind::Messages)
    }

    /// A JSON Schema for graphs whose state is not a type.
    pub(crate) fn schema(&self) -> Value {
        match self.kind {
            Kind::Append => json!({"type": "array"}),
            Kind::Messages => json!({"type": "array", "items": {"type": "object"}}),
            Kind::LastValue | Kind::Reduce(_) => json!({}),
        }
    }

    /// The update in the form in which it is stored: chat messages get their ids now, so that they
    /// keep them however often the update is applied.
    pub(crate) fn normalised(&self, name: &str, update: Value) -> Result<Value, UpdateError> {
        match self.kind {
            Kind::Messages => message::coerce_all(&update)
                .map(Value::Array)
                .map_err(|error| refused(name, &error)),
            _ => Ok(update),
        }
    }

    /// The value after `updates`, in order.
    pub(crate) fn apply(
        &self,
        name: &str,
        current: Option<&Value>,
        updates: &[&Value],
    ) -> Result<Value, UpdateError> {
        let start = current.or(self.default.as_ref());
        match &self.kind {
            Kind::LastValue => match updates {
                [one] => Ok((*one).clone()),
                _ => Err(UpdateError::TooManyValues(name.to_owned())),
            },
            Kind::Append => {
                let mut list = as_list(start);
                for update in updates {
                    list.extend(as_list(Some(update)));
                }
                Ok(Value::Array(list))
            }
            Kind::Messages => {
                let mut merged = as_list(start);
                for update in updates {
                    merged = message::add_messages(&merged, update)
                        .map_err(|error| refused(name, &error))?;
                }
                Ok(Value::Array(merged))
            }
            Kind::Reduce(reduce) => {
                let mut value = start.cloned();
                for update in updates {
                    // The reducer is user code, and must not take the engine down with it.
                    let next = catch_unwind(AssertUnwindSafe(|| reduce(value.as_ref(), update)));
                    let next = next.unwrap_or_else(|panic| {
                        Err(format!("the reducer panicked: {}", panic_message(&*panic)))
                    });
                    value = Some(next.map_err(|reason| refused(name, &reason))?);
                }
                Ok(value.unwrap_or_default())
            }
        }
    }
}

fn as_list(value: Option<&Value>) -> Vec<Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
    }
}

fn refused(channel: &str, reason: &impl fmt::Display) -> UpdateError {
    UpdateError::Refused {
        channel: channel.to_owned(),
        reason: reason.to_string(),
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::LastValue => "last_value",
            Kind::Append => "append",
            Kind::Messages => "messages",
            Kind::Reduce(_) => "reduce",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plain_channel_takes_one_value_in_a_superstep() {
        let channel = Channel::last_value();
        assert_eq!(
            channel.apply("x", Some(&json!(1)), &[&json!(2)]),
            Ok(json!(2))
        );
        assert_eq!(
            channel.apply("x", None, &[&json!(1), &json!(2)]),
            Err(UpdateError::TooManyValues("x".to_owned()))
        );
    }

    #[test]
    fn lists_are_appended_item_by_item() {
        let channel = Channel::append();
        let value = channel.apply("log", None, &[&json!(["a", "b"]), &json!("c")]);
        assert_eq!(value, Ok(json!(["a", "b", "c"])));
    }

    #[test]
    fn a_reducer_sees_the_value_so_far_and_may_refuse() {
        let sum = Channel::reduce(|old, new| {
            let new = new.as_i64().ok_or("not a number")?;
            Ok(json!(old.and_then(Value::as_i64).unwrap_or(0) + new))
        })
        .starting_with(10);
        assert_eq!(sum.apply("n", None, &[&json!(1), &json!(2)]), Ok(json!(13)));
        let refusal = sum.apply("n", None, &[&json!("x")]).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "channel \"n\" refuses the update: not a number"
        );
    }

    #[test]
    fn a_reducer_that_panics_refuses() {
        let broken = Channel::reduce(|_, _| panic!("no way"));
        let refusal = broken.apply("n", None, &[&json!(1)]).unwrap_err();
        assert!(refusal.to_string().contains("no way"), "{refusal}");
    }

    #[test]
    fn messages_keep_the_id_they_were_given_when_the_update_was_made() {
        let channel = Channel::messages();
        let update = channel.normalised("messages", json!({"role": "user", "content": "hi"}));
        let update = update.unwrap();
        let once = channel.apply("messages", None, &[&update]).unwrap();
        let twice = channel.apply("messages", Some(&once), &[&update]).unwrap();
        assert_eq!(once, twice);
        assert_eq!(once.as_array().map(Vec::len), Some(1));
    }
}
