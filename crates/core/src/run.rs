//! A run: its words, and the one place that knows how its status may change.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::StreamMode;
use crate::ids::{AssistantId, GraphId, RunId, ThreadId, WorkerId};
use crate::json::{Json, JsonMap};
use crate::partial::PartialPolicy;
use crate::trace::TraceContext;

/// Where a run stands.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RunStatus {
    /// Accepted; waits for its turn, its time or another attempt.
    Pending,
    /// A worker holds it.
    Running,
    /// It came to its end, or waits for a human.
    Success,
    /// It failed.
    Error,
    /// It took longer than it may.
    Timeout,
    /// It was stopped: its code has ended or can no longer write.
    Interrupted,
}

impl RunStatus {
    /// Whether the run is over for good.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The status after `transition`: every legal change is one arm of this match.
    pub fn after(self, transition: Transition) -> Result<Self, IllegalTransition> {
        use RunStatus as S;
        use Transition as T;
        match (self, transition) {
            (S::Pending, T::Claim) => Ok(S::Running),
            (S::Running, T::Release) => Ok(S::Pending),
            (S::Running, T::Succeed) => Ok(S::Success),
            (S::Running, T::Fail) => Ok(S::Error),
            (S::Running, T::TimeOut) => Ok(S::Timeout),
            (S::Pending | S::Running, T::Interrupt) => Ok(S::Interrupted),
            (status, transition) => Err(IllegalTransition { status, transition }),
        }
    }
}

/// What can happen to a run. Rollback is not among them: it discards the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumIter)]
#[strum(serialize_all = "snake_case")]
pub enum Transition {
    /// A worker takes it.
    Claim,
    /// It is given back: the worker stops, its lease ran out, or infrastructure failed.
    Release,
    /// It ended well, or waits for a human.
    Succeed,
    /// It failed, or used up its attempts.
    Fail,
    /// It took longer than it may.
    TimeOut,
    /// It was stopped on request.
    Interrupt,
}

impl Transition {
    /// Whether the run has failed by it.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Fail | Self::TimeOut)
    }
}

/// A change that the state machine does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {status} run cannot {transition}")]
pub struct IllegalTransition {
    /// Where the run stands.
    pub status: RunStatus,
    /// What was attempted.
    pub transition: Transition,
}

/// What becomes of the runs in flight when another one arrives on their thread.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum MultitaskStrategy {
    /// The new run is refused.
    Reject,
    /// The new run waits its turn.
    #[default]
    Enqueue,
    /// They are stopped and keep what they finished.
    Interrupt,
    /// They are stopped and what they did is deleted.
    Rollback,
}

/// How a run is to be stopped. Rollback outranks interrupt.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CancelAction {
    /// Stop it and keep what it finished; the record stays.
    #[default]
    Interrupt,
    /// Stop it, delete what it did and its record.
    Rollback,
}

/// When checkpoints are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Durability {
    /// Before the next superstep starts.
    Sync,
    /// While the next superstep runs.
    #[default]
    Async,
    /// When the run ends.
    Exit,
}

/// A choice of nodes: all, or some by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NodeSelection {
    /// `"*"`.
    All(Star),
    /// These.
    Some(Vec<String>),
}

/// The literal `"*"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Star {
    /// `"*"`.
    #[serde(rename = "*")]
    Star,
}

impl NodeSelection {
    /// Whether the node named `node` is chosen.
    pub fn includes(&self, node: &str) -> bool {
        match self {
            Self::All(_) => true,
            Self::Some(names) => names.iter().any(|name| name == node),
        }
    }
}

/// How a run was asked to execute; kept with the run and shown on the wire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunKwargs {
    /// What the graph gets; `None` or `null` continues from the thread's checkpoint.
    pub input: Option<Json>,
    /// `{update?, resume?, goto?}`; wins over `input`.
    pub command: Option<Json>,
    /// `{tags?, recursion_limit?, configurable?, metadata?}`.
    #[serde(default)]
    pub config: JsonMap,
    /// Static context of the run.
    pub context: Option<JsonMap>,
    /// What to stream.
    #[serde(default)]
    pub stream_mode: Vec<StreamMode>,
    /// Pause before these nodes.
    pub interrupt_before: Option<NodeSelection>,
    /// Pause after these nodes.
    pub interrupt_after: Option<NodeSelection>,
    /// Called when the run is over.
    pub webhook: Option<String>,
    /// Passed on; no feedback service is attached.
    pub feedback_keys: Option<Vec<String>>,
    /// Whether thread and run are deleted when the run is over.
    #[serde(default)]
    pub temporary: bool,
    /// Whether subgraphs stream too.
    #[serde(default)]
    pub subgraphs: bool,
    /// Whether events carry ids and can be replayed.
    #[serde(default)]
    pub resumable: bool,
    /// When checkpoints are written.
    #[serde(default)]
    pub durability: Durability,
    /// Where it belongs in the trace of whoever asked for it. Clients see only the trace's id.
    #[serde(
        default,
        deserialize_with = "TraceContext::stored",
        skip_serializing_if = "Option::is_none"
    )]
    pub trace: Option<TraceContext>,
}

