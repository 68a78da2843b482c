//! A graph to ask and to update: what is written to it is entered in a list, by its node `write`,
//! after which `check` comes. It keeps its checkpoints through the host as any executor does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::BoxFuture;
use runloom_core::checkpoint::{
    Blob, ChannelBlob, Checkpoint, CheckpointQuery, CheckpointRef, CheckpointTuple, NewCheckpoint,
};
use runloom_core::clock::Clock;
use runloom_core::executor::{
    Attempt, CheckpointReader, Executor, ExecutorError, GraphInfo, GraphSchemas, Host, Outcome,
};
use runloom_core::ids::{CheckpointId, GraphId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::state::{
    Head, HistoryQuery, NodeUpdate, StateQuery, StateUpdate, TaskState, ThreadState,
};
use serde_json::{Value, json};

const ENTRIES: &str = "entries";

type Meanwhile = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// See the module.
pub(crate) struct Ledger {
    clock: Arc<dyn Clock>,
    meanwhile: Mutex<Vec<Meanwhile>>,
    away: AtomicBool,
}

impl Ledger {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            meanwhile: Mutex::default(),
            away: AtomicBool::new(false),
        })
    }

    /// Answers no question any more.
    pub(crate) fn leave(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    fn is_here(&self) -> Result<(), ExecutorError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(ExecutorError::Unavailable("out for lunch".to_owned()));
        }
        Ok(())
    }

    /// Lets something happen while the next update is computed.
    pub(crate) fn meanwhile(
        &self,
        action: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) {
        self.meanwhile.lock().unwrap().push(Box::new(action));
    }

    async fn enter(
        &self,
        update: &StateUpdate,
        superstep: &[NodeUpdate],
        base: Option<&CheckpointTuple>,
        host: &dyn Host,
    ) -> Result<CheckpointId, ExecutorError> {
        let mut entries = base.map_or_else(Vec::new, entries);
        let mut next = Vec::new();
        for node in superstep {
            next = match node.as_node.as_deref() {
                None | Some("write") => vec!["check".to_owned()],
                Some("check") => Vec::new(),
                Some("panic") => panic!("the ledger is on fire"),
                Some("fail") => {
                    return Err(ExecutorError::Failed("ValueError: no ink".to_owned()));
                }
                Some(other) => {
                    return Err(ExecutorError::Invalid(format!("no node named {other:?}")));
                }
            };
            let values = node.values.as_ref().map_or(Value::Null, Json::to_value);
            match values {
                Value::Null => {}
                Value::Object(_) => entries.push(values),
                other => {
                    return Err(ExecutorError::Invalid(format!("not an entry: {other}")));
                }
            }
        }
        let latest = host.checkpoint(&update.ns, None).await?;
        let latest = latest.map(|tuple| tuple.checkpoint.id);
        let id = CheckpointId::after(latest.as_ref(), self.clock.now());
        let step = base.map_or(-1, |base| {
            base.checkpoint.metadata["step"].as_i64().unwrap()
        }) + 1;
        let mut metadata = update.metadata.clone();
        metadata.extend([
            ("source".to_owned(), json!("update")),
            ("step".to_owned(), json!(step)),
            ("parents".to_owned(), json!({})),
        ]);
        // Of its own, even where two checkpoints have the same parent.
        let version = id.to_string();
        let checkpoint = Checkpoint {
            thread_id: update.thread_id,
            ns: update.ns.clone(),
            id: id.clone(),
            parent: base.map(|base| base.checkpoint.id.clone()),
            run_id: None,
            metadata,
            head: Blob::json(&next).unwrap(),
            versions: BTreeMap::from([(ENTRIES.to_owned(), version.clone())]),
            created_at: self.clock.now(),
        };
        let blob = ChannelBlob {
            channel: ENTRIES.to_owned(),
            version,
            blob: Blob::json(&entries).unwrap(),
        };
        let blobs = vec![blob];
        host.put_checkpoint(NewCheckpoint { checkpoint, blobs })
            .await?;
        Ok(id)
    }
}

fn entries(tuple: &CheckpointTuple) -> Vec<Value> {
    serde_json::from_slice(&tuple.channels[ENTRIES].data).unwrap()
}

fn next(tuple: &CheckpointTuple) -> Vec<String> {
    serde_json::from_slice(&tuple.checkpoint.head.data).unwrap()
}

