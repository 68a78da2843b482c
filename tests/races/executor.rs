//! An executor whose runs take a few steps of random length, and that tells the history what it
//! really did.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runloom_core::checkpoint::{
    Blob, ChannelBlob, Checkpoint, CheckpointTuple, NULL_TASK, NewCheckpoint,
};
use runloom_core::clock::Clock;
use runloom_core::executor::{
    Attempt, CheckpointReader, Ended, Executor, ExecutorError, GraphInfo, GraphSchemas, Host,
    HostError, Outcome, StopKind, Work,
};
use runloom_core::ids::{CheckpointId, GraphId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::message::add_messages;
use runloom_core::run::RunError;
use runloom_core::state::{Head, HistoryQuery, StateQuery, StateUpdate, ThreadState};
use serde_json::{Value, json};

use crate::acts::Acts;
use crate::chaos::Pause;

/// The graph of all runs here.
pub(crate) const GRAPH: &str = "steps";

/// How a run takes being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// It stops at once.
    Obedient,
    /// It goes on to the end of its step, then stops.
    Slow,
    /// It never notices.
    Deaf,
    /// It ends with an error of its own.
    Angry,
    /// Its first attempt fails as if infrastructure had.
    Flaky,
}

/// The input of a run: what it says and how it behaves.
pub(crate) fn input(text: &str, steps: u32, step_millis: u64, temper: Temper) -> Json {
    Json::from_value(&json!({
        "text": text,
        "steps": steps,
        "step_millis": step_millis,
        "temper": format!("{temper:?}"),
    }))
}

/// Runs graphs for one worker.
pub(crate) struct Steps {
    pub(crate) acts: Arc<Acts>,
    pub(crate) pause: Pause,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a checkpoint holds here.
struct Position {
    id: Option<CheckpointId>,
    messages: Vec<Value>,
    step: u64,
    /// Whether the run that asks wrote it.
    own: bool,
}

impl Steps {
    async fn position(
        &self,
        reader: &dyn CheckpointReader,
        attempt: &Attempt,
    ) -> Result<Position, HostError> {
        Ok(match reader.checkpoint("", None).await? {
            None => Position {
                id: None,
                messages: Vec::new(),
                step: 0,
                own: false,
            },
            Some(tuple) => {
                let own = tuple.checkpoint.run_id == Some(attempt.run_id);
                let left = tuple.checkpoint.metadata.get("left").filter(|_| own);
                let step = left.and_then(Value::as_u64).unwrap_or(0);
                Position {
                    messages: messages(&tuple, !own),
                    id: Some(tuple.checkpoint.id),
                    step,
                    own,
                }
            }
        })
    }

    async fn put(
        &self,
        host: &dyn Host,
        attempt: &Attempt,
        at: &mut Position,
        text: String,
        left: u64,
    ) -> Result<(), HostError> {
        let update = json!([{"role": "ai", "content": text}]);
        at.messages = add_messages(&at.messages, &update).expect("a message");
        let id = CheckpointId::after(at.id.as_ref(), self.clock.now());
        let metadata = json!({"left": left, "next": left > 0});
        let checkpoint = Checkpoint {
            thread_id: attempt.thread_id,
            ns: String::new(),
            id: id.clone(),
            parent: at.id.clone(),
            run_id: Some(attempt.run_id),
            metadata: serde_json::from_value(metadata).expect("an object"),
            head: Blob::json(&json!({})).expect("JSON"),
            versions: BTreeMap::from([("messages".to_owned(), id.0.clone())]),
            created_at: self.clock.now(),
        };
        let blob = ChannelBlob {
            channel: "messages".to_owned(),
            version: id.0.clone(),
            blob: Blob::json(&at.messages).expect("JSON"),
        };
        host.put_checkpoint(NewCheckpoint {
            checkpoint,
            blobs: vec![blob],
        })
        .await?;
        self.acts.wrote(attempt);
        at.id = Some(id);
        at.step = left;
        at.own = true;
        Ok(())
    }

    async fn run(
        &self,
        attempt: &Attempt,
        host: &dyn Host,
    ) -> Result<(Ended, Position), HostError> {
        let input = attempt
            .kwargs
            .input
            .as_ref()
            .map_or(Value::Null, Json::to_value);
        let temper = input["temper"].as_str().unwrap_or_default().to_owned();
        let step = Duration::from_millis(input["step_millis"].as_u64().unwrap_or(1));
        let steps = input["steps"].as_u64().unwrap_or(1);
        let mut at = self.position(host, attempt).await?;
        if !at.own {
            let text = input["text"].as_str().unwrap_or_default().to_owned();
            self.put(host, attempt, &mut at, text, steps).await?;
        }
        if attempt.work == Work::ApplyInput {
            return Ok((Ended::Stopped, at));
        }
        if temper == "Flaky" && attempt.attempt == 1 {
            return Ok((
                Ended::Retry(RunError::new("Flaky", "the first attempt fails")),
                at,
            ));
        }
        while at.step > 0 {
            self.pause.passed().await;
            if let Some(ended) = self.step(attempt, &temper, step).await {
                return Ok((ended, at));
            }
            let text = format!("{}/{}", attempt.run_id, at.step);
            let left = at.step - 1;
            self.put(host, attempt, &mut at, text, left).await?;
        }
        Ok((Ended::Success, at))
    }

