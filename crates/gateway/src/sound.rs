//! Whether a JSON text has a meaning, not only the form: documents of users are passed on unread, and
//! whoever reads one later must be able to.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Any JSON document, read to its end and dropped. Refuses what only looks like one: half of a
/// surrogate pair, a number beyond all measure.
pub(crate) struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sound)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sound(text: &str) -> bool {
        serde_json::from_str::<Sound>(text).is_ok()
    }

    #[test]
    fn what_can_be_read_is_sound() {
        for text in [
            r#"{"a": [1, -2.5e10, null, true, "\ud83d\ude00 \u0000"]}"#,
            "18446744073709551616",
            "[]",
        ] {
            assert!(is_sound(text), "{text}");
        }
    }

    #[test]
    fn what_nobody_can_read_is_not() {
        for text in [r#"["\ud800"]"#, r#"{"\udc00": 1}"#, "1e999", "[1", "{} x"] {
            assert!(!is_sound(text), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err());
        }
    }
}
