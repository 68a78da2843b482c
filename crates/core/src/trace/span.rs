//! The port to what records spans, and the span that parts of the server hold.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use super::context::{TraceContext, TraceParent};

/// Records spans. Set once for a process, as the recorder of metrics is.
pub trait Tracer: Send + Sync + 'static {
    /// Begins a span; it ends when it is dropped. One that is not sampled is a span, too: its context
    /// says that it is not recorded.
    fn start(&self, start: Start<'_>) -> Box<dyn LiveSpan>;
}

/// A span to begin.
#[derive(Debug)]
pub struct Start<'a> {
    /// What it is: one of few names.
    pub name: Cow<'static, str>,
    /// Who is on its other side.
    pub kind: Kind,
    /// The span above it; without one it is the root of a new trace.
    pub parent: Option<&'a TraceContext>,
    /// How long ago it began.
    pub ago: Duration,
}

/// Who is on the other side of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody.
    Internal,
    /// Somebody who asked.
    Server,
    /// Somebody who is asked.
    Client,
    /// Somebody who left work in a queue.
    Consumer,
}

/// What is said of a span.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// A span that was begun.
pub trait LiveSpan: Send + Sync {
    /// Where what happens under it belongs.
    fn context(&self) -> TraceContext;

    /// Says something of it.
    fn set(&mut self, key: &'static str, value: Value);

    /// Says that it has to do with another span, which may be of another trace.
    fn link(&mut self, to: TraceParent);

    /// Says that it failed, and why.
    fn fail(&mut self, why: String);

    /// Ends it, so long ago.
    fn end(&mut self, ago: Duration);
}

/// A span, or nothing where none are recorded. Ends when it is dropped.
#[derive(Default)]
pub struct Span(Option<Box<dyn LiveSpan>>);

impl Span {
    /// No span.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Where what happens under it belongs; `None` where none are recorded.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|span| span.context())
    }

    /// The same, or `outer` where none are recorded.
    pub fn context_or(&self, outer: Option<&TraceContext>) -> Option<TraceContext> {
        self.context().or_else(|| outer.cloned())
    }

    /// Says something of it; the value is made only if anybody wants it.
    pub fn set<V: Into<Value>>(&mut self, key: &'static str, value: impl FnOnce() -> V) {
        if let Some(span) = &mut self.0 {
            span.set(key, value().into());
        }
    }

    /// Says that it has to do with another span.
    pub fn link(&mut self, to: Option<TraceParent>) {
        if let (Some(span), Some(to)) = (&mut self.0, to) {
            span.link(to);
        }
    }

    /// Says that it failed, and why.
    pub fn fail(&mut self, why: impl FnOnce() -> String) {
        if let Some(span) = &mut self.0 {
            span.fail(why());
        }
    }

    /// Ends it, so long ago.
    pub fn end(mut self, ago: Duration) {
        if let Some(span) = &mut self.0 {
            span.end(ago);
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.context()).finish()
    }
}

static TRACER: OnceLock<Box<dyn Tracer>> = OnceLock::new();

/// Has `tracer` record the spans of this process from now on. False if another one does already.
pub fn install(tracer: impl Tracer) -> bool {
    TRACER.set(Box::new(tracer)).is_ok()
}

/// Whether anybody records spans.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// Begins a span, if anybody records.
pub fn span<'a>(start: impl FnOnce() -> Start<'a>) -> Span {
    Span(TRACER.get().map(|tracer| tracer.start(start())))
}

/// The longest name of a node that is shown in the name of its span.
const LONGEST_NODE: usize = 64;

/// Begins the span of a node of a graph, if anybody records.
pub fn node_span(parent: &TraceContext, node: &str) -> Span {
    let mut span = span(|| Start {
        name: format!(
            "node {}",
            node.chars().take(LONGEST_NODE).collect::<String>()
        )
        .into(),
        kind: Kind::Internal,
        parent: Some(parent),
        ago: Duration::ZERO,
    });
    span.set("node", || node.to_owned());
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_records_nothing_is_made() {
        let mut span = span(|| unreachable!("nobody records"));
        span.set::<String>("key", || unreachable!("nobody records"));
        span.fail(|| unreachable!("nobody records"));
        assert!(!is_on() && span.context().is_none());
        let outer = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let outer = TraceContext::read(outer, None);
        assert_eq!(span.context_or(outer.as_ref()), outer);
    }
}
