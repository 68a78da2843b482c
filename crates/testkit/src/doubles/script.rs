//! What a scripted executor does, step by step.

use std::sync::Arc;
use std::time::Duration;

use runloom_core::run::RunError;
use serde_json::Value;
use tokio::sync::watch;

/// A point that executions reach, and pass when the test lets them.
#[derive(Debug)]
pub struct Gate {
    open: watch::Sender<bool>,
    reached: watch::Sender<usize>,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            open: watch::Sender::new(false),
            reached: watch::Sender::new(0),
        })
    }

    /// Lets through everybody who waits or comes later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until `count` have come to the gate, counting from its making.
    pub async fn reached(&self, count: usize) {
        let mut reached = self.reached.subscribe();
        let enough = reached.wait_for(|reached| *reached >= count).await;
        enough.map(drop).expect("the gate keeps the sender");
    }

    /// Comes to the gate and waits until it is open.
    pub async fn pass(&self) {
        self.reached.send_modify(|reached| *reached += 1);
        let mut open = self.open.subscribe();
        let opened = open.wait_for(|open| *open).await;
        opened.map(drop).expect("the gate keeps the sender");
    }
}

/// One thing that a scripted graph does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Publishes a `custom` event.
    Emit(Value),
    /// Streams a piece of an AI message with this id, as a model does.
    Say {
        /// The id of the message.
        message_id: &'static str,
        /// What is added to it.
        text: &'static str,
    },
    /// Ends a superstep: adds a message to the state and stores a checkpoint.
    Superstep(Value),
    /// Stores a pending write beside the latest checkpoint, as a finished parallel task does.
    Write {
        /// The task.
        task_id: &'static str,
        /// The message it wrote.
        message: Value,
    },
    /// Takes so long, by tokio's time, unless it is stopped.
    Work(Duration),
    /// Waits at the gate, unless it is stopped.
    Pass(Arc<Gate>),
    /// Waits at the gate, deaf to every stop; then goes on as if nothing had been asked.
    PassDeaf(Arc<Gate>),
    /// Waits until it is stopped.
    AwaitStop,
    /// Turns the stop it waits for into an error, as careless code does.
    FailOnStop,
    /// Waits for a human: the run ends, the graph does not.
    Pause,
    /// Fails for good.
    Fail(RunError),
    /// Fails in a way that another attempt may not.
    Retry(RunError),
    /// Panics.
    Panic(&'static str),
}
