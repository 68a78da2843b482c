//! Traces: where a run belongs in the trace of whoever asked for it, and the port to what records
//! spans.
//!
//! The context travels with a run whether or not anybody records: in its record, in signals, to
//! graphs. Spans exist only while a [`Tracer`] is installed; without one [`span`] costs a look at a
//! static, and nothing is allocated.

mod context;
mod span;

pub use context::{NotAContext, TraceContext, TraceId, TraceParent};
pub use span::{Kind, LiveSpan, Span, Start, Tracer, Value, install, is_on, node_span, span};