fn state(tuple: &CheckpointTuple) -> ThreadState {
    let checkpoint = &tuple.checkpoint;
    let at = |id: &CheckpointId| CheckpointRef {
        thread_id: checkpoint.thread_id,
        checkpoint_ns: checkpoint.ns.clone(),
        checkpoint_id: Some(id.clone()),
        checkpoint_map: None,
    };
    let task = |name: &String| TaskState {
        id: "00000000-0000-5000-8000-000000000000".to_owned(),
        name: name.clone(),
        path: json!(["__pregel_pull", name]),
        error: None,
        interrupts: Vec::new(),
        checkpoint: None,
        state: None,
        result: None,
    };
    ThreadState {
        values: Json::from_value(&json!({ENTRIES: entries(tuple)})),
        tasks: next(tuple).iter().map(task).collect(),
        next: next(tuple),
        metadata: Some(checkpoint.metadata.clone()),
        created_at: Some(checkpoint.created_at),
        checkpoint: Some(at(&checkpoint.id)),
        parent_checkpoint: checkpoint.parent.as_ref().map(at),
        interrupts: Vec::new(),
    }
}

#[async_trait]
impl Executor for Ledger {
    fn graphs(&self) -> Vec<GraphInfo> {
        vec![GraphInfo {
            id: "agent".into(),
            description: Some("Keeps a ledger.".to_owned()),
            messages_channel: None,
        }]
    }

    async fn execute(&self, _: Attempt, _: Arc<dyn Host>) -> Outcome {
        panic!("the gateway never executes a run")
    }

    async fn state(
        &self,
        _: &GraphId,
        query: StateQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Option<ThreadState>, ExecutorError> {
        self.is_here()?;
        let id = query.checkpoint_id.as_ref();
        let tuple = reader.checkpoint(&query.ns, id).await?;
        Ok(tuple.as_ref().map(state))
    }

    async fn history(
        &self,
        _: &GraphId,
        query: HistoryQuery,
        reader: Arc<dyn CheckpointReader>,
    ) -> Result<Vec<ThreadState>, ExecutorError> {
        self.is_here()?;
        let found = reader.checkpoints(CheckpointQuery {
            ns: Some(query.ns),
            before: query.before,
            metadata: query.metadata,
            limit: Some(query.limit),
        });
        Ok(found.await?.iter().map(state).collect())
    }

    async fn update_state(
        &self,
        _: &GraphId,
        update: StateUpdate,
        host: Arc<dyn Host>,
    ) -> Result<Head, ExecutorError> {
        self.is_here()?;
        let mut id = update.checkpoint_id.clone();
        for superstep in &update.supersteps {
            // Read back each time, as an executor may: what was put must be there.
            let base = host.checkpoint(&update.ns, id.as_ref()).await?;
            id = Some(
                self.enter(&update, superstep, base.as_ref(), &*host)
                    .await?,
            );
        }
        let action = self.meanwhile.lock().unwrap().pop();
        if let Some(action) = action {
            action().await;
        }
        let head = host.checkpoint("", None).await?.expect("it was just put");
        Ok(Head {
            checkpoint_id: Some(head.checkpoint.id.clone()),
            values: Json::from_value(&json!({ENTRIES: entries(&head)})),
            next: next(&head),
            interrupts: JsonMap::new(),
        })
    }

    async fn drawing(&self, _: &GraphId, xray: u32) -> Result<Json, ExecutorError> {
        self.is_here()?;
        let drawing = json!({
            "nodes": [{"id": "__start__"}, {"id": "write"}, {"id": "check"}],
            "edges": [{"source": "write", "target": "check"}],
            "unfolded": xray,
        });
        Ok(Json::from_value(&drawing))
    }

    async fn schemas(&self, _: &GraphId) -> Result<GraphSchemas, ExecutorError> {
        Ok(GraphSchemas {
            input_schema: Some(Json::from_value(&json!({"type": "object"}))),
            ..GraphSchemas::default()
        })
    }

    async fn subgraphs(
        &self,
        _: &GraphId,
        recurse: bool,
    ) -> Result<Vec<(String, GraphSchemas)>, ExecutorError> {
        let all = ["write", "write|inner", "check"].into_iter();
        let levels = all.filter(|ns| recurse || !ns.contains('|'));
        Ok(levels
            .map(|ns| (ns.to_owned(), GraphSchemas::default()))
            .collect())
    }
}
