//! What a client's command asks for.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::command::Goto;
use crate::error::{Interrupt, NodeError};
use crate::state::place;

/// A command as clients send it: `{update?, goto?, resume?}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct InputCommand {
    pub(crate) update: Vec<(String, Value)>,
    pub(crate) goto: Vec<Goto>,
    pub(crate) resume: Option<Value>,
}

impl InputCommand {
    /// Reads a command. What is absent or `null` asks for nothing.
    pub(crate) fn parse(command: Value) -> Result<Self, NodeError> {
        let Value::Object(mut fields) = command else {
            return Err(invalid(&format!(
                "a command must be an object, not {command}"
            )));
        };
        let mut take = |key: &str| fields.remove(key).filter(|value| !value.is_null());
        Ok(Self {
            update: take("update").map(update).transpose()?.unwrap_or_default(),
            goto: take("goto").map(goto).transpose()?.unwrap_or_default(),
            resume: take("resume"),
        })
    }

    /// Whether it changes the state or where to go next.
    pub(crate) fn redirects(&self) -> bool {
        !self.update.is_empty() || !self.goto.is_empty()
    }
}

/// An object of channels, or a list of pairs.
pub(crate) fn update(value: Value) -> Result<Vec<(String, Value)>, NodeError> {
    match value {
        Value::Object(fields) => Ok(fields.into_iter().collect()),
        Value::Array(pairs) => pairs.into_iter().map(pair).collect(),
        other => Err(invalid(&format!(
            "an update must be an object, not {other}"
        ))),
    }
}

fn pair(value: Value) -> Result<(String, Value), NodeError> {
    serde_json::from_value(value).map_err(|_| {
        invalid("an update that is a list must be made of pairs of a channel and a value")
    })
}

/// A place or a list of places.
fn goto(value: Value) -> Result<Vec<Goto>, NodeError> {
    let places = match value {
        Value::Array(places) => places,
        one => vec![one],
    };
    let places = places.into_iter().map(place);
    places
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(&error.to_string()))
}

fn invalid(text: &str) -> NodeError {
    NodeError::new("InvalidUpdateError", text)
}

/// The answers by interrupt that `resume` gives to the `pending` interrupts: it is a map of ids, or
/// the answer to the only one.
pub(super) fn answers(
    resume: &Value,
    pending: &[Interrupt],
) -> Result<BTreeMap<String, Value>, NodeError> {
    if let Value::Object(fields) = resume
        && !fields.is_empty()
        && fields.keys().all(|key| is_interrupt_id(key))
    {
        return Ok(fields.clone().into_iter().collect());
    }
    match pending {
        [] => Ok(BTreeMap::new()),
        [only] => Ok(BTreeMap::from([(only.id.clone(), resume.clone())])),
        several => {
            let text = format!(
                "{} interrupts are pending; the answers must name them by their ids",
                several.len()
            );
            Err(NodeError::new("RuntimeError", text))
        }
    }
}

/// Whether a text has the form of an interrupt's id.
fn is_interrupt_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::Send;
    use crate::context::interrupt_id;

    fn pending(count: usize) -> Vec<Interrupt> {
        let interrupt = |index| Interrupt {
            value: json!("?"),
            id: interrupt_id("ask:1", index),
        };
        (0..count).map(interrupt).collect()
    }

    #[test]
    fn commands_are_read_in_all_their_forms() {
        let command = json!({
            "update": [["log", "a"], ["n", 1]],
            "goto": ["x", {"node": "y", "input": {"i": 1}}],
            "resume": null,
        });
        let expected = InputCommand {
            update: vec![("log".into(), json!("a")), ("n".into(), json!(1))],
            goto: vec!["x".into(), Send::new("y", json!({"i": 1})).into()],
            resume: None,
        };
        assert_eq!(InputCommand::parse(command).unwrap(), expected);
        let one = InputCommand::parse(json!({"goto": "x", "update": {"n": 1}})).unwrap();
        assert_eq!(one.goto, vec!["x".into()]);
        for wrong in [
            json!(1),
            json!({"goto": 5}),
            json!({"update": "x"}),
            json!({"update": [1]}),
        ] {
            assert!(InputCommand::parse(wrong).is_err());
        }
    }

    #[test]
    fn a_bare_answer_needs_exactly_one_question() {
        let (none, one, two) = (pending(0), pending(1), pending(2));
        assert_eq!(answers(&json!("yes"), &none).unwrap(), BTreeMap::new());
        let given = answers(&json!({"ok": true}), &one).unwrap();
        assert_eq!(
            given,
            BTreeMap::from([(one[0].id.clone(), json!({"ok": true}))])
        );
        assert!(answers(&json!("yes"), &two).is_err());
        let by_id = json!({two[1].id.clone(): "b"});
        assert_eq!(answers(&by_id, &two).unwrap().len(), 1);
    }
}
