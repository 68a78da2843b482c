//! Objects that LangGraph's serializer takes apart: each is a msgpack extension, whose data is again
//! msgpack, `[module, class, what it is made of, …]`.

use rmpv::Value as Packed;
use serde_json::{Value, json};

use super::{ProjectionError, float, key, numbers, plain, shown, times, unpacked};

/// Made by calling the class with one argument.
const ONE_ARGUMENT: i8 = 0;
/// Made by calling the class with a list of arguments.
const ARGUMENTS: i8 = 1;
/// Made by calling the class with arguments by name.
const NAMED_ARGUMENTS: i8 = 2;
/// Made by calling a method of the class with one argument.
const METHOD: i8 = 3;
/// Pydantic models of either version, as their fields.
const MODEL_V1: i8 = 4;
const MODEL_V2: i8 = 5;
/// An array of numbers: `[type, shape, order, bytes]`.
const NUMBERS: i8 = 6;
/// A snapshot of a channel that is otherwise stored as differences: the value itself.
const SNAPSHOT: i8 = 7;

/// The object that extension `code` with `data` stands for. Codes that nobody knows are null, as they are
/// for LangGraph. Its content may be nested `depth` deep.
pub(super) fn project(code: i8, data: &[u8], depth: usize) -> Result<Value, ProjectionError> {
    match code {
        NUMBERS => numbers::project(data, depth),
        SNAPSHOT => shown(data, depth),
        ONE_ARGUMENT | ARGUMENTS | NAMED_ARGUMENTS | METHOD | MODEL_V1 | MODEL_V2 => {
            let object = Object::read(data, depth)?;
            match code {
                ONE_ARGUMENT => Ok(object.of_one_argument()),
                ARGUMENTS => Ok(object.of_arguments()),
                NAMED_ARGUMENTS => Ok(object.of_named_arguments()),
                _ => Ok(object.content),
            }
        }
        _ => Ok(Value::Null),
    }
}

struct Object {
    module: String,
    class: String,
    content: Value,
}

impl Object {
    fn read(data: &[u8], depth: usize) -> Result<Self, ProjectionError> {
        let Packed::Array(parts) = unpacked(data, depth)? else {
            return Err(unknown_form());
        };
        let mut parts = parts.into_iter();
        let mut next = || parts.next().ok_or_else(unknown_form);
        Ok(Self {
            module: key(plain(next()?, depth)?),
            class: key(plain(next()?, depth)?),
            content: plain(next()?, depth)?,
        })
    }

    fn name(&self) -> (&str, &str) {
        (&self.module, &self.class)
    }

    fn of_one_argument(self) -> Value {
        let text = self.content.as_str();
        let shown = match self.name() {
            ("uuid", "UUID") => text.and_then(hyphenated),
            ("decimal", "Decimal") => text.map(decimal),
            // Its text is stored, but must never be shown.
            (_, class) if class.starts_with("Secret") => Some(Value::Null),
            _ => None,
        };
        shown.unwrap_or(self.content)
    }

    fn of_arguments(self) -> Value {
        let arguments = self.content.as_array().map_or(&[][..], Vec::as_slice);
        let shown = match (self.name(), arguments) {
            (("re", "compile"), [pattern, ..]) => Some(pattern.clone()),
            ((module, _), parts) if module.starts_with("pathlib") => path(parts),
            (("datetime", "date"), parts) => times::date(parts),
            (("datetime", "timedelta"), parts) => times::duration(parts),
            (("datetime", "timezone"), parts) => times::zone(parts),
            ((_, "Send"), [node, argument, ..]) => Some(json!({"node": node, "args": argument})),
            _ => None,
        };
        shown.unwrap_or(self.content)
    }

    fn of_named_arguments(mut self) -> Value {
        if self.name() == ("datetime", "time") {
            return times::time_of_day(&self.content).unwrap_or(self.content);
        }
        if let Some(fields) = self.content.as_object_mut() {
            fields.retain(|name, _| !name.starts_with('_'));
        }
        self.content
    }
}

fn unknown_form() -> ProjectionError {
    ProjectionError::Damaged("an object has an unknown form".to_owned())
}

fn hyphenated(hex: &str) -> Option<Value> {
    let id: uuid::Uuid = hex.parse().ok()?;
    Some(id.to_string().into())
}

/// A decimal number; as an integer if it is one.
fn decimal(text: &str) -> Value {
    /// Up to here floating point numbers tell integers apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if let Ok(integer) = text.parse::<i64>() {
        return integer.into();
    }
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "an integer that fits")]
        return (number as i64).into();
    }
    float(number)
}

/// The text of a path; its first part is its root, if it has one.
fn path(parts: &[Value]) -> Option<Value> {
    let parts: Vec<_> = parts.iter().map(Value::as_str).collect::<Option<_>>()?;
    Some(match parts.as_slice() {
        [] => ".".into(),
        ["/", below @ ..] => format!("/{}", below.join("/")).into(),
        parts => parts.join("/").into(),
    })
}
