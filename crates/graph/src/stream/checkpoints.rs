//! Checkpoints as events.

use serde_json::{Value, json};

use crate::engine::{Level, Loop};
use crate::state::{Progress, Shown, Slot, slots};

impl Level {
    /// The checkpoint that `here` is at.
    pub(crate) async fn show_checkpoint(&self, here: &Loop) {
        let modes = &self.run.modes;
        if !(modes.checkpoints || modes.debug) || !self.is_shown() {
            return;
        }
        let payload = self.payload(here);
        if modes.checkpoints {
            self.emit("checkpoints", &payload).await;
        }
        self.show_debug("checkpoint", here.at().step, payload).await;
    }

    fn payload(&self, here: &Loop) -> Value {
        let at = here.at();
        let slots = slots(at, &self.stamp.ns);
        let config = |id| json!({"configurable": self.reference(id)});
        let next: Vec<_> = slots.iter().map(|slot| &slot.name).collect();
        let tasks: Vec<_> = slots
            .iter()
            .map(|slot| self.task_payload(slot, here))
            .collect();
        json!({
            "config": config(&at.id),
            "parent_config": at.parent.as_ref().map(config),
            "values": Shown::of(self.graph.parts(), &at.values),
            "metadata": at.metadata,
            "next": next,
            "tasks": tasks,
        })
    }

    fn task_payload(&self, slot: &Slot, here: &Loop) -> Value {
        let progress = Progress::of(&here.at().rows, &slot.id).unwrap_or_default();
        let graph = self.graph.parts();
        let is_subgraph = graph
            .nodes
            .get(&slot.name)
            .is_some_and(|node| node.as_subgraph().is_some());
        let state = is_subgraph.then(|| {
            let place = json!({"thread_id": self.stamp.thread_id, "checkpoint_ns": slot.ns});
            json!({ "configurable": place })
        });
        let mut payload = json!({
            "id": slot.id,
            "name": slot.name,
            "interrupts": progress.interrupts,
            "state": state,
        });
        if let Some(error) = progress.error {
            payload["error"] = error.into();
        } else if let Some(finished) = progress.finished {
            let result = finished.shown(|channel| graph.shows(channel));
            payload["result"] = result.unwrap_or_else(|| json!({}));
        }
        payload
    }
}
