//! Runs on the wire: what clients read of them.

mod cancel;
mod config;
mod create;
mod refusal;

pub use cancel::{CancelMany, CancelStatus};
pub use create::{OnCompletion, OnDisconnect, RunCreate, RunRequest};
pub use refusal::RunRefusal;

use std::collections::BTreeMap;
use std::str::FromStr;

use runloom_core::json::{Json, JsonMap};
use runloom_core::run::{Durability, RunKwargs};
use runloom_core::{event, run};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::time::Timestamp;

/// One execution of an assistant on a thread.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Run {
    /// Its id.
    pub run_id: Uuid,
    /// Its thread.
    pub thread_id: Uuid,
    /// Its assistant.
    pub assistant_id: Uuid,
    /// When it was accepted or, if it was delayed, when it is due.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// `pending`, `running`, `success`, `error`, `timeout` or `interrupted`.
    #[schema(value_type = String)]
    pub status: run::RunStatus,
    /// The metadata of the assistant, the thread and the request, merged.
    #[schema(value_type = Object)]
    pub metadata: JsonMap,
    /// How it was asked to execute.
    pub kwargs: Kwargs,
    /// What it did to the runs in flight when it was accepted.
    #[schema(value_type = String)]
    pub multitask_strategy: run::MultitaskStrategy,
    /// No tracing service is attached: always `null`.
    pub langsmith_session_name: Option<String>,
    /// Why it was asked to stop, for people.
    pub cancel_reason: Option<String>,
    /// The run that took its place.
    pub superseded_by: Option<Uuid>,
    /// Why it failed.
    #[schema(value_type = Option<Object>)]
    pub error: Option<run::RunError>,
    /// What it had said when it was stopped, as a list of messages.
    #[schema(value_type = Option<Vec<Object>>)]
    pub interrupted_output: Option<Json>,
    /// Its trace, if it belongs to one: 32 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl From<run::Run> for Run {
    fn from(run: run::Run) -> Self {
        let trace = run.kwargs.trace.as_ref();
        Self {
            trace_id: trace.map(|trace| trace.trace_id().to_string()),
            run_id: run.id.0,
            thread_id: run.thread_id.0,
            assistant_id: run.assistant_id.0,
            created_at: run.created_at.into(),
            updated_at: run.updated_at.into(),
            status: run.status,
            metadata: run.metadata,
            kwargs: run.kwargs.into(),
            multitask_strategy: run.multitask_strategy,
            langsmith_session_name: None,
            cancel_reason: run.cancel_reason,
            superseded_by: run.superseded_by.map(|id| id.0),
            error: run.error,
            interrupted_output: run.interrupted_output,
        }
    }
}

/// How a run was asked to execute.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "that is what the wire has")]
pub struct Kwargs {
    /// What the graph gets.
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Json>,
    /// What resumes or redirects the graph.
    #[schema(value_type = Option<Object>)]
    pub command: Option<Json>,
    /// The configuration of the assistant, the thread and the request, merged.
    #[schema(value_type = Object)]
    pub config: JsonMap,
    /// The static context of the run.
    #[schema(value_type = Option<Object>)]
    pub context: Option<JsonMap>,
    /// What it streams.
    #[schema(value_type = Vec<String>)]
    pub stream_mode: Vec<event::StreamMode>,
    /// Where it pauses before a node: `"*"` or names.
    #[schema(value_type = Option<serde_json::Value>)]
    pub interrupt_before: Option<run::NodeSelection>,
    /// Where it pauses after a node: `"*"` or names.
    #[schema(value_type = Option<serde_json::Value>)]
    pub interrupt_after: Option<run::NodeSelection>,
    /// Called when the run is over.
    pub webhook: Option<String>,
    /// Passed on.
    pub feedback_keys: Option<Vec<String>>,
    /// Whether thread and run are deleted when the run is over.
    pub temporary: bool,
    /// Whether subgraphs stream, too.
    pub subgraphs: bool,
    /// Whether its events carry ids and can be replayed.
    pub resumable: bool,
    /// Whether checkpoints are written while it runs.
    pub checkpoint_during: bool,
    /// When checkpoints are written.
    #[schema(value_type = String)]
    pub durability: Durability,
}

