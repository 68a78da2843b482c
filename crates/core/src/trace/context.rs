//! The context of a trace as the W3C writes it: the headers `traceparent` and `tracestate`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest `tracestate` that is passed on: what the standard asks everybody to carry.
const LONGEST_STATE: usize = 512;

/// The length of a `traceparent` of version 00; later versions may only add to its end.
const LENGTH: usize = 55;

/// The flag that says that the caller records.
const SAMPLED: u8 = 1;

/// The flags that version 00 knows: sampled, and that the trace's id is random.
const KNOWN_FLAGS: u8 = 0b11;

/// Not the context of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of the W3C")]
pub struct NotAContext;

/// A trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One span of a trace, as others name it: `00-<trace>-<span>-<flags>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace; never zero.
    pub trace_id: TraceId,
    /// The span; never zero.
    pub span_id: u64,
    /// What else is said of it.
    pub flags: u8,
}

impl TraceParent {
    /// Whether whoever made the span records it.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.flags & KNOWN_FLAGS;
        write!(f, "00-{}-{:016x}-{flags:02x}", self.trace_id, self.span_id)
    }
}

impl FromStr for TraceParent {
    type Err = NotAContext;

    fn from_str(text: &str) -> Result<Self, NotAContext> {
        let text = text.trim();
        let (known, rest) = text.split_at_checked(LENGTH).ok_or(NotAContext)?;
        let mut parts = known.split('-');
        let mut part = |length| parts.next().filter(|part| part.len() == length);
        let version = part(2).and_then(hex).ok_or(NotAContext)?;
        let trace_id = part(32).and_then(hex).ok_or(NotAContext)?;
        let span_id = part(16).and_then(hex).ok_or(NotAContext)?;
        let flags = part(2).and_then(hex).ok_or(NotAContext)?;
        // A later version may say more, after another dash; this one may not.
        let ends_well = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let is_somewhere = trace_id != 0 && span_id != 0;
        if !ends_well || !is_somewhere {
            return Err(NotAContext);
        }
        Ok(Self {
            trace_id: TraceId(trace_id),
            span_id: u64::try_from(span_id).map_err(|_| NotAContext)?,
            flags: u8::try_from(flags).map_err(|_| NotAContext)?,
        })
    }
}

/// A number in lower-case digits, as the standard wants them.
fn hex(digits: &str) -> Option<u128> {
    let is_lower = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let all = digits.bytes().all(is_lower);
    all.then(|| u128::from_str_radix(digits, 16).ok()).flatten()
}

/// Where something belongs in a trace: the span above it, and what vendors added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceContext {
    /// The span above.
    #[serde(rename = "traceparent", serialize_with = "as_text")]
    pub parent: TraceParent,
    /// What vendors added, passed on letter by letter.
    #[serde(rename = "tracestate", skip_serializing_if = "Option::is_none")]
    pub state: Option<Arc<str>>,
}

impl TraceContext {
    /// What the two headers say. A `traceparent` that makes no sense is none, as the standard wants,
    /// and a `tracestate` that nobody would pass on is left out.
    pub fn read(parent: &str, state: Option<&str>) -> Option<Self> {
        let parent = parent.parse().ok()?;
        let is_carried = |state: &&str| {
            let printable = |byte| matches!(byte, b' '..=b'~' | b'\t');
            !state.is_empty() && state.len() <= LONGEST_STATE && state.bytes().all(printable)
        };
        let state = state.map(str::trim).filter(is_carried);
        Some(Self {
            parent,
            state: state.map(Arc::from),
        })
    }

    /// The trace.
    pub fn trace_id(&self) -> TraceId {
        self.parent.trace_id
    }

    /// The context that a run was stored with. A run must not become unreadable for its trace: what
    /// makes no sense is none.
    pub fn stored<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        #[derive(Deserialize)]
        struct Stored {
            traceparent: String,
            tracestate: Option<String>,
        }
        let stored = Option::<Stored>::deserialize(from)?;
        Ok(stored.and_then(|stored| Self::read(&stored.traceparent, stored.tracestate.as_deref())))
    }
}

impl From<TraceParent> for TraceContext {
    fn from(parent: TraceParent) -> Self {
        Self {
            parent,
            state: None,
        }
    }
}

fn as_text<S: serde::Serializer>(parent: &TraceParent, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_the_standard_has_it() {
        let parent: TraceParent = PARENT.parse().unwrap();
        assert_eq!(parent.to_string(), PARENT);
        assert_eq!(
            parent.trace_id.to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert!(parent.is_sampled());
        let unsampled: TraceParent = PARENT.replace("-01", "-00").parse().unwrap();
        assert!(!unsampled.is_sampled());
        // What a later version adds is left out, as are flags that this one does not know.
        let later = PARENT.replacen("00-", "01-", 1).replace("-01", "-ff") + "-more";
        let later: TraceParent = later.parse().unwrap();
        assert_eq!(later.to_string(), PARENT.replace("-01", "-03"));
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = PARENT.replace("00f067aa0ba902b7", "0000000000000000");
        for text in [
            "",
            "00",
            &zero_trace,
            &zero_span,
            &PARENT.to_uppercase(),
            &format!("{PARENT}-more"),
            &PARENT.replacen("00-", "ff-", 1),
            &PARENT.replacen("00-", "0x-", 1),
            &PARENT.replace("-01", "_01"),
            &PARENT.replace("4bf92", "4bf9+"),
            &PARENT[..54],
            &"ä".repeat(40),
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NotAContext), "{text}");
        }
    }

    #[test]
    fn a_tracestate_is_passed_on_unless_nobody_would_carry_it() {
        let state = |text: &str| TraceContext::read(PARENT, Some(text)).unwrap().state;
        assert_eq!(state("a=1,b=2").as_deref(), Some("a=1,b=2"));
        assert_eq!(state(""), None);
        assert_eq!(state("a=\n1"), None);
        assert_eq!(state(&"a".repeat(513)), None);
        assert_eq!(TraceContext::read("?", Some("a=1")), None);
    }

    #[test]
    fn a_stored_context_that_makes_no_sense_is_none() {
        let stored = |text: &str| {
            let mut from = serde_json::Deserializer::from_str(text);
            TraceContext::stored(&mut from)
        };
        let context = TraceContext::read(PARENT, Some("a=1")).unwrap();
        let text = serde_json::to_string(&context).unwrap();
        assert_eq!(
            text,
            format!(r#"{{"traceparent":"{PARENT}","tracestate":"a=1"}}"#)
        );
        assert_eq!(stored(&text).unwrap(), Some(context));
        assert_eq!(stored(r#"{"traceparent":"later"}"#).unwrap(), None);
        assert_eq!(stored("null").unwrap(), None);
    }
}
