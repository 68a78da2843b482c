//! The request for a new run.

use std::fmt;

use chrono::TimeDelta;
use runloom_core::compose::IfThreadMissing;
use runloom_core::event::StreamMode;
use runloom_core::ids::ThreadId;
use runloom_core::json::{Json, JsonMap};
use runloom_core::partial::PartialOverride;
use runloom_core::run::{Durability, MultitaskStrategy, NodeSelection, RunKwargs};
use serde::de::{Error, SeqAccess, Visitor, value::StrDeserializer};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::RunRefusal;
use super::config::Configuration;
use crate::config::{Config, Context, strip_metadata};

/// No run is delayed by more than thirty years: such a delay is a mistake in the unit.
const LONGEST_DELAY_SECONDS: f64 = 1e9;

/// What becomes of the thread of a run without a caller's thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnCompletion {
    /// It is deleted with the run.
    #[default]
    Delete,
    /// It stays.
    Keep,
}

/// What becomes of a run when the client that created it goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// It is cancelled.
    Cancel,
    /// It goes on.
    #[default]
    Continue,
}

/// What to do if the thread of a run does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum IfNotExists {
    /// Create it.
    Create,
    /// Refuse the run.
    #[default]
    Reject,
}

/// A run to be created. On a thread of the caller's all fields hold; without one, `checkpoint`,
/// `checkpoint_id` and `if_not_exists` are ignored and `on_completion` holds.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct RunCreate {
    /// An assistant's id, or the name of a graph.
    pub assistant_id: String,
    /// What the graph gets; `null` continues from the thread's checkpoint.
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Json>,
    /// `{update?, resume?, goto?}`; wins over `input`.
    #[schema(value_type = Option<Object>)]
    command: Option<Json>,
    /// `{checkpoint_ns?, checkpoint_id?, checkpoint_map?}`: build upon an older checkpoint.
    #[schema(value_type = Option<Object>)]
    checkpoint: Option<JsonMap>,
    /// The same by its id alone.
    checkpoint_id: Option<String>,
    /// Kept with the run.
    #[schema(value_type = Option<Object>)]
    metadata: Option<JsonMap>,
    /// `{tags?, recursion_limit?, configurable?, metadata?}`.
    config: Option<Config>,
    /// Static context of the run; excludes `config.configurable`.
    context: Option<Context>,
    /// Called when the run is over.
    webhook: Option<String>,
    /// Pause before these nodes: `"*"` or names.
    #[schema(value_type = Option<serde_json::Value>)]
    interrupt_before: Option<NodeSelection>,
    /// Pause after these nodes: `"*"` or names.
    #[schema(value_type = Option<serde_json::Value>)]
    interrupt_after: Option<NodeSelection>,
    /// What to stream: one mode or a list; `values` by default.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schema(value_type = Option<Vec<String>>)]
    stream_mode: Vec<StreamMode>,
    /// Whether subgraphs stream, too.
    stream_subgraphs: Option<bool>,
    /// Whether events carry ids and can be replayed.
    stream_resumable: Option<bool>,
    /// Passed on.
    feedback_keys: Option<Vec<String>>,
    /// What becomes of the runs in flight: `reject`, `enqueue` (the default), `interrupt` or
    /// `rollback`.
    #[schema(value_type = Option<String>)]
    multitask_strategy: Option<MultitaskStrategy>,
    /// What to do without a thread.
    if_not_exists: Option<IfNotExists>,
    /// What becomes of the thread of a run without a caller's thread.
    on_completion: Option<OnCompletion>,
    /// What becomes of the run when the client goes away; for the forms that stream or wait.
    on_disconnect: Option<OnDisconnect>,
    /// How many seconds to wait before the run is due.
    after_seconds: Option<f64>,
    /// The old form of `durability`: `false` is `exit`.
    checkpoint_during: Option<bool>,
    /// When checkpoints are written: `sync`, `async` (the default) or `exit`.
    #[schema(value_type = Option<String>)]
    durability: Option<Durability>,
}

/// A request for a run, checked and complete but for what is looked up.
#[derive(Debug)]
pub struct RunRequest {
    /// An assistant's id, or the name of a graph.
    pub assistant: String,
    /// How it is to execute.
    pub kwargs: RunKwargs,
    /// What `config.configurable` holds for this run alone.
    pub own_configurable: JsonMap,
    /// The caller's metadata.
    pub metadata: JsonMap,
    /// What becomes of the runs in flight.
    pub multitask_strategy: MultitaskStrategy,
    /// How long to wait before it is due.
    pub delay: TimeDelta,
    /// What to do without a thread.
    pub if_thread_missing: IfThreadMissing,
    /// What is kept of it if it is stopped, as far as it says so.
    pub policy: PartialOverride,
    /// What becomes of it when the client goes away.
    pub on_disconnect: OnDisconnect,
}

impl RunCreate {
    /// Checks a run on the thread `thread`.
    pub fn on_thread(self, thread: ThreadId) -> Result<RunRequest, RunRefusal> {
        self.checked(Some(thread))
    }

    /// Checks a run that gets a thread of its own.
    pub fn alone(mut self) -> Result<RunRequest, RunRefusal> {
        let temporary = self.on_completion.unwrap_or_default() == OnCompletion::Delete;
        self.checkpoint = None;
        self.checkpoint_id = None;
        self.if_not_exists = Some(IfNotExists::Create);
        let mut request = self.checked(None)?;
        request.kwargs.temporary = temporary;
        Ok(request)
    }

