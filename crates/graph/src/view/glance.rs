//! A checkpoint as readers see it.

use runloom_core::checkpoint::CheckpointTuple;
use runloom_core::json::{Json, JsonMap};
use runloom_core::state::Head;
use serde_json::{Value, json};

use crate::builder::START;
use crate::compiled::CompiledGraph;
use crate::error::Interrupt;
use crate::node::{Input, Values};
use crate::state::{Progress, ReadError, Readers, Shown, Slot, Snapshot, slots};

/// A checkpoint with its tasks.
pub(super) struct Glance {
    pub(super) at: Snapshot,
    pub(super) tasks: Vec<(Slot, Progress)>,
    /// Whether what finished tasks wrote belongs to the values.
    siblings: bool,
}

impl Glance {
    /// Looks at a checkpoint of the namespace `ns`. Of the latest one readers see, too, what those
    /// tasks wrote that have finished in a superstep that has not.
    pub(super) fn at(
        graph: &CompiledGraph,
        tuple: CheckpointTuple,
        latest: bool,
    ) -> Result<Self, ReadError> {
        let ns = tuple.checkpoint.ns.clone();
        let mut at = Snapshot::read(graph.parts(), tuple, Readers::WithResidue)?;
        let task = |slot: Slot| {
            let mut progress = Progress::of(&at.rows, &slot.id)?;
            if progress.finished.is_some() {
                progress.error = None;
                progress.interrupts.clear();
            }
            Ok((slot, progress))
        };
        let tasks: Vec<_> = slots(&at, &ns)
            .into_iter()
            .map(task)
            .collect::<Result<_, ReadError>>()?;
        if latest {
            let finished = tasks
                .iter()
                .filter_map(|(_, progress)| progress.finished.as_ref());
            at.fold(
                graph.parts(),
                finished.flat_map(|finished| &finished.writes),
            )?;
        }
        Ok(Self {
            at,
            tasks,
            siblings: latest,
        })
    }

    /// The channels that clients see.
    pub(super) fn values(&self, graph: &CompiledGraph) -> Json {
        shown(graph, &self.at.values)
    }

    /// The nodes that would run next.
    pub(super) fn next(&self) -> Vec<String> {
        let is_open = |progress: &Progress| !(self.siblings && progress.finished.is_some());
        let open = self.tasks.iter().filter(|(_, progress)| is_open(progress));
        open.map(|(slot, _)| slot.name.clone()).collect()
    }

    /// All interrupts that wait for an answer.
    pub(super) fn interrupts(&self) -> impl Iterator<Item = &Interrupt> {
        self.tasks
            .iter()
            .flat_map(|(_, progress)| &progress.interrupts)
    }

    fn head(&self, graph: &CompiledGraph) -> Head {
        let waiting = self
            .tasks
            .iter()
            .filter(|(_, progress)| !progress.interrupts.is_empty());
        Head {
            checkpoint_id: Some(self.at.id.clone()),
            values: self.values(graph),
            next: self.next(),
            interrupts: waiting
                .map(|(slot, progress)| (slot.id.clone(), json!(progress.interrupts)))
                .collect(),
        }
    }
}

/// What a task wrote, if it finished.
pub(super) fn result(graph: &CompiledGraph, slot: &Slot, progress: &Progress) -> Option<Value> {
    if let (true, Input::Sent(input)) = (slot.name == START, &slot.input) {
        return Some((**input).clone());
    }
    let finished = progress.finished.as_ref()?;
    let written = finished.shown(|channel| graph.parts().shows(channel));
    Some(written.unwrap_or_else(|| json!({})))
}

fn shown(graph: &CompiledGraph, values: &Values) -> Json {
    Json::of(&Shown::of(graph.parts(), values)).expect("JSON values encode")
}

/// The head of a thread whose latest checkpoint is `tuple`.
pub(crate) fn head(
    graph: &CompiledGraph,
    tuple: Option<CheckpointTuple>,
) -> Result<Head, ReadError> {
    match tuple {
        Some(tuple) => Ok(Glance::at(graph, tuple, true)?.head(graph)),
        None => Ok(Head {
            checkpoint_id: None,
            values: Json::from_value(&Value::Object(JsonMap::new())),
            next: Vec::new(),
            interrupts: JsonMap::new(),
        }),
    }
}

/// The head of a thread at the checkpoint `at`, which has no pending writes.
pub(crate) fn head_at_end(graph: &CompiledGraph, at: &Snapshot) -> Head {
    Head {
        checkpoint_id: Some(at.id.clone()),
        values: shown(graph, &at.values),
        next: at
            .plan
            .next
            .iter()
            .map(|planned| planned.name().to_owned())
            .collect(),
        interrupts: JsonMap::new(),
    }
}
