//! One graph within an attempt: the root graph, or a subgraph in a task.

use std::collections::BTreeMap;
use std::sync::Arc;

use runloom_core::checkpoint::CheckpointRef;
use runloom_core::ids::CheckpointId;
use runloom_core::json::JsonMap;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::compiled::CompiledGraph;
use crate::node::Subgraph;
use crate::run::Run;
use crate::state::Stamp;
use crate::task::{Speaker, Task};

/// In whose name the nodes of a graph speak.
#[derive(Clone, Debug)]
pub(crate) enum Voice {
    /// Each in its own: the root graph.
    Own,
    /// All in the name of one task of the root graph.
    Of(Speaker),
    /// What they say does not become part of the thread by itself.
    None,
}

/// One graph within an attempt.
pub(crate) struct Level {
    pub(crate) run: Arc<Run>,
    pub(crate) graph: CompiledGraph,
    /// What its checkpoints are marked with.
    pub(crate) stamp: Stamp,
    /// Its namespace in parts.
    pub(crate) ns: Vec<String>,
    pub(crate) voice: Voice,
    pub(crate) shows_messages: bool,
    /// Trips when its tasks should stop.
    pub(crate) token: CancellationToken,
}

impl Level {
    /// The root graph.
    pub(crate) fn root(run: &Arc<Run>, graph: &CompiledGraph) -> Arc<Self> {
        Arc::new(Self {
            run: run.clone(),
            graph: graph.clone(),
            stamp: stamp(run, String::new(), BTreeMap::new()),
            ns: Vec::new(),
            voice: Voice::Own,
            shows_messages: true,
            token: run.stop.now().clone(),
        })
    }

    /// The graph of a node of `outer`.
    pub(crate) fn below(
        run: &Arc<Run>,
        outer: &CompiledGraph,
        subgraph: &Subgraph,
        task: &Task,
        token: &CancellationToken,
    ) -> Arc<Self> {
        let graph = &subgraph.graph;
        let own = format!("{}:{}", task.slot.name, task.slot.id);
        let mut ns = task.graph_ns.clone();
        ns.push(own);
        // Its words are the thread's if its messages become the thread's messages by themselves.
        let channel = run.messages_channel.as_deref();
        let shared = subgraph.maps.is_none()
            && channel.is_some()
            && graph.messages_channel() == channel
            && outer.messages_channel() == channel;
        let voice = match &task.speaker {
            Some(speaker) if shared => Voice::Of(speaker.clone()),
            _ => Voice::None,
        };
        Arc::new(Self {
            run: run.clone(),
            graph: graph.clone(),
            stamp: stamp(run, ns.join("|"), task.parents.clone()),
            ns,
            voice,
            shows_messages: task.shows_messages,
            token: token.clone(),
        })
    }

    pub(crate) fn is_root(&self) -> bool {
        self.ns.is_empty()
    }

    /// Whether events of this graph are shown.
    pub(crate) fn is_shown(&self) -> bool {
        self.is_root() || self.run.attempt.kwargs.subgraphs
    }

    /// The checkpoints of this graph and of those above, by namespace, if this one is at `id`.
    pub(crate) fn checkpoints(&self, id: &CheckpointId) -> BTreeMap<String, CheckpointId> {
        let mut map = self.stamp.parents.clone();
        map.insert(self.stamp.ns.clone(), id.clone());
        map
    }

    /// The checkpoint `id` as clients name it.
    pub(crate) fn reference(&self, id: &CheckpointId) -> CheckpointRef {
        reference(&self.stamp, id)
    }
}

/// The checkpoint `id` as clients name it.
pub(crate) fn reference(stamp: &Stamp, id: &CheckpointId) -> CheckpointRef {
    let map = (!stamp.ns.is_empty()).then(|| {
        let mut map: JsonMap = JsonMap::new();
        for (ns, id) in &stamp.parents {
            map.insert(ns.clone(), json!(id));
        }
        map.insert(stamp.ns.clone(), json!(id));
        map
    });
    CheckpointRef {
        thread_id: stamp.thread_id,
        checkpoint_ns: stamp.ns.clone(),
        checkpoint_id: Some(id.clone()),
        checkpoint_map: map,
    }
}

fn stamp(run: &Run, ns: String, parents: BTreeMap<String, CheckpointId>) -> Stamp {
    Stamp {
        thread_id: run.attempt.thread_id,
        run_id: Some(run.attempt.run_id),
        ns,
        parents,
        metadata: run.metadata.clone(),
    }
}
