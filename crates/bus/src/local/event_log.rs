//! The events of all runs, in memory.
//!
//! A run's log exists while somebody reads it or, if it is resumable, from its first event until
//! some time after its end. Events that nobody could ever read are not kept.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use runloom_core::bus::{BusError, EventLog, From, Tail};
use runloom_core::event::{Event, Retention};
use runloom_core::ids::{RunId, ThreadId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::run_log::{Found, Limits, RunLog};

/// An [`EventLog`] inside one process.
#[derive(Clone, Default)]
pub struct LocalEventLog {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    limits: Limits,
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Runs {
    logs: HashMap<RunId, Entry>,
    /// Resumable runs that ended, in the order in which they are to be forgotten.
    expiring: VecDeque<(Instant, RunId)>,
}

#[derive(Clone)]
struct Entry {
    log: Arc<Mutex<RunLog>>,
    changed: watch::Sender<()>,
    retention: Retention,
}

impl Entry {
    fn new(retention: Retention) -> Self {
        Self {
            log: Arc::default(),
            changed: watch::Sender::new(()),
            retention,
        }
    }
}

impl LocalEventLog {
    /// An empty log that keeps no more than `limits` of each run.
    pub fn new(limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                limits,
                runs: Mutex::default(),
            }),
        }
    }
}

#[async_trait]
impl EventLog for LocalEventLog {
    async fn append(
        &self,
        _thread: ThreadId,
        run: RunId,
        events: Vec<Event>,
        retention: Retention,
    ) -> Result<(), BusError> {
        let entry = {
            let mut runs = self.shared.lock();
            match runs.logs.get_mut(&run) {
                Some(entry) => {
                    entry.retention = retention;
                    entry.clone()
                }
                None if retention == Retention::Live => return Ok(()),
                None => runs
                    .logs
                    .entry(run)
                    .or_insert(Entry::new(retention))
                    .clone(),
            }
        };
        let mut log = lock(&entry.log);
        for event in events {
            log.append(event, retention, &self.shared.limits);
        }
        drop(log);
        entry.changed.send_replace(());
        Ok(())
    }

    async fn end(&self, _thread: ThreadId, run: RunId) -> Result<(), BusError> {
        let mut runs = self.shared.lock();
        let now = Instant::now();
        while runs.expiring.front().is_some_and(|(when, _)| *when <= now) {
            if let Some((_, run)) = runs.expiring.pop_front() {
                runs.logs.remove(&run);
            }
        }
        let Some(entry) = runs.logs.get(&run).cloned() else {
            return Ok(());
        };
        match entry.retention {
            // Its readers have it; nobody else may.
            Retention::Live => drop(runs.logs.remove(&run)),
            Retention::Resumable => {
                runs.expiring
                    .push_back((now + self.shared.limits.after_end, run));
            }
        }
        drop(runs);
        lock(&entry.log).end();
        entry.changed.send_replace(());
        Ok(())
    }

    async fn tail(
        &self,
        _thread: ThreadId,
        run: RunId,
        from: From,
    ) -> Result<BoxStream<'static, Tail>, BusError> {
        let entry = self
            .shared
            .lock()
            .logs
            .entry(run)
            .or_insert(Entry::new(Retention::Live))
            .clone();
        let (place, gap) = lock(&entry.log).place(from);
        let changed = entry.changed.subscribe();
        let shared = self.shared.clone();
        let reader = Reader {
            run,
            entry,
            place,
            gap,
            changed,
            ended: false,
            shared,
        };
        Ok(stream::unfold(reader, async |mut reader| {
            let next = reader.next().await?;
            Some((next, reader))
        })
        .boxed())
    }
}

/// Reads one run's events at its own pace.
struct Reader {
    run: RunId,
    entry: Entry,
    place: u64,
    gap: bool,
    changed: watch::Receiver<()>,
    ended: bool,
    shared: Arc<Shared>,
}

impl Reader {
    async fn next(&mut self) -> Option<Tail> {
        if self.ended {
            return None;
        }
        if std::mem::take(&mut self.gap) {
            return Some(Tail::Gap);
        }
        loop {
            self.changed.mark_unchanged();
            let (found, place) = lock(&self.entry.log).read(self.place);
            self.place = place;
            match found {
                Found::Event(event) => return Some(Tail::Event(event)),
                Found::Gap => return Some(Tail::Gap),
                Found::End => {
                    self.ended = true;
                    return Some(Tail::End);
                }
                // The entry itself holds a sender, so waiting cannot fail.
                Found::Nothing => self.changed.changed().await.ok()?,
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut runs = self.shared.lock();
        let Some(entry) = runs.logs.get(&self.run) else {
            return;
        };
        // Only the reader itself and those that are not dropped yet are subscribed.
        let last = entry.changed.receiver_count() <= 1;
        if last && entry.retention == Retention::Live && Arc::ptr_eq(&entry.log, &self.entry.log) {
            runs.logs.remove(&self.run);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Runs> {
        lock(&self.runs)
    }
}

/// Logs stay whole even if a holder panicked: each change to them is a single call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
