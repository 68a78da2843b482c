//! A checkpoint in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use runloom_core::checkpoint::{CheckpointTuple, PendingWrite};
use runloom_core::ids::{CheckpointId, RunId};
use runloom_core::json::JsonMap;
use serde_json::Value;

use super::apply::apply;
use super::null_rows;
use super::plan::Plan;
use super::rows::decode;
use crate::channel::UpdateError;
use crate::compiled::Graph;
use crate::node::Values;

/// The channel that holds an input until it is applied.
pub(crate) const INPUT: &str = "__start__";

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It was written by a runtime of another language.
    #[error("the checkpoint holds values encoded as {0:?}, which this graph cannot read")]
    Encoding(String),
    /// What is stored is not what was written.
    #[error("the checkpoint cannot be decoded: {0}")]
    Json(#[from] serde_json::Error),
    /// It goes nowhere.
    #[error("not a place to go: {0}")]
    NoPlace(Value),
    /// The graph changed and refuses what is stored.
    #[error(transparent)]
    Update(#[from] UpdateError),
}

/// Whose eyes a checkpoint is read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Clients and new inputs: what an aborted run had said belongs to the state.
    WithResidue,
    /// Resumes: the aborted tasks run again, and say it again.
    WithoutResidue,
}

/// A checkpoint in memory, with the null task's writes applied.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) id: CheckpointId,
    pub(crate) parent: Option<CheckpointId>,
    pub(crate) run_id: Option<RunId>,
    pub(crate) step: i64,
    pub(crate) metadata: JsonMap,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) values: Values,
    /// The versions of `values`; a channel without one has its default.
    pub(crate) versions: BTreeMap<String, String>,
    /// Channels whose value is newer than their version says.
    pub(crate) changed: BTreeSet<String>,
    /// An input that is still to be applied.
    pub(crate) input: Option<Arc<Value>>,
    pub(crate) plan: Plan,
    /// Pending writes of tasks and of the null task.
    pub(crate) rows: Vec<PendingWrite>,
}

impl Snapshot {
    /// Reads a stored checkpoint of `graph`. Channels that the graph no longer has are left out.
    pub(crate) fn read(
        graph: &Graph,
        tuple: CheckpointTuple,
        readers: Readers,
    ) -> Result<Self, ReadError> {
        let CheckpointTuple {
            checkpoint,
            channels,
            writes,
        } = tuple;
        let mut values = starting_values(graph);
        let mut input = None;
        for (name, blob) in &channels {
            if name == INPUT {
                input = Some(Arc::new(decode(blob)?));
            } else if graph.channels.contains_key(name) {
                values.insert(name.clone(), Arc::new(decode(blob)?));
            }
        }
        let mut versions = checkpoint.versions;
        versions.retain(|name, _| name == INPUT || graph.channels.contains_key(name));
        let mut snapshot = Self {
            id: checkpoint.id,
            parent: checkpoint.parent,
            run_id: checkpoint.run_id,
            step: checkpoint
                .metadata
                .get("step")
                .and_then(Value::as_i64)
                .unwrap_or(0),
            metadata: checkpoint.metadata,
            created_at: checkpoint.created_at,
            values,
            versions,
            changed: BTreeSet::new(),
            input,
            plan: decode(&checkpoint.head)?,
            rows: writes,
        };
        let own = null_rows::read(&snapshot.rows, readers == Readers::WithResidue)?;
        snapshot.fold(graph, &own.writes)?;
        snapshot.plan.go(own.places);
        Ok(snapshot)
    }

    /// Applies writes to the values.
    pub(crate) fn fold<'a>(
        &mut self,
        graph: &Graph,
        writes: impl IntoIterator<Item = &'a (String, Value)>,
    ) -> Result<(), UpdateError> {
        let writes = writes
            .into_iter()
            .map(|(channel, value)| (channel.as_str(), value));
        let changed = apply(graph, &mut self.values, writes)?;
        self.changed.extend(changed);
        Ok(())
    }
}

/// The values of a graph before anything was written.
pub(crate) fn starting_values(graph: &Graph) -> Values {
    let defaults = graph.channels.iter().filter_map(|(name, channel)| {
        let value = channel.default_value()?;
        Some((name.clone(), Arc::new(value.clone())))
    });
    defaults.collect()
}
