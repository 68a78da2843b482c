//! What was executed when, as the executors themselves saw it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runloom_core::executor::{Attempt, Work};
use runloom_core::ids::{RunId, ThreadId};

/// One attempt as it was executed. Times are places in the common order of all beginnings and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The run.
    pub run_id: RunId,
    /// Its thread.
    pub thread_id: ThreadId,
    /// Which try it was.
    pub attempt: u32,
    /// Whether the graph was run, or only the input recorded.
    pub work: Work,
    /// When its code began.
    pub began: u64,
    /// When its code ended or was dropped; `None` while it runs.
    pub ended: Option<u64>,
}

/// A record of executions, shared by executors.
#[derive(Debug, Default)]
pub struct History(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    moments: u64,
    executions: Vec<Execution>,
}

impl Record {
    fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }
}

impl History {
    /// Records that an attempt begins; it ends when the guard is dropped, be it with its future.
    pub fn begin(self: &Arc<Self>, attempt: &Attempt) -> Executing {
        let mut record = self.record();
        let began = record.moment();
        record.executions.push(Execution {
            run_id: attempt.run_id,
            thread_id: attempt.thread_id,
            attempt: attempt.attempt,
            work: attempt.work,
            began,
            ended: None,
        });
        Executing {
            history: self.clone(),
            place: record.executions.len() - 1,
        }
    }

    /// All executions, in the order of their beginnings.
    pub fn executions(&self) -> Vec<Execution> {
        self.record().executions.clone()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An execution under way.
#[derive(Debug)]
pub struct Executing {
    history: Arc<History>,
    place: usize,
}

impl Drop for Executing {
    fn drop(&mut self) {
        let mut record = self.history.record();
        let moment = record.moment();
        record.executions[self.place].ended = Some(moment);
    }
}
