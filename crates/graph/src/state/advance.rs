//! From one checkpoint to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use runloom_core::checkpoint::{Blob, ChannelBlob, Checkpoint, NewCheckpoint};
use runloom_core::ids::{CheckpointId, RunId, ThreadId, random_id};
use runloom_core::json::JsonMap;
use serde_json::{Value, json};

use super::plan::Plan;
use super::snapshot::{INPUT, Snapshot, starting_values};
use crate::compiled::Graph;

/// Where a checkpoint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Origin {
    /// An input was received.
    Input,
    /// A superstep finished.
    Loop,
    /// Somebody changed the state from outside.
    Update,
    /// Another checkpoint was copied.
    Fork,
}

/// What new checkpoints of one graph are marked with.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub(crate) thread_id: ThreadId,
    pub(crate) run_id: Option<RunId>,
    pub(crate) ns: String,
    /// The checkpoints of the graphs above, by namespace.
    pub(crate) parents: BTreeMap<String, CheckpointId>,
    /// Goes into the metadata of every checkpoint.
    pub(crate) metadata: Arc<JsonMap>,
}

impl Stamp {
    fn metadata(&self, origin: Origin, step: i64) -> JsonMap {
        let source: &str = origin.into();
        let mut metadata = JsonMap::with_capacity(self.metadata.len() + 3);
        let shared = self.metadata.iter();
        metadata.extend(shared.map(|(key, value)| (key.clone(), value.clone())));
        metadata.insert("source".to_owned(), json!(source));
        metadata.insert("step".to_owned(), json!(step));
        metadata.insert("parents".to_owned(), json!(self.parents));
        metadata
    }
}

impl Snapshot {
    /// The state before the first checkpoint, about to become it.
    pub(crate) fn first(graph: &Graph, stamp: &Stamp, origin: Origin, now: DateTime<Utc>) -> Self {
        Self {
            id: CheckpointId::after(None, now),
            parent: None,
            run_id: stamp.run_id,
            step: -1,
            metadata: stamp.metadata(origin, -1),
            created_at: now,
            values: starting_values(graph),
            versions: BTreeMap::new(),
            changed: std::collections::BTreeSet::new(),
            input: None,
            plan: Plan::default(),
            rows: Vec::new(),
        }
    }

    /// The checkpoint that follows this one, with the same values so far. `latest` is the newest
    /// checkpoint of the thread, if it is not this one.
    pub(crate) fn next(
        &self,
        stamp: &Stamp,
        origin: Origin,
        plan: Plan,
        latest: Option<&CheckpointId>,
        now: DateTime<Utc>,
    ) -> Self {
        let newest = latest.map_or(&self.id, |latest| latest.max(&self.id));
        Self {
            id: CheckpointId::after(Some(newest), now),
            parent: Some(self.id.clone()),
            run_id: stamp.run_id,
            step: self.step + 1,
            metadata: stamp.metadata(origin, self.step + 1),
            created_at: now,
            values: self.values.clone(),
            versions: self.versions.clone(),
            changed: self.changed.clone(),
            input: None,
            plan,
            rows: Vec::new(),
        }
    }

    /// Keeps `input` until it is applied.
    pub(crate) fn with_input(mut self, input: Value) -> Self {
        self.input = Some(Arc::new(input));
        self.changed.insert(INPUT.to_owned());
        self.plan = Plan::start();
        self
    }

    /// Gives new versions to what changed. Called once, when the checkpoint is complete.
    pub(crate) fn seal(&mut self) {
        if self.input.is_none() {
            self.versions.remove(INPUT);
            self.changed.remove(INPUT);
        }
        let newest = self
            .versions
            .values()
            .filter_map(|version| number(version))
            .max();
        // The random part keeps versions apart that two attempts made of the same checkpoint.
        let version = format!("{:032}.{}", newest.unwrap_or(0) + 1, &random_id()[..8]);
        for channel in std::mem::take(&mut self.changed) {
            self.versions.insert(channel, version.clone());
        }
    }

    /// The checkpoint as it is stored. Only values are included whose version is not among those
    /// that are `stored` already.
    pub(crate) fn encode(
        &self,
        stamp: &Stamp,
        parent: Option<CheckpointId>,
        stored: &BTreeMap<String, String>,
    ) -> Result<NewCheckpoint, serde_json::Error> {
        let mut blobs = Vec::new();
        for (channel, version) in &self.versions {
            if stored.get(channel) == Some(version) {
                continue;
            }
            let value = if channel == INPUT {
                self.input.as_ref()
            } else {
                self.values.get(channel)
            };
            if let Some(value) = value {
                blobs.push(ChannelBlob {
                    channel: channel.clone(),
                    version: version.clone(),
                    blob: Blob::json(&**value)?,
                });
            }
        }
        let checkpoint = Checkpoint {
            thread_id: stamp.thread_id,
            ns: stamp.ns.clone(),
            id: self.id.clone(),
            parent,
            run_id: self.run_id,
            metadata: self.metadata.clone(),
            head: Blob::json(&self.plan)?,
            versions: self.versions.clone(),
            created_at: self.created_at,
        };
        Ok(NewCheckpoint { checkpoint, blobs })
    }
}

/// The counting part of a version.
fn number(version: &str) -> Option<u64> {
    version.split('.').next()?.parse().ok()
}