impl From<RunKwargs> for Kwargs {
    fn from(kwargs: RunKwargs) -> Self {
        Self {
            input: kwargs.input,
            command: kwargs.command,
            config: kwargs.config,
            context: kwargs.context,
            stream_mode: kwargs.stream_mode,
            interrupt_before: kwargs.interrupt_before,
            interrupt_after: kwargs.interrupt_after,
            webhook: kwargs.webhook,
            feedback_keys: kwargs.feedback_keys,
            temporary: kwargs.temporary,
            subgraphs: kwargs.subgraphs,
            resumable: kwargs.resumable,
            checkpoint_during: kwargs.durability != Durability::Exit,
            durability: kwargs.durability,
        }
    }
}

/// The fields of [`Run`] by name, for lists that show only some.
const FIELDS: [&str; 15] = [
    "run_id",
    "thread_id",
    "assistant_id",
    "created_at",
    "updated_at",
    "status",
    "metadata",
    "kwargs",
    "multitask_strategy",
    "langsmith_session_name",
    "cancel_reason",
    "superseded_by",
    "error",
    "interrupted_output",
    "trace_id",
];

/// The name of a field of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunField(&'static str);

impl FromStr for RunField {
    type Err = RunRefusal;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = FIELDS.into_iter().find(|field| *field == name);
        known.map(Self).ok_or_else(|| {
            RunRefusal::Invalid(format!(
                "{name:?} is not a field of a run; select any of {}",
                FIELDS.join(", ")
            ))
        })
    }
}

impl Run {
    /// Only the fields `selected`.
    pub fn select(&self, selected: &[RunField]) -> BTreeMap<String, Box<RawValue>> {
        let text = serde_json::to_string(self).expect("a run encodes");
        let mut fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&text).expect("a run is an object");
        fields.retain(|name, _| selected.iter().any(|field| field.0 == name));
        fields
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use runloom_core::ids::{AssistantId, RunId, ThreadId};
    use runloom_core::trace::TraceContext;

    use super::*;

    fn run() -> run::Run {
        let time = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        run::Run {
            id: RunId(Uuid::from_u128(1)),
            thread_id: ThreadId(Uuid::from_u128(2)),
            assistant_id: AssistantId(Uuid::from_u128(3)),
            graph_id: "agent".into(),
            seq: 1,
            created_at: time,
            updated_at: time,
            status: run::RunStatus::Interrupted,
            metadata: JsonMap::new(),
            kwargs: RunKwargs {
                input: Some(Json::from_text(r#"{"b":1.0,"a":[]}"#.to_owned()).unwrap()),
                stream_mode: vec![event::StreamMode::MessagesTuple],
                durability: Durability::Exit,
                ..RunKwargs::default()
            },
            multitask_strategy: run::MultitaskStrategy::Enqueue,
            policy: runloom_core::partial::PartialPolicy::default(),
            attempt: 1,
            cancel: None,
            cancel_reason: Some("superseded".to_owned()),
            superseded_by: Some(RunId(Uuid::from_u128(4))),
            worker_id: None,
            error: None,
            output: None,
            interrupted_output: None,
        }
    }

    #[test]
    fn a_run_has_the_fields_that_clients_read() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&Run::from(run())).unwrap());
    }

    #[test]
    fn every_field_can_be_selected_and_only_those() {
        let mut run = run();
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        run.kwargs.trace = TraceContext::read(parent, None);
        let run = Run::from(run);
        let all = FIELDS.map(|name| name.parse().unwrap());
        let whole: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
        assert_eq!(whole.len(), FIELDS.len());
        assert_eq!(run.select(&all).len(), FIELDS.len());
        let some = run.select(&["status".parse().unwrap(), "run_id".parse().unwrap()]);
        assert_eq!(some.keys().collect::<Vec<_>>(), ["run_id", "status"]);
        assert!("colour".parse::<RunField>().is_err());
    }
}
