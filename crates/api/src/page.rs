//! Parts of lists: limits, chosen fields, and the headers that lead to the next part.

use std::collections::BTreeMap;

use runloom_core::json::Json;
use runloom_core::search::Page;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Names the offset of the next part, if there is one.
pub const NEXT: &str = "x-pagination-next";
/// Names how many there are in all.
pub const TOTAL: &str = "x-pagination-total";

/// At most so many of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "u32")]
#[schema(value_type = u32, minimum = 1, maximum = 1000)]
pub struct Limit(u32);

impl Limit {
    /// The largest limit.
    pub const MAX: u32 = 1_000;

    /// The limit as a number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// A limit that is too small or too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit must be between 1 and 1000, not {0}")]
pub struct LimitOutOfRange(u32);

impl TryFrom<u32> for Limit {
    type Error = LimitOutOfRange;

    fn try_from(limit: u32) -> Result<Self, LimitOutOfRange> {
        if (1..=Self::MAX).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err(LimitOutOfRange(limit))
        }
    }
}

/// The part of a list that a request asks for.
pub fn page(limit: Option<Limit>, default: u32, offset: Option<u32>) -> Page {
    Page {
        limit: limit.map_or(default, Limit::get),
        offset: offset.unwrap_or(0),
    }
}

/// `object` reduced to the fields `chosen`. Values are passed on as they are written.
pub fn select<T: Serialize>(
    object: &T,
    chosen: &[&str],
) -> Result<BTreeMap<String, Json>, serde_json::Error> {
    let text = serde_json::to_string(object)?;
    let mut fields: BTreeMap<String, Json> = serde_json::from_str(&text)?;
    fields.retain(|name, _| chosen.contains(&name.as_str()));
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_bounded_on_both_sides() {
        let limit = |number: u32| serde_json::from_value::<Limit>(json!(number));
        assert!(limit(0).is_err());
        assert_eq!(limit(1).unwrap().get(), 1);
        assert_eq!(limit(1_000).unwrap().get(), 1_000);
        assert!(limit(1_001).is_err());
    }

    #[test]
    fn selecting_keeps_numbers_as_they_were_written() {
        let value = Json::from_text(r#"{"b":1.10,"a":12345678901234567890123}"#.into()).unwrap();
        let object = BTreeMap::from([("values", value.clone()), ("other", Json::null())]);
        let chosen = select(&object, &["values"]).unwrap();
        assert_eq!(chosen, BTreeMap::from([("values".to_owned(), value)]));
    }
}
