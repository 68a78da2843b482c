//! The messages of `run`: one attempt of one run.

use serde::{Deserialize, Serialize};

use super::{JsonBytes, RemoteError, TupleBody};

/// The body of `run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The run.
    pub run_id: String,
    /// Its thread.
    pub thread_id: String,
    /// Its assistant.
    pub assistant_id: String,
    /// The graph to run.
    pub graph_id: String,
    /// Counts tries, from 1.
    pub attempt: u32,
    /// How much of the run to do.
    pub work: WorkKind,
    /// The run's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<JsonBytes>,
    /// The run's command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<JsonBytes>,
    /// The composed configuration.
    pub config: JsonBytes,
    /// The runtime context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<JsonBytes>,
    /// Goes into the metadata of every checkpoint.
    pub metadata: JsonBytes,
    /// What to stream, in the wire's words.
    pub stream_modes: Vec<String>,
    /// Whether events of subgraphs are streamed, too.
    pub subgraphs: bool,
    /// `sync`, `async` or `exit`.
    pub durability: String,
    /// Where to pause before a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt_before: Option<Nodes>,
    /// Where to pause after a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt_after: Option<Nodes>,
    /// How many bytes of event data may be sent before more credit comes.
    pub credit: u64,
    /// The newest checkpoint of the thread's root namespace, if there is one, as a list. Not told if it
    /// is not known or large: the executor asks for it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Vec<TupleBody>>,
    /// Where the run belongs in a trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceBody>,
}

/// The headers of the W3C, and whether the worker makes spans of the run's nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceBody {
    /// The span above.
    pub traceparent: String,
    /// What vendors added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// Whether to tell of nodes as they begin and end.
    pub nodes: bool,
}

/// How much of a run to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// All of it.
    Run,
    /// Apply the input to the thread and execute no node.
    ApplyInput,
}

/// A choice of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Nodes {
    /// Only `"*"`: all of them.
    All(String),
    /// These.
    Some(Vec<String>),
}

/// Items of a run, by name.
pub mod item {
    /// From the executor: a list of [`Event`](super::Event).
    pub const EVENTS: &str = "events";
    /// From the executor: a [`Node`](super::Node).
    pub const NODE: &str = "node";
    /// From the executor: it cannot stop the run, only a kill helps.
    pub const STUCK: &str = "stuck";
    /// From the worker: a [`Stop`](super::Stop).
    pub const STOP: &str = "stop";
    /// From the worker: a number of bytes that may be sent on top of what is left.
    pub const CREDIT: &str = "credit";
}

/// A task of a run that begins or ends, `[id, node, outcome?]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node(
    /// The task.
    pub String,
    /// Its node.
    pub String,
    /// How it ended: `success`, `paused` or `error`; nothing if it begins.
    #[serde(default)]
    pub Option<String>,
);

/// Something that happened in a run, `[name, [namespace …], json, said?]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event(
    /// The wire's word, without namespace.
    pub String,
    /// The subgraph it comes from, from the outside in.
    pub Vec<String>,
    /// What the client gets.
    pub JsonBytes,
    /// What of a message it showed to clients.
    #[serde(default)]
    pub Option<SaidPiece>,
);

/// A piece of an AI message, `[task_id, node, message_id, text]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidPiece(
    /// The task that speaks.
    pub String,
    /// Its node.
    pub String,
    /// The id of the message.
    pub String,
    /// Text to append to what was said under this id before.
    pub String,
);

/// Asks a run to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// `interrupt`, `rollback`, `timeout`, `drain` or `lease_lost`.
    pub kind: String,
    /// How long to wait before harder means are used, in milliseconds.
    pub grace_ms: u64,
}

/// The answer to `run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEnded {
    /// How it ended.
    pub outcome: OutcomeKind,
    /// What failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RemoteError>,
    /// Where the run left the thread, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadBody>,
    /// Threads of the run that could not be ended.
    #[serde(default)]
    pub leaked_threads: u32,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The graph came to its end.
    Success,
    /// It waits for a human.
    Paused,
    /// It was asked to stop, and did.
    Stopped,
    /// It was asked to drain and stopped at the boundary of a superstep.
    Drained,
    /// The graph failed.
    Failed,
    /// Something around the graph failed.
    Retry,
}

/// The latest state of a thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadBody {
    /// Its checkpoint; none if nothing was stored yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_id: Option<String>,
    /// The output channels.
    pub values: JsonBytes,
    /// The nodes that come next.
    #[serde(default)]
    pub next: Vec<String>,
    /// An object: what waits for a human, lists by task id.
    pub interrupts: JsonBytes,
}
