//! One attempt of a scripted run.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use runloom_core::checkpoint::{
    Blob, Checkpoint, CheckpointTuple, NULL_TASK, NewCheckpoint, NewWrites, PendingWrite,
    RESIDUE_PATH,
};
use runloom_core::clock::Clock;
use runloom_core::executor::{
    Attempt, Emission, Ended, Host, HostError, Outcome, Said, StopKind, StopSignal, Work,
};
use runloom_core::ids::CheckpointId;
use runloom_core::json::Json;
use runloom_core::message::{MessageError, add_messages};
use runloom_core::run::RunError;
use runloom_core::state::Head;
use serde_json::{Value, json};

use super::script::Step;

/// The channel of the messages.
pub(super) const MESSAGES: &str = "messages";

/// The node that everything happens in.
pub(super) const NODE: &str = "script";

/// Plays one attempt.
pub(super) struct Player {
    attempt: Attempt,
    stop: StopSignal,
    host: Arc<dyn Host>,
    clock: Arc<dyn Clock>,
    /// The latest checkpoint.
    head: Option<CheckpointId>,
    messages: Vec<Value>,
    /// How many supersteps of the script the run has behind it.
    done: usize,
    /// How many the script has.
    length: usize,
}

/// Why a script does not go on.
enum Halt {
    Ended(Ended),
    Host(HostError),
}

impl From<HostError> for Halt {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

impl Player {
    pub(super) fn new(
        attempt: Attempt,
        host: Arc<dyn Host>,
        clock: Arc<dyn Clock>,
        script: &[Step],
    ) -> Self {
        Self {
            stop: attempt.stop.clone(),
            attempt,
            host,
            clock,
            head: None,
            messages: Vec::new(),
            done: 0,
            length: script.iter().filter(|step| ends_superstep(step)).count(),
        }
    }

    pub(super) async fn play(mut self, script: &[Step]) -> Outcome {
        let ended = match self.perform(script).await {
            Ok(()) => Ended::Success,
            Err(Halt::Ended(ended)) => ended,
            Err(Halt::Host(HostError::Fenced)) => Ended::Stopped,
            Err(Halt::Host(error)) => Ended::Retry(RunError::new("Storage", error.to_string())),
        };
        let next = match &ended {
            Ended::Success => Vec::new(),
            _ if self.done == self.length => Vec::new(),
            _ => vec![NODE.to_owned()],
        };
        let interrupts = match &ended {
            Ended::Paused => json!({"script-task": [{"value": "paused", "id": "pause"}]}),
            _ => json!({}),
        };
        let head = Head {
            checkpoint_id: self.head.clone(),
            values: Json::from_value(&json!({ MESSAGES: self.messages })),
            next,
            interrupts: interrupts.as_object().cloned().unwrap_or_default(),
        };
        Outcome {
            ended,
            head: Some(head),
        }
    }

    async fn perform(&mut self, script: &[Step]) -> Result<(), Halt> {
        self.begin().await?;
        if self.attempt.work == Work::ApplyInput {
            return Err(Halt::Ended(Ended::Stopped));
        }
        let mut behind = self.done;
        for step in script {
            if behind > 0 {
                // A superstep that an earlier attempt finished is not repeated.
                behind -= usize::from(ends_superstep(step));
                continue;
            }
            self.heed_stop()?;
            self.step(step).await?;
        }
        Ok(())
    }