    fn checked(self, thread: Option<ThreadId>) -> Result<RunRequest, RunRefusal> {
        let command = checked_command(self.command)?;
        if thread.is_none() && command.as_ref().is_some_and(|command| command.resumes) {
            return Err(RunRefusal::ResumeWithoutThread);
        }
        let command = command.map(|command| command.text);
        check_document("input", self.input.as_ref())?;
        check_webhook(self.webhook.as_deref())?;
        let Configuration {
            config,
            context,
            own,
        } = Configuration::of(
            self.config.unwrap_or_default().into_map(),
            self.context.map(Context::into_map),
            self.checkpoint,
            self.checkpoint_id,
            thread,
        )?;
        let policy = PartialOverride::of_configurable(Some(&own)).map_err(|error| {
            RunRefusal::Invalid(format!("config.configurable.runloom: {error}"))
        })?;
        let mut metadata = self.metadata.unwrap_or_default();
        strip_metadata(&mut metadata);
        let during = match self.checkpoint_during {
            Some(false) => Durability::Exit,
            Some(true) | None => Durability::Async,
        };
        let mut stream_mode = self.stream_mode;
        if stream_mode.is_empty() {
            stream_mode.push(StreamMode::Values);
        }
        Ok(RunRequest {
            assistant: self.assistant_id,
            kwargs: RunKwargs {
                input: self.input.filter(|_| command.is_none()),
                command,
                config,
                context,
                stream_mode,
                interrupt_before: self.interrupt_before,
                interrupt_after: self.interrupt_after,
                webhook: self.webhook,
                feedback_keys: self.feedback_keys,
                temporary: false,
                subgraphs: self.stream_subgraphs.unwrap_or_default(),
                resumable: self.stream_resumable.unwrap_or_default(),
                durability: self.durability.unwrap_or(during),
                // Of the request's headers, not of its body.
                trace: None,
            },
            own_configurable: own,
            metadata,
            multitask_strategy: self.multitask_strategy.unwrap_or_default(),
            delay: delay(self.after_seconds.unwrap_or_default())?,
            if_thread_missing: match self.if_not_exists.unwrap_or_default() {
                IfNotExists::Create => IfThreadMissing::Create,
                IfNotExists::Reject => IfThreadMissing::Reject,
            },
            policy,
            on_disconnect: self.on_disconnect.unwrap_or_default(),
        })
    }
}

/// A command that has the form of one.
struct Command {
    text: Json,
    resumes: bool,
}

/// Checks the parts of a command that have a form. One that says nothing is none.
fn checked_command(command: Option<Json>) -> Result<Option<Command>, RunRefusal> {
    check_document("command", command.as_ref())?;
    let Some(text) = command else {
        return Ok(None);
    };
    let wrong = |what: &str| RunRefusal::Invalid(format!("command{what}"));
    let parts: JsonMap = text.parse().map_err(|_| wrong(" must be an object"))?;
    let part = |name| parts.get(name).filter(|part| !part.is_null());
    if part("goto").is_some_and(|goto| !is_goto(goto)) {
        return Err(wrong(
            ".goto must be a node's name, {node, input} or a list of these",
        ));
    }
    if part("update").is_some_and(|update| !is_update(update)) {
        return Err(wrong(
            ".update must be an object or a list of pairs of a key and a value",
        ));
    }
    let resumes = part("resume").is_some();
    let says_something = resumes || part("goto").is_some() || part("update").is_some();
    Ok(says_something.then_some(Command { text, resumes }))
}

fn is_goto(goto: &Value) -> bool {
    match goto {
        Value::Array(targets) => targets
            .iter()
            .all(|target| !target.is_array() && is_goto(target)),
        Value::Object(send) => send.get("node").is_some_and(Value::is_string),
        target => target.is_string(),
    }
}

fn is_update(update: &Value) -> bool {
    match update {
        Value::Object(_) => true,
        Value::Array(pairs) => pairs.iter().all(|pair| {
            matches!(
                pair.as_array().map(Vec::as_slice),
                Some([Value::String(_), _])
            )
        }),
        _ => false,
    }
}

/// Documents are passed on unread. What nobody could ever read (half a surrogate pair, a number
/// beyond all bounds, endless nesting) must not get that far.
fn check_document(name: &str, document: Option<&Json>) -> Result<(), RunRefusal> {
    let Some(document) = document else {
        return Ok(());
    };
    match document.parse::<Value>() {
        Ok(_) => Ok(()),
        Err(error) => Err(RunRefusal::Invalid(format!("{name}: {error}"))),
    }
}

fn check_webhook(url: Option<&str>) -> Result<(), RunRefusal> {
    match url {
        Some(url) if url.is_empty() || url.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            let detail = format!("webhook must be a URL, not {url:?}");
            Err(RunRefusal::Invalid(detail))
        }
        _ => Ok(()),
    }
}

fn delay(seconds: f64) -> Result<TimeDelta, RunRefusal> {
    if seconds.abs() > LONGEST_DELAY_SECONDS {
        return Err(RunRefusal::Invalid(format!(
            "after_seconds must be within {LONGEST_DELAY_SECONDS}, not {seconds}"
        )));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range was checked above"
    )]
    let micros = (seconds * 1e6) as i64;
    Ok(TimeDelta::microseconds(micros))
}

/// Reads one stream mode or a list of them.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StreamMode>, D::Error> {
    struct Modes;

    impl<'de> Visitor<'de> for Modes {
        type Value = Vec<StreamMode>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a stream mode or a list of stream modes")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
            StreamMode::deserialize(StrDeserializer::new(name)).map(|mode| vec![mode])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut modes = Vec::new();
            while let Some(mode) = seq.next_element()? {
                modes.push(mode);
            }
            Ok(modes)
        }
    }

    deserializer.deserialize_any(Modes)
}

#[cfg(test)]
mod tests;
