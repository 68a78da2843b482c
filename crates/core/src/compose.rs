//! How a new run's configuration and metadata come together from its assistant, its thread and the
//! request. Applied by the drivers inside the transaction that accepts the run.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::assistant::Assistant;
use crate::ids::{RunId, ThreadId};
use crate::json::JsonMap;
use crate::partial::PartialPolicy;
use crate::run::{MultitaskStrategy, Run, RunKwargs, RunStatus};
use crate::thread::{Thread, Ttl};

/// What to do if the thread of a new run does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IfThreadMissing {
    /// Create it in the same transaction.
    Create,
    /// Refuse the run.
    #[default]
    Reject,
}

/// A run to be accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Its id. Submitting the same id again answers with the run that is there.
    pub id: RunId,
    /// Its thread.
    pub thread_id: ThreadId,
    /// Its assistant, at its current version.
    pub assistant: Assistant,
    /// What the request says; configuration and context are completed by [`NewRun::compose`].
    pub kwargs: RunKwargs,
    /// What the request says.
    pub metadata: JsonMap,
    /// What becomes of the runs in flight.
    pub multitask_strategy: MultitaskStrategy,
    /// How long to wait before it is due; negative counts as zero for the order of the queue.
    pub delay: TimeDelta,
    /// What to do without a thread.
    pub if_thread_missing: IfThreadMissing,
    /// How long the thread is kept if it is created with the run; for good if none.
    pub thread_ttl: Option<Ttl>,
    /// What is kept of it if it is stopped.
    pub policy: PartialPolicy,
    /// What the server itself adds to `config.configurable`, such as the request's id.
    pub server_configurable: JsonMap,
}

/// What a new run and its thread are stored with.
#[derive(Clone, Debug, PartialEq)]
pub struct Composed {
    /// The run's metadata.
    pub metadata: JsonMap,
    /// The run's arguments, complete.
    pub kwargs: RunKwargs,
    /// The thread's metadata from now on.
    pub thread_metadata: JsonMap,
    /// The thread's configuration from now on.
    pub thread_config: JsonMap,
}

impl NewRun {
    /// Completes the run for `thread`; `None` if the thread is created with it.
    pub fn compose(&self, thread: Option<&Thread>) -> Composed {
        let none = JsonMap::new();
        let assistant = &self.assistant;
        let thread_config = thread.map_or(&none, |thread| &thread.config);
        let forced = [
            ("graph_id", assistant.graph_id.to_string()),
            ("assistant_id", assistant.id.to_string()),
        ];

        let metadata = with(
            merged([
                &assistant.metadata,
                thread.map_or(&none, |thread| &thread.metadata),
                object(&self.kwargs.config, "metadata").unwrap_or(&none),
                &self.metadata,
            ]),
            &forced,
        );
        let (own_configurable, own_context) = mirrored(&self.kwargs);
        let inherited = merged([
            object(&assistant.config, "configurable").unwrap_or(&none),
            object(thread_config, "configurable").unwrap_or(&none),
            &own_configurable,
        ]);
        let effective = with(
            merged([&inherited, &self.server_configurable]),
            &[
                ("run_id", self.id.to_string()),
                ("thread_id", self.thread_id.to_string()),
                forced[0].clone(),
                forced[1].clone(),
                ("user_id", String::new()),
            ],
        );

        let mut config = merged([&assistant.config, thread_config, &self.kwargs.config]);
        config.insert("configurable".to_owned(), Value::Object(effective));
        config.insert("metadata".to_owned(), Value::Object(metadata.clone()));
        let mut stored_config = merged([&assistant.config, thread_config, &self.kwargs.config]);
        stored_config.remove("metadata");
        stored_config.insert("configurable".to_owned(), Value::Object(inherited));

        let thread_metadata =
            thread.map_or_else(|| self.metadata.clone(), |thread| thread.metadata.clone());
        Composed {
            kwargs: RunKwargs {
                config,
                context: Some(merged([&assistant.context, &own_context])),
                ..self.kwargs.clone()
            },
            metadata,
            thread_metadata: with(thread_metadata, &forced),
            thread_config: stored_config,
        }
    }
}

/// A run's place in the order of its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Grows with each run that the thread accepts.
    pub seq: i64,
    /// When it was accepted: never before the run that was accepted before it.
    pub accepted_at: DateTime<Utc>,
}

impl NewRun {
    /// The run as it is stored when it is accepted at `now`.
    pub fn accepted(
        &self,
        metadata: JsonMap,
        kwargs: RunKwargs,
        place: Place,
        now: DateTime<Utc>,
    ) -> Run {
        let due = place
            .accepted_at
            .checked_add_signed(self.delay.max(TimeDelta::zero()));
        Run {
            id: self.id,
            thread_id: self.thread_id,
            assistant_id: self.assistant.id,
            graph_id: self.assistant.graph_id.clone(),
            seq: place.seq,
            created_at: due.unwrap_or(DateTime::<Utc>::MAX_UTC),
            updated_at: now,
            status: RunStatus::Pending,
            metadata,
            kwargs,
            multitask_strategy: self.multitask_strategy,
            policy: self.policy,
            attempt: 0,
            cancel: None,
            cancel_reason: None,
            superseded_by: None,
            worker_id: None,
            error: None,
            output: None,
            interrupted_output: None,
        }
    }
}

/// The request's configurable and context; where it gives only one, the other mirrors it.
fn mirrored(kwargs: &RunKwargs) -> (JsonMap, JsonMap) {
    let configurable = kwargs.configurable().cloned().unwrap_or_default();
    let context = kwargs.context.clone().unwrap_or_default();
    match (configurable.is_empty(), context.is_empty()) {
        (true, false) => (context.clone(), context),
        (false, true) => (configurable.clone(), configurable),
        _ => (configurable, context),
    }
}

fn object<'a>(map: &'a JsonMap, key: &str) -> Option<&'a JsonMap> {
    map.get(key)?.as_object()
}

/// The maps merged key by key; later ones win.
fn merged<'a>(maps: impl IntoIterator<Item = &'a JsonMap>) -> JsonMap {
    let pairs = maps.into_iter().flatten();
    pairs
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn with(mut map: JsonMap, forced: &[(&str, String)]) -> JsonMap {
    for (key, value) in forced {
        map.insert((*key).to_owned(), Value::String(value.clone()));
    }
    map
}
