//! One process of a pool, and how it is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::PoolConfig;
use super::endings::{Ending, Endings};
use super::rooms::Rooms;
use crate::measures;
use crate::peer::CallError;
use crate::process::Process;
use crate::protocol::Health;

/// How often a process is asked how it is.
const PING: Duration = Duration::from_secs(1);

/// So many threads that stopped runs left behind are too many: others soon have to wait for theirs.
const MOST_LEAKED: u32 = 16;

/// A thread that was left behind for so many seconds will not end. Most do: a request that was under way is
/// answered, and there is no need for another process.
const LONGEST_LEAK: f64 = 60.0;

/// One process of a pool.
pub(super) struct Member {
    pub(super) id: u64,
    /// Counts reloads.
    pub(super) generation: u64,
    pub(super) process: Process,
    pub(super) born: Instant,
    endings: Endings,
    retires_for: OnceLock<&'static str>,
    took_a_run: AtomicBool,
    memory: AtomicU64,
}

impl Member {
    pub(super) fn new(id: u64, generation: u64, process: Process) -> Self {
        Self {
            id,
            generation,
            process,
            born: Instant::now(),
            endings: Endings::default(),
            retires_for: OnceLock::new(),
            took_a_run: AtomicBool::new(false),
            memory: AtomicU64::new(0),
        }
    }

    /// Ends the process: at once, if a run in it cannot be stopped otherwise.
    pub(super) fn end(&self, why: Ending) {
        self.endings.wanted(why);
        match why {
            Ending::ForPlace(_) => self.process.kill(),
            Ending::Idle | Ending::Shutdown => self.process.end(),
        }
    }

    /// Waits until the process is about to be gone: nothing can be asked any more.
    pub(super) async fn ending(&self) {
        self.process.ending().await;
        self.endings.seen();
    }

    /// Ends the process, in which nothing goes on.
    pub(super) fn end_idle(&self) {
        self.end(Ending::Idle);
    }

    /// Whether the worker ended the process, and whether it did so for this place.
    pub(super) fn ended_for(&self, place: u64) -> Option<bool> {
        self.endings.for_place(place)
    }

    /// Notes why the process is to be replaced; the first reason counts.
    pub(super) fn retires_for(&self, why: &'static str) {
        if self.retires_for.set(why).is_ok() {
            let pid = self.process.pid();
            info!(executor.pid = pid, why, "an executor is to be replaced");
        }
    }

    /// Why the process ended, in a word; `None` if it did so by itself.
    pub(super) fn end_reason(&self) -> Option<&'static str> {
        match self.endings.strongest()? {
            Ending::ForPlace(_) => Some("kill"),
            Ending::Shutdown => Some("shutdown"),
            Ending::Idle => Some(self.retires_for.get().copied().unwrap_or("reload")),
        }
    }

    pub(super) fn takes_a_run(&self) {
        self.took_a_run.store(true, Ordering::Relaxed);
    }

    /// The memory that it used when it was last asked, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Asks the process how it is until it is gone, and retires it where that is no good.
    pub(super) async fn watch(self: Arc<Self>, rooms: Arc<Rooms>, config: Arc<PoolConfig>) {
        let mut ticks = interval(PING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match timeout(config.silence, self.ping()).await {
                Ok(Ok(health)) => self.examine(&health, &rooms, config.memory_limit),
                Ok(Err(CallError::Gone)) => return,
                Ok(Err(error)) => warn!(%error, "an executor cannot say how it is"),
                // Its runs may still come to an end, or be stopped with all means. New ones would not start.
                Err(_) => {
                    self.retires_for("silence");
                    rooms.retire(self.id);
                }
            }
        }
    }

    async fn ping(&self) -> Result<Health, CallError> {
        let nothing = serde_json::json!({});
        let mut call = self.process.open("ping", &nothing, None)?;
        call.reply().await
    }

    fn examine(&self, health: &Health, rooms: &Arc<Rooms>, memory_limit: Option<u64>) {
        self.memory.store(health.rss_bytes, Ordering::Relaxed);
        measures::lag(health.lag_ms);
        measures::census(&rooms.census());
        // Replacing a process that has done nothing yet would not make the next one smaller.
        let used = self.took_a_run.load(Ordering::Relaxed);
        let too_large = memory_limit.is_some_and(|limit| used && health.rss_bytes > limit);
        let leaks = health.leaked_threads >= MOST_LEAKED || health.oldest_leak_s >= LONGEST_LEAK;
        if too_large {
            self.retires_for("memory");
        } else if leaks {
            self.retires_for("leak");
        }
        if too_large || leaks {
            rooms.retire(self.id);
        }
    }
}
