//! Values, updates, tasks and interrupts as events.

use runloom_core::executor::Emission;
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::Level;
use crate::error::Interrupt;
use crate::node::Values;
use crate::state::{Finished, Shown};
use crate::task::Task;

impl Level {
    /// Sends an event of this graph, if its events are shown. Without a client there is nobody to
    /// tell, so what has no JSON form is left out.
    pub(crate) async fn emit(&self, event: &'static str, data: &(impl Serialize + Sync)) {
        if !self.is_shown() {
            return;
        }
        match serde_json::to_vec(data) {
            Ok(data) => {
                let emission = Emission {
                    event,
                    ns: self.ns.clone(),
                    data: data.into(),
                    said: None,
                };
                self.run.events.send(emission).await;
            }
            Err(error) => tracing::error!(%error, event, "the event has no JSON form"),
        }
    }

    /// The whole state, with `interrupts` if it waits for them.
    pub(crate) async fn show_values(&self, values: &Values, interrupts: &[Interrupt]) {
        if self.run.modes.values {
            let shown = Shown {
                graph: self.graph.parts(),
                values,
                interrupts,
            };
            self.emit("values", &shown).await;
        }
    }

    /// A task waits for a human.
    pub(crate) async fn show_interrupts(&self, values: &Values, interrupts: &[Interrupt]) {
        if self.run.modes.updates {
            self.emit("updates", &json!({"__interrupt__": interrupts}))
                .await;
        }
        self.show_values(values, interrupts).await;
    }

    /// What a task wrote; `cached` if it did so in an earlier attempt.
    pub(crate) async fn show_update(&self, task: &Task, finished: &Finished, cached: bool) {
        if self.run.modes.updates {
            let written = finished.shown(|channel| self.graph.parts().shows(channel));
            let mut update = json!({&task.slot.name: written});
            if cached {
                update["__metadata__"] = json!({"cached": true});
            }
            self.emit("updates", &update).await;
        }
    }

    /// A task begins.
    pub(crate) async fn show_task_start(&self, task: &Task) {
        let modes = &self.run.modes;
        if !(modes.tasks || modes.debug) {
            return;
        }
        let payload = json!({
            "id": task.slot.id,
            "name": task.slot.name,
            "input": task.slot.input.to_value(),
            "triggers": task.slot.triggers,
            "metadata": self.run.metadata,
        });
        self.show_task("task", task, payload).await;
    }

    /// A task ends.
    pub(crate) async fn show_task_end(
        &self,
        task: &Task,
        finished: Option<&Finished>,
        error: Option<&str>,
        interrupts: &[Interrupt],
    ) {
        let modes = &self.run.modes;
        if !(modes.tasks || modes.debug) {
            return;
        }
        let shows = |channel: &str| self.graph.parts().shows(channel);
        let result = finished.and_then(|finished| finished.shown(shows));
        let payload = json!({
            "id": task.slot.id,
            "name": task.slot.name,
            "error": error,
            "result": result.unwrap_or_else(|| json!({})),
            "interrupts": interrupts,
        });
        self.show_task("task_result", task, payload).await;
    }

    async fn show_task(&self, kind: &str, task: &Task, payload: Value) {
        if self.run.modes.tasks {
            self.emit("tasks", &payload).await;
        }
        self.show_debug(kind, task.step, payload).await;
    }

    /// The same in the envelope of the mode `debug`.
    pub(super) async fn show_debug(&self, kind: &str, step: i64, payload: Value) {
        if self.run.modes.debug {
            let event = json!({
                "step": step,
                "timestamp": self.run.clock.now(),
                "type": kind,
                "payload": payload,
            });
            self.emit("debug", &event).await;
        }
    }
}
