//! An event log between the code and the real one that refuses, doubles and loses answers by seed.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use runloom_core::bus::{BusError, EventLog, From, Tail};
use runloom_core::event::{Event, Retention};
use runloom_core::ids::{RunId, ThreadId};

use super::Faults;

/// An event log with faults. What was refused, or is said to be, is to be said again by the caller.
pub struct FaultyLog {
    inner: Arc<dyn EventLog>,
    faults: Faults,
    random: Mutex<StdRng>,
}

impl FaultyLog {
    /// Puts faults before `inner`. The same seed and the same calls give the same faults.
    pub fn new(inner: Arc<dyn EventLog>, faults: Faults, seed: u64) -> Self {
        Self {
            inner,
            faults,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    fn happens(&self, share: f64) -> bool {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.random::<f64>() < share
    }

    fn refuse(&self) -> Result<(), BusError> {
        if self.happens(self.faults.refused) {
            return Err(BusError("a fault was asked for".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl EventLog for FaultyLog {
    async fn append(
        &self,
        thread: ThreadId,
        run: RunId,
        events: Vec<Event>,
        retention: Retention,
    ) -> Result<(), BusError> {
        self.refuse()?;
        if self.happens(self.faults.lost) {
            // The events arrive, the answer does not: the caller says them again.
            self.inner.append(thread, run, events, retention).await?;
            return Err(BusError("the answer was lost".to_owned()));
        }
        self.inner.append(thread, run, events, retention).await
    }

    async fn end(&self, thread: ThreadId, run: RunId) -> Result<(), BusError> {
        self.refuse()?;
        if self.happens(self.faults.doubled) {
            self.inner.end(thread, run).await?;
        }
        self.inner.end(thread, run).await
    }

    async fn tail(
        &self,
        thread: ThreadId,
        run: RunId,
        from: From,
    ) -> Result<BoxStream<'static, Tail>, BusError> {
        self.refuse()?;
        self.inner.tail(thread, run, from).await
    }
}