    /// One step of user code; `Some` if it was stopped.
    async fn step(&self, attempt: &Attempt, temper: &str, length: Duration) -> Option<Ended> {
        let mut stop = attempt.stop.clone();
        let asked = *stop.borrow();
        let deaf = temper == "Deaf" && asked != Some(StopKind::LeaseLost);
        if let (Some(kind), false) = (asked, deaf) {
            return Some(ended(kind, temper));
        }
        self.acts.acted(attempt, self.clock.now());
        let work = tokio::time::sleep(length);
        let stopped = async {
            stop.wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|kind| *kind)
        };
        tokio::select! {
            biased;
            kind = stopped => match temper {
                "Deaf" if kind != Some(StopKind::LeaseLost) => {
                    tokio::time::sleep(length).await;
                    None
                }
                "Slow" => {
                    tokio::time::sleep(length / 2).await;
                    Some(ended(kind?, temper))
                }
                _ => Some(ended(kind?, temper)),
            },
            () = work => None,
        }
    }
}

fn ended(kind: StopKind, temper: &str) -> Ended {
    match (kind, temper) {
        (StopKind::Drain, _) => Ended::Drained,
        (_, "Angry") => Ended::Failed(RunError::new("Angry", "cancellation became an error")),
        _ => Ended::Stopped,
    }
}

fn head(at: &Position) -> Head {
    Head {
        checkpoint_id: at.id.clone(),
        values: Json::from_value(&json!({"messages": at.messages})),
        next: if at.step > 0 {
            vec!["step".to_owned()]
        } else {
            Vec::new()
        },
        interrupts: JsonMap::new(),
    }
}

/// Whether a checkpoint has steps left to run.
pub(crate) fn unfinished(tuple: &CheckpointTuple) -> bool {
    tuple.checkpoint.metadata.get("next") == Some(&Value::Bool(true))
}

/// The messages at a checkpoint, with what an interrupted run had left beside it unless a resume
/// asks.
pub(crate) fn messages(tuple: &CheckpointTuple, with_residue: bool) -> Vec<Value> {
    let decode = |blob: &Blob| serde_json::from_slice::<Value>(&blob.data).expect("JSON");
    let stored = tuple.channels.get("messages").map(decode);
    let mut messages = stored
        .and_then(|value| value.as_array().cloned())
        .unwrap_or_default();
    for write in tuple
        .writes
        .iter()
        .filter(|write| with_residue && write.task_id == NULL_TASK)
    {
        messages = add_messages(&messages, &decode(&write.blob)).expect("messages");
    }
    messages
}

#[async_trait]
impl Executor for Steps {
    fn graphs(&self) -> Vec<GraphInfo> {
        let messages_channel = Some("messages".to_owned());
        vec![GraphInfo {
            id: GRAPH.into(),
            description: None,
            messages_channel,
        }]
    }

    async fn execute(&self, attempt: Attempt, host: Arc<dyn Host>) -> Outcome {
        match self.run(&attempt, host.as_ref()).await {
            Ok((ended, at)) => Outcome {
                ended,
                head: Some(head(&at)),
            },
            Err(HostError::Fenced) => Outcome {
                ended: Ended::Stopped,
                head: None,
            },
            Err(HostError::Unavailable(why)) => {
                let ended = Ended::Retry(RunError::new("Unavailable", why));
                Outcome { ended, head: None }
            }
        }
    }

    async fn state(
        &self,
        _graph: &GraphId,
        query: StateQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Option<ThreadState>, ExecutorError> {
        let Some(tuple) = reader
            .checkpoint(&query.ns, query.checkpoint_id.as_ref())
            .await?
        else {
            return Ok(None);
        };
        let next = unfinished(&tuple);
        Ok(Some(ThreadState {
            values: Json::from_value(&json!({"messages": messages(&tuple, true)})),
            next: if next {
                vec!["step".to_owned()]
            } else {
                Vec::new()
            },
            checkpoint: Some(runloom_core::checkpoint::CheckpointRef {
                thread_id: query.thread_id,
                checkpoint_ns: String::new(),
                checkpoint_id: Some(tuple.checkpoint.id),
                checkpoint_map: None,
            }),
            ..ThreadState::empty()
        }))
    }

    async fn history(
        &self,
        graph: &GraphId,
        _query: HistoryQuery,
        _reader: Arc<dyn CheckpointReader>,
    ) -> Result<Vec<ThreadState>, ExecutorError> {
        Err(ExecutorError::UnknownGraph(graph.clone()))
    }

    async fn update_state(
        &self,
        graph: &GraphId,
        _update: StateUpdate,
        _host: Arc<dyn Host>,
    ) -> Result<Head, ExecutorError> {
        Err(ExecutorError::UnknownGraph(graph.clone()))
    }

    async fn drawing(&self, graph: &GraphId, _xray: u32) -> Result<Json, ExecutorError> {
        Err(ExecutorError::UnknownGraph(graph.clone()))
    }

    async fn schemas(&self, graph: &GraphId) -> Result<GraphSchemas, ExecutorError> {
        Err(ExecutorError::UnknownGraph(graph.clone()))
    }

    async fn subgraphs(
        &self,
        graph: &GraphId,
        _recurse: bool,
    ) -> Result<Vec<(String, GraphSchemas)>, ExecutorError> {
        Err(ExecutorError::UnknownGraph(graph.clone()))
    }
}
