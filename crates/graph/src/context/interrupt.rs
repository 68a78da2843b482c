//! Questions to a human, and their answers when the node runs again.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use uuid::Uuid;

use super::NodeContext;
use crate::error::{Interrupt, NodeError};

/// The namespace of interrupt ids.
const INTERRUPTS: Uuid = Uuid::from_u128(0x2f5e_3b0a_9c41_5d7e_8a16_64c0_1be8_97d2);

/// Names the `index`-th question of the task with namespace `task_ns`: the same whenever the task
/// runs again from the same checkpoint.
pub(crate) fn interrupt_id(task_ns: &str, index: usize) -> String {
    let name = format!("{task_ns}#{index}");
    Uuid::new_v5(&INTERRUPTS, name.as_bytes())
        .simple()
        .to_string()
}

/// The answers that a task has so far, and how many of them the node took in this attempt.
pub(crate) struct Answers {
    given: Vec<Value>,
    taken: AtomicUsize,
}

impl Answers {
    pub(crate) fn new(given: Vec<Value>) -> Self {
        Self {
            given,
            taken: AtomicUsize::new(0),
        }
    }
}

impl NodeContext {
    /// Asks a human. The first time this fails with an error that the node must pass on; the run
    /// then pauses, and when it is resumed the node runs again from its beginning and gets the answer
    /// here. Several questions of a node are answered in the order in which they are asked.
    pub fn interrupt(&self, value: impl Into<Value>) -> Result<Value, NodeError> {
        self.check()?;
        let index = self.answers.taken.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = self.answers.given.get(index) {
            return Ok(answer.clone());
        }
        Err(NodeError::interrupted(vec![Interrupt {
            value: value.into(),
            id: interrupt_id(&self.task.slot.ns, index),
        }]))
    }
}
