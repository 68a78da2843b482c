//! The tasks of a superstep, with what is known of them from earlier attempts.

use std::sync::Arc;

use super::{Fault, Loop, Voice};
use crate::state::{Finished, Progress, Slot, slots};
use crate::task::{Speaker, Task};

/// A task of the superstep at hand.
pub(super) struct Entry {
    pub(super) task: Arc<Task>,
    /// What it did, once it has finished.
    pub(super) finished: Option<Finished>,
    /// The superstep cannot be completed: it did not finish.
    pub(super) open: Option<Open>,
}

/// Why a task is not finished.
pub(super) enum Open {
    /// It waits for a human.
    Interrupted(Vec<crate::error::Interrupt>),
    /// It was stopped, or failed.
    Aborted,
    /// It stopped between supersteps of its subgraph.
    Drained,
}

impl Loop {
    /// The tasks of the next superstep.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Fault> {
        let slots = slots(&self.at, &self.level.stamp.ns);
        let entry = |slot: Slot| {
            let progress = if self.resumed {
                Progress::of(&self.at.rows, &slot.id)?
            } else {
                Progress::default()
            };
            Ok(Entry {
                task: Arc::new(self.task(slot, progress.answers)),
                finished: progress.finished,
                open: None,
            })
        };
        slots.into_iter().map(entry).collect()
    }

    fn task(&self, slot: Slot, answers: Vec<serde_json::Value>) -> Task {
        let level = &self.level;
        let node = level.graph.parts().nodes.get(&slot.name);
        let speaker = match &level.voice {
            Voice::Own => Some(Speaker {
                task_id: slot.id.clone(),
                node: slot.name.clone(),
            }),
            Voice::Of(speaker) => Some(speaker.clone()),
            Voice::None => None,
        };
        Task {
            step: self.at.step + 1,
            graph_ns: level.ns.clone(),
            parents: level.checkpoints(&self.at.id),
            values: Arc::new(self.at.values.clone()),
            answers,
            again: self.resumed,
            speaker,
            shows_messages: level.shows_messages && node.is_none_or(|node| node.streams),
            metadata: node.map(|node| node.metadata.clone()).unwrap_or_default(),
            slot,
        }
    }
}
