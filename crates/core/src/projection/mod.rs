//! Stored values as JSON, without the language that wrote them.
//!
//! Only its own runtime can bring a stored value back to life, but anybody may look at it: the worker
//! reads messages from finished tasks, and the gateway shows values while no executor is there. What
//! comes out is what the executor itself would have shown to clients, as far as that can be told from
//! the bytes: a custom string of a class, say, cannot.

mod numbers;
mod objects;
mod times;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmpv::Value as Packed;
use serde_json::{Map, Number, Value};

use crate::checkpoint::{Blob, CheckpointTuple};
use crate::json::JsonMap;

/// How deeply values may be nested. The parsers of JSON that clients use stop there as well.
const DEEPEST: usize = 128;

/// Why a stored value cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProjectionError {
    /// It is encoded in a way that only its own runtime can read.
    #[error("values of kind {0:?} are opaque")]
    Opaque(String),
    /// The bytes are not what their kind says.
    #[error("a stored value is damaged: {0}")]
    Damaged(String),
}

/// The value of `blob` as JSON. Null, `json`, `msgpack` as LangGraph writes it, and bytes (as base64) are
/// understood; NaN and infinities become null.
pub fn to_json(blob: &Blob) -> Result<Value, ProjectionError> {
    match blob.kind.as_str() {
        "null" => Ok(Value::Null),
        "json" => serde_json::from_slice(&blob.data).map_err(|error| damaged(&error)),
        "msgpack" => shown(&blob.data, DEEPEST),
        "bytes" | "bytearray" => Ok(base64(&blob.data)),
        other => Err(ProjectionError::Opaque(other.to_owned())),
    }
}

/// The values of a checkpoint's channels as JSON, without those that belong to the runtime and those
/// that cannot be read. Pending writes are not applied.
pub fn values(tuple: &CheckpointTuple) -> JsonMap {
    let own = tuple.channels.iter().filter(|(name, _)| !is_internal(name));
    own.filter_map(|(name, blob)| Some((name.clone(), to_json(blob).ok()?)))
        .collect()
}

/// Whether a channel is one that runtimes make for themselves.
fn is_internal(channel: &str) -> bool {
    channel.starts_with("__") || channel.contains(':')
}

/// Unpacks a value that may be nested `depth` deep, and shows it.
fn shown(data: &[u8], depth: usize) -> Result<Value, ProjectionError> {
    plain(unpacked(data, depth)?, depth)
}

fn unpacked(data: &[u8], depth: usize) -> Result<Packed, ProjectionError> {
    let mut rest = data;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, depth);
    let value = value.map_err(|error| damaged(&error))?;
    if !rest.is_empty() {
        return Err(ProjectionError::Damaged("bytes follow its end".to_owned()));
    }
    Ok(value)
}

fn plain(value: Packed, depth: usize) -> Result<Value, ProjectionError> {
    let below = depth.saturating_sub(1);
    Ok(match value {
        Packed::Nil => Value::Null,
        Packed::Boolean(flag) => flag.into(),
        Packed::Integer(number) => integer(number),
        Packed::F32(number) => float(number.into()),
        Packed::F64(number) => float(number),
        Packed::String(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        Packed::Binary(bytes) => base64(&bytes),
        Packed::Array(items) => {
            let items = items.into_iter().map(|item| plain(item, below));
            items.collect::<Result<_, _>>()?
        }
        Packed::Map(entries) => {
            let entries = entries
                .into_iter()
                .map(|(name, value)| Ok((key(plain(name, below)?), plain(value, below)?)));
            Value::Object(entries.collect::<Result<Map<_, _>, ProjectionError>>()?)
        }
        Packed::Ext(code, data) => objects::project(code, &data, below)?,
    })
}

/// A key as text: what is no text is written as JSON, as clients get it.
fn key(key: Value) -> String {
    match key {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn integer(number: rmpv::Integer) -> Value {
    let signed = number.as_i64().map(Number::from);
    let number = signed.or_else(|| number.as_u64().map(Number::from));
    number.map_or(Value::Null, Value::Number)
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

fn damaged(error: &dyn std::fmt::Display) -> ProjectionError {
    ProjectionError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(kind: &str, data: &[u8]) -> Blob {
        Blob {
            kind: kind.to_owned(),
            data: data.to_vec().into(),
        }
    }

    #[test]
    fn what_only_its_runtime_can_read_is_refused() {
        let pickled = to_json(&blob("pickle", b"\x80\x04."));
        assert_eq!(pickled, Err(ProjectionError::Opaque("pickle".to_owned())));
    }

    #[test]
    fn damaged_values_are_refused() {
        let cut = [0x93, 0x01];
        let doubled = [0x01, 0x01];
        let empty_object = [0xd4, 0x05, 0x90];
        for data in [&cut[..], &doubled, &empty_object, b""] {
            let projected = to_json(&blob("msgpack", data));
            assert!(
                matches!(projected, Err(ProjectionError::Damaged(_))),
                "{data:x?}: {projected:?}"
            );
        }
        assert!(to_json(&blob("json", b"{")).is_err());
    }

    #[test]
    fn values_nested_beyond_reason_are_refused() {
        let mut lists = vec![0x91; 1 << 20];
        lists.push(0xc0);
        assert!(to_json(&blob("msgpack", &lists)).is_err());
        // Each object is unpacked on its own.
        let mut objects = vec![0xc0];
        for _ in 0..1_000 {
            let length = u32::try_from(objects.len()).unwrap().to_be_bytes();
            objects = [&[0xc9][..], &length, &[0x07], &objects].concat();
        }
        assert!(to_json(&blob("msgpack", &objects)).is_err());
    }
}
