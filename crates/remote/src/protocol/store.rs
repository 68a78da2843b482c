//! The messages of the long-term memory.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::JsonBytes;

/// The body of `store`; answered with one answer for each operation, in the same order: a [`StoredItem`]
/// or nil for `get`, a list of items for `search`, a list of namespaces for `namespaces`, otherwise nil.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StoreRequest {
    /// What to do, in this order.
    pub ops: Vec<StoreOp>,
}

/// One operation, a list that begins with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// `["get", ns, key]`
    Get {
        /// The namespace.
        ns: Vec<String>,
        /// The key.
        key: String,
    },
    /// `["put", ns, key, json]`
    Put {
        /// The namespace.
        ns: Vec<String>,
        /// The key.
        key: String,
        /// The value, an object.
        value: JsonBytes,
    },
    /// `["delete", ns, key]`
    Delete {
        /// The namespace.
        ns: Vec<String>,
        /// The key.
        key: String,
    },
    /// `["search", prefix, filter, limit, offset]`
    Search {
        /// How the namespaces begin.
        prefix: Vec<String>,
        /// An object that says what values must have.
        filter: JsonBytes,
        /// The most items.
        limit: u32,
        /// How many items to skip.
        offset: u32,
    },
    /// `["namespaces", prefix, suffix, max_depth?, limit, offset]`
    Namespaces {
        /// How they begin.
        prefix: Vec<String>,
        /// How they end.
        suffix: Vec<String>,
        /// Cut to this many parts.
        max_depth: Option<u32>,
        /// The most namespaces.
        limit: u32,
        /// How many to skip.
        offset: u32,
    },
}

/// An item of the store, `[ns, key, json, created_at, updated_at]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredItem(
    /// The namespace.
    pub Vec<String>,
    /// The key.
    pub String,
    /// The value.
    pub JsonBytes,
    /// When it was first written, RFC 3339.
    pub String,
    /// When it was last written, RFC 3339.
    pub String,
);

impl<'de> Deserialize<'de> for StoreOp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OpVisitor)
    }
}

struct OpVisitor;

impl<'de> Visitor<'de> for OpVisitor {
    type Value = StoreOp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list that begins with the name of an operation")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<StoreOp, A::Error> {
        let name: String = next(&mut parts)?;
        match name.as_str() {
            "get" => Ok(StoreOp::Get {
                ns: next(&mut parts)?,
                key: next(&mut parts)?,
            }),
            "put" => Ok(StoreOp::Put {
                ns: next(&mut parts)?,
                key: next(&mut parts)?,
                value: next(&mut parts)?,
            }),
            "delete" => Ok(StoreOp::Delete {
                ns: next(&mut parts)?,
                key: next(&mut parts)?,
            }),
            "search" => Ok(StoreOp::Search {
                prefix: next(&mut parts)?,
                filter: next(&mut parts)?,
                limit: next(&mut parts)?,
                offset: next(&mut parts)?,
            }),
            "namespaces" => Ok(StoreOp::Namespaces {
                prefix: next(&mut parts)?,
                suffix: next(&mut parts)?,
                max_depth: next(&mut parts)?,
                limit: next(&mut parts)?,
                offset: next(&mut parts)?,
            }),
            other => Err(A::Error::custom(format!("no operation named {other}"))),
        }
    }
}

fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(parts: &mut A) -> Result<T, A::Error> {
    parts
        .next_element()?
        .ok_or_else(|| A::Error::custom("the operation is too short"))
}