impl RunKwargs {
    /// The keys of `config.configurable`, if any.
    pub fn configurable(&self) -> Option<&JsonMap> {
        self.config.get("configurable")?.as_object()
    }

    /// Whether the run brings an input that a superseding run must not lose.
    pub fn has_input(&self) -> bool {
        self.command.is_none() && self.input.as_ref().is_some_and(|input| !input.is_null())
    }
}

/// Why a run or its thread failed, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// The kind of error, such as `ValueError`.
    pub error: String,
    /// What happened.
    pub message: String,
}

impl RunError {
    /// An error of kind `error`.
    pub fn new(error: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            message: message.into(),
        }
    }

    /// The error of a run whose workers were lost until it had no attempt left.
    pub fn worker_lost() -> Self {
        Self::new(
            "WorkerLost",
            "the worker that executed the run stopped answering, and no attempt is left",
        )
    }
}

/// How many attempts a run has, unless the database is configured otherwise.
pub const MAX_ATTEMPTS: u32 = 3;

/// One execution of an assistant on a thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The thread it belongs to.
    pub thread_id: ThreadId,
    /// The assistant it runs.
    pub assistant_id: AssistantId,
    /// The assistant's graph when the run was accepted.
    pub graph_id: GraphId,
    /// Its place in the thread's order of acceptance.
    pub seq: i64,
    /// When it was accepted or, if it was delayed, when it is due. With `seq` this is its place in
    /// the queue of its thread.
    pub created_at: DateTime<Utc>,
    /// When its row last changed.
    pub updated_at: DateTime<Utc>,
    /// Where it stands.
    pub status: RunStatus,
    /// The user's metadata, merged with the assistant's and the thread's.
    pub metadata: JsonMap,
    /// How it was asked to execute.
    pub kwargs: RunKwargs,
    /// What it did to the runs in flight when it was accepted.
    pub multitask_strategy: MultitaskStrategy,
    /// What is kept of it if it is stopped.
    pub policy: PartialPolicy,
    /// How many attempts were started.
    pub attempt: u32,
    /// How it is asked to stop, if it is.
    pub cancel: Option<CancelAction>,
    /// Why it was asked to stop, for people.
    pub cancel_reason: Option<String>,
    /// The run that took its place.
    pub superseded_by: Option<RunId>,
    /// The worker that executes it, while it runs.
    pub worker_id: Option<WorkerId>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// The values of the thread when it ended, with `__interrupt__` if it waits for a human.
    pub output: Option<Json>,
    /// What it had said when it was stopped, whether or not it was kept in the thread: a list of
    /// messages.
    pub interrupted_output: Option<Json>,
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn a_terminal_status_never_changes() {
        for status in RunStatus::iter().filter(|status| status.is_terminal()) {
            for transition in Transition::iter() {
                assert!(status.after(transition).is_err(), "{status} {transition}");
            }
        }
    }

    #[test]
    fn only_a_pending_run_can_be_claimed() {
        for status in RunStatus::iter() {
            assert_eq!(
                status.after(Transition::Claim).is_ok(),
                status == RunStatus::Pending
            );
        }
    }

    #[test]
    fn a_run_without_a_trace_is_stored_as_ever_and_one_with_a_strange_trace_is_read() {
        let plain = serde_json::to_value(RunKwargs::default()).unwrap();
        assert!(plain.get("trace").is_none(), "{plain}");
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let traced = RunKwargs {
            trace: TraceContext::read(parent, Some("a=1")),
            ..RunKwargs::default()
        };
        let mut stored = serde_json::to_value(&traced).unwrap();
        let read: RunKwargs = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(read, traced);
        stored["trace"]["traceparent"] = "of a later version".into();
        let read: RunKwargs = serde_json::from_value(stored).unwrap();
        assert_eq!(read, RunKwargs::default());
    }

    #[test]
    fn node_selections_read_as_the_wire_writes_them() {
        let all: NodeSelection = serde_json::from_str(r#""*""#).unwrap();
        let some: NodeSelection = serde_json::from_str(r#"["tools"]"#).unwrap();
        assert!(all.includes("x") && some.includes("tools") && !some.includes("x"));
        assert!(serde_json::from_str::<NodeSelection>(r#""tools""#).is_err());
    }
}