    /// Reads where the thread stands and applies the input, unless an earlier attempt did.
    async fn begin(&mut self) -> Result<(), Halt> {
        let latest = self.host.checkpoint("", None).await?;
        if let Some(latest) = &latest {
            self.head = Some(latest.checkpoint.id.clone());
            let resumes = !self.attempt.kwargs.has_input()
                || latest.checkpoint.run_id == Some(self.attempt.run_id);
            self.messages = messages_of(latest, !resumes);
            if resumes {
                let done = &latest.checkpoint.metadata["done"];
                self.done = usize::try_from(done.as_u64().unwrap_or(0)).unwrap_or(0);
                return Ok(());
            }
        }
        if let Some(input) = self
            .attempt
            .kwargs
            .input
            .clone()
            .filter(|input| !input.is_null())
        {
            self.add(&input.to_value()[MESSAGES])?;
            self.put_checkpoint("input").await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), Halt> {
        match step {
            Step::Emit(data) => self.emit("custom", data, None).await,
            Step::Say { message_id, text } => self.say(message_id, text).await,
            Step::Superstep(message) => {
                self.add(message)?;
                self.done += 1;
                self.put_checkpoint("loop").await?;
                let values = json!({ MESSAGES: self.messages });
                self.emit("values", &values, None).await;
            }
            Step::Write { task_id, message } => self.put_write(task_id, message).await?,
            Step::Work(duration) => {
                tokio::select! {
                    () = tokio::time::sleep(*duration) => {}
                    kind = hard_stop(self.stop.clone()) => return Err(Halt::Ended(end_of(kind))),
                }
            }
            Step::Pass(gate) => {
                tokio::select! {
                    () = gate.pass() => {}
                    kind = hard_stop(self.stop.clone()) => return Err(Halt::Ended(end_of(kind))),
                }
            }
            Step::PassDeaf(gate) => gate.pass().await,
            Step::AwaitStop => {
                let kind = any_stop(self.stop.clone()).await;
                return Err(Halt::Ended(end_of(kind)));
            }
            Step::FailOnStop => {
                let kind = any_stop(self.stop.clone()).await;
                let error = RunError::new("Careless", format!("was told to {kind}"));
                return Err(Halt::Ended(Ended::Failed(error)));
            }
            Step::Pause => {
                self.done += 1;
                self.put_checkpoint("loop").await?;
                return Err(Halt::Ended(Ended::Paused));
            }
            Step::Fail(error) => return Err(Halt::Ended(Ended::Failed(error.clone()))),
            Step::Retry(error) => return Err(Halt::Ended(Ended::Retry(error.clone()))),
            Step::Panic(message) => panic!("{message}"),
        }
        Ok(())
    }

    /// Ends the script if it was asked to stop.
    fn heed_stop(&self) -> Result<(), Halt> {
        match *self.stop.borrow() {
            None => Ok(()),
            Some(kind) => Err(Halt::Ended(end_of(kind))),
        }
    }

    fn add(&mut self, update: &Value) -> Result<(), Halt> {
        let invalid = |error: MessageError| {
            Halt::Ended(Ended::Failed(RunError::new(
                "InvalidInput",
                error.to_string(),
            )))
        };
        self.messages = add_messages(&self.messages, update).map_err(invalid)?;
        Ok(())
    }

    async fn put_checkpoint(&mut self, source: &str) -> Result<(), Halt> {
        let id = CheckpointId::after(self.head.as_ref(), self.clock.now());
        let mut metadata = self.attempt.metadata.clone();
        metadata.insert("source".to_owned(), source.into());
        metadata.insert("done".to_owned(), self.done.into());
        metadata.insert("attempt".to_owned(), self.attempt.attempt.into());
        let checkpoint = Checkpoint {
            thread_id: self.attempt.thread_id,
            ns: String::new(),
            id: id.clone(),
            parent: self.head.clone(),
            run_id: Some(self.attempt.run_id),
            metadata,
            head: json_blob(&json!(self.messages)),
            versions: BTreeMap::new(),
            created_at: self.clock.now(),
        };
        let new = NewCheckpoint {
            checkpoint,
            blobs: Vec::new(),
        };
        self.host.put_checkpoint(new).await?;
        self.head = Some(id);
        Ok(())
    }

    async fn put_write(&self, task_id: &str, message: &Value) -> Result<(), Halt> {
        let Some(checkpoint_id) = self.head.clone() else {
            return Ok(());
        };
        let write = PendingWrite {
            task_id: task_id.to_owned(),
            task_path: NODE.to_owned(),
            index: 0,
            channel: MESSAGES.to_owned(),
            blob: json_blob(&json!([message])),
        };
        let writes = NewWrites {
            ns: String::new(),
            checkpoint_id,
            writes: vec![write],
        };
        Ok(self.host.put_writes(writes).await?)
    }

    async fn say(&self, message_id: &str, text: &str) {
        let chunk = json!([{"type": "AIMessageChunk", "id": message_id, "content": text}, {}]);
        let said = Said {
            task_id: "script-task".to_owned(),
            node: NODE.to_owned(),
            message_id: message_id.to_owned(),
            text: text.to_owned(),
        };
        self.emit("messages", &chunk, Some(said)).await;
    }

    async fn emit(&self, event: &'static str, data: &Value, said: Option<Said>) {
        let emission = Emission {
            event,
            ns: Vec::new(),
            data: Bytes::from(data.to_string()),
            said,
        };
        self.host.emit(vec![emission]).await;
    }
}

fn ends_superstep(step: &Step) -> bool {
    matches!(step, Step::Superstep(_) | Step::Pause)
}

fn json_blob(value: &Value) -> Blob {
    Blob::json(value).expect("a JSON value encodes")
}

fn end_of(kind: StopKind) -> Ended {
    match kind {
        StopKind::Drain => Ended::Drained,
        _ => Ended::Stopped,
    }
}

/// The next stop of any kind.
async fn any_stop(mut stop: StopSignal) -> StopKind {
    match stop.wait_for(Option::is_some).await.map(|kind| *kind) {
        Ok(Some(kind)) => kind,
        // Nobody is left who could ask.
        _ => std::future::pending().await,
    }
}

/// The next stop that does not wait for the end of a superstep.
async fn hard_stop(mut stop: StopSignal) -> StopKind {
    let is_hard = |kind: &Option<StopKind>| kind.is_some_and(|kind| kind != StopKind::Drain);
    match stop.wait_for(is_hard).await.map(|kind| *kind) {
        Ok(Some(kind)) => kind,
        _ => std::future::pending().await,
    }
}

/// The messages of a checkpoint, with what was written to the state beside it.
pub(super) fn messages_of(tuple: &CheckpointTuple, with_residue: bool) -> Vec<Value> {
    let mut messages: Vec<Value> =
        serde_json::from_slice(&tuple.checkpoint.head.data).unwrap_or_default();
    let writes = tuple.writes.iter();
    let counts = |write: &&PendingWrite| {
        write.task_id == NULL_TASK
            && write.channel == MESSAGES
            && (with_residue || write.task_path != RESIDUE_PATH)
    };
    for write in writes.filter(counts) {
        let update: Value = serde_json::from_slice(&write.blob.data).unwrap_or_default();
        messages = add_messages(&messages, &update).unwrap_or(messages);
    }
    messages
}
