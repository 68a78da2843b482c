//! A host without a database: it keeps what an executor puts, in order, and fails on demand.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites};
use runloom_core::clock::Clock;
use runloom_core::database::Items;
use runloom_core::executor::{CheckpointReader, Emission, Host, HostError};
use runloom_core::ids::{CheckpointId, ThreadId};

use super::script::Gate;
use crate::memory::{Memory, Shelf};

/// What an executor asked its host to do.
#[derive(Clone, Debug)]
pub enum HostCall {
    /// To store a checkpoint.
    Checkpoint(NewCheckpoint),
    /// To store pending writes.
    Writes(NewWrites),
    /// To publish an event.
    Emit(Emission),
}

/// A host that records.
pub struct HostDouble {
    shelf: Mutex<Shelf>,
    calls: Mutex<Vec<HostCall>>,
    items: Arc<Memory>,
    failures: AtomicU32,
    fenced: AtomicBool,
    delay: Mutex<Option<Arc<Gate>>>,
}

impl HostDouble {
    /// The host of a thread that has no checkpoint.
    pub fn new(thread: ThreadId, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            shelf: Mutex::new(Shelf::new(thread)),
            calls: Mutex::default(),
            items: Arc::new(Memory::new(clock)),
            failures: AtomicU32::new(0),
            fenced: AtomicBool::new(false),
            delay: Mutex::default(),
        })
    }

    /// Refuses the next `count` attempts to store something, as if storage were out of reach.
    pub fn fail_next(&self, count: u32) {
        self.failures.store(count, Ordering::SeqCst);
    }

    /// Refuses everything from now on: the attempt has lost its thread.
    pub fn fence(&self) {
        self.fenced.store(true, Ordering::SeqCst);
    }

    /// Holds back everything that is to be stored until `gate` opens.
    pub fn delay_until(&self, gate: Arc<Gate>) {
        *locked(&self.delay) = Some(gate);
    }

    /// All calls that were carried out, in order.
    pub fn calls(&self) -> Vec<HostCall> {
        locked(&self.calls).clone()
    }

    /// The events that were published, in order.
    pub fn emitted(&self) -> Vec<Emission> {
        let calls = self.calls().into_iter();
        let emitted = calls.filter_map(|call| match call {
            HostCall::Emit(emission) => Some(emission),
            _ => None,
        });
        emitted.collect()
    }

    /// The checkpoints that were stored, newest first.
    pub fn stored(&self, query: &CheckpointQuery) -> Vec<CheckpointTuple> {
        locked(&self.shelf).list(query)
    }

    async fn admit_put(&self) -> Result<(), HostError> {
        let gate = locked(&self.delay).clone();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        if self.fenced.load(Ordering::SeqCst) {
            return Err(HostError::Fenced);
        }
        let less = |left: u32| left.checked_sub(1);
        match self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        {
            Ok(_) => Err(HostError::Unavailable("a failure was asked for".to_owned())),
            Err(_) => Ok(()),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl CheckpointReader for HostDouble {
    async fn checkpoint(
        &self,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, HostError> {
        Ok(locked(&self.shelf).find(ns, id))
    }

    async fn checkpoints(&self, query: CheckpointQuery) -> Result<Vec<CheckpointTuple>, HostError> {
        Ok(self.stored(&query))
    }
}

#[async_trait]
impl Host for HostDouble {
    async fn put_checkpoint(&self, checkpoint: NewCheckpoint) -> Result<(), HostError> {
        self.admit_put().await?;
        let run = checkpoint.checkpoint.run_id;
        locked(&self.shelf).put_checkpoint(run, checkpoint.clone());
        locked(&self.calls).push(HostCall::Checkpoint(checkpoint));
        Ok(())
    }

    async fn put_writes(&self, writes: NewWrites) -> Result<(), HostError> {
        self.admit_put().await?;
        locked(&self.shelf).put_writes(None, writes.clone());
        locked(&self.calls).push(HostCall::Writes(writes));
        Ok(())
    }

    async fn emit(&self, events: Vec<Emission>) {
        locked(&self.calls).extend(events.into_iter().map(HostCall::Emit));
    }

    fn items(&self) -> Arc<dyn Items> {
        self.items.clone()
    }
}
