//! The model: the whole database port over plain data under one mutex.
//!
//! It is the definition that the conformance suite and the real databases are compared with, so it
//! is written to be read, not to be fast: rules come from the core, each transaction is a method
//! call under the lock. Nothing is durable.

mod assistants;
mod census;
mod checkpoints;
mod items;
mod queue;
mod retention;
mod runs;
mod shelf;
mod state;
mod thread_row;
mod threads;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use runloom_core::clock::Clock;
use runloom_core::run::MAX_ATTEMPTS;

pub(crate) use shelf::Shelf;
use state::State;

/// A database in memory.
pub struct Memory {
    clock: Arc<dyn Clock>,
    max_attempts: u32,
    state: Mutex<State>,
}

impl Memory {
    /// An empty database that takes the time from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            max_attempts: MAX_ATTEMPTS,
            state: Mutex::default(),
        }
    }

    /// Lets a run have so many attempts.
    pub fn with_max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// Begins a transaction: nobody else sees or changes anything until the guard is dropped. The
    /// time is read inside, so that transactions are ordered by it.
    fn begin(&self) -> (MutexGuard<'_, State>, DateTime<Utc>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        (state, now)
    }
}
