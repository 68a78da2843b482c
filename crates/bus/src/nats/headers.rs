//! The context of a trace in the headers of messages, as HTTP has it.

use async_nats::HeaderMap;
use runloom_core::trace::{TraceContext, TraceParent};

/// As libraries of other languages write it on NATS: its headers know upper and lower case.
const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// The headers that say where a message belongs, if that is known.
pub(super) fn of(parent: Option<TraceParent>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(PARENT, parent?.to_string().as_str());
    Some(headers)
}

/// Where `headers` say that a message belongs.
pub(super) fn context(headers: Option<&HeaderMap>) -> Option<TraceContext> {
    let headers = headers?;
    let state = headers.get(STATE).map(async_nats::HeaderValue::as_str);
    TraceContext::read(headers.get(PARENT)?.as_str(), state)
}
