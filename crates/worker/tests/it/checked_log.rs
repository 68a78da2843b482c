//! An event log that keeps everything and checks, when a run's stream ends, that the database
//! already says so.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use runloom_bus::LocalEventLog;
use runloom_core::bus::{BusError, EventLog, From, Tail};
use runloom_core::database::Runs;
use runloom_core::event::{Event, Retention};
use runloom_core::ids::{RunId, ThreadId};
use runloom_testkit::memory::Memory;

/// A log that checks.
pub(crate) struct CheckedLog {
    inner: LocalEventLog,
    memory: Arc<Memory>,
    events: Mutex<HashMap<RunId, Vec<Event>>>,
    ends: Mutex<HashMap<RunId, usize>>,
    violations: Mutex<Vec<String>>,
    refusing: AtomicBool,
}

impl CheckedLog {
    pub(crate) fn new(memory: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            inner: LocalEventLog::default(),
            memory,
            events: Mutex::default(),
            ends: Mutex::default(),
            violations: Mutex::default(),
            refusing: AtomicBool::new(false),
        })
    }

    /// All events of the run, in the order in which they came.
    pub(crate) fn events(&self, run: RunId) -> Vec<Event> {
        let events = self.events.lock().unwrap();
        events.get(&run).cloned().unwrap_or_default()
    }

    /// How often the run was said to be over.
    pub(crate) fn ends(&self, run: RunId) -> usize {
        self.ends.lock().unwrap().get(&run).copied().unwrap_or(0)
    }

    /// Whether events are refused from now on.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::SeqCst);
    }

    /// Fails the test if anything was told too early.
    pub(crate) fn check(&self) {
        let violations = self.violations.lock().unwrap();
        assert!(violations.is_empty(), "{violations:?}");
    }

    fn violation(&self, text: String) {
        self.violations.lock().unwrap().push(text);
    }
}

#[async_trait]
impl EventLog for CheckedLog {
    async fn append(
        &self,
        thread: ThreadId,
        run: RunId,
        events: Vec<Event>,
        retention: Retention,
    ) -> Result<(), BusError> {
        if self.refusing.load(Ordering::SeqCst) {
            return Err(BusError("as planned".to_owned()));
        }
        if self.ends(run) > 0 {
            self.violation(format!("{run}: an event after the end"));
        }
        {
            let mut all = self.events.lock().unwrap();
            all.entry(run).or_default().extend(events.iter().cloned());
        }
        self.inner.append(thread, run, events, retention).await
    }

    async fn end(&self, thread: ThreadId, run: RunId) -> Result<(), BusError> {
        let stored = self.memory.run(Some(thread), run).await;
        match stored {
            Ok(Some(run)) if !run.status.is_terminal() => {
                self.violation(format!("{} ended while it is {}", run.id, run.status));
            }
            Ok(_) => {}
            Err(error) => self.violation(error.to_string()),
        }
        *self.ends.lock().unwrap().entry(run).or_default() += 1;
        self.inner.end(thread, run).await
    }

    async fn tail(
        &self,
        thread: ThreadId,
        run: RunId,
        from: From,
    ) -> Result<BoxStream<'static, Tail>, BusError> {
        self.inner.tail(thread, run, from).await
    }
}
