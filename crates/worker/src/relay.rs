//! Tells what happens to runs: empties the database's outbox into a feed.
//!
//! Every worker process has a relay; the one that holds the outbox's lease reads, the others stand
//! by. What the feed has taken is deleted from the outbox, so nothing is lost while either side is
//! down, and all of it comes at least once. Events of one thread go one after the other, each when
//! the feed has the one before it; different threads do not wait for each other.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use runloom_core::database::{DatabaseError, Outbox};
use runloom_core::ids::{ThreadId, WorkerId};
use runloom_core::lifecycle::{LifecycleEvent, LifecycleFeed};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::housekeeping::measures::{self, Kept};

/// How a relay goes about it.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// How long after a change its event may lie in the outbox before it is looked for.
    pub tick: Duration,
    /// How many events are read at once.
    pub batch: u32,
    /// How long the outbox stays a relay's that stopped answering.
    pub lease: Duration,
    /// After how long an event that nobody takes is forgotten.
    pub keep: Duration,
    /// How often such events are looked for.
    pub expire: Duration,
    /// The longest pause after failures in a row.
    pub longest_pause: Duration,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(150),
            batch: 500,
            lease: Duration::from_secs(5),
            keep: Duration::from_hours(24),
            expire: Duration::from_mins(5),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// How many old events are forgotten at once.
const EXPIRE_LIMIT: u32 = 1_000;

/// Empties an outbox into a feed.
pub struct Relay {
    id: WorkerId,
    config: RelayConfig,
    outbox: Arc<dyn Outbox>,
    feed: Arc<dyn LifecycleFeed>,
}

/// What one round of a relay found.
enum Round {
    /// Another relay reads.
    StandBy,
    /// There may be more at once.
    Full,
    /// All there was has been told.
    Empty,
    /// The feed or the database did not take it.
    Failed,
}

impl Relay {
    /// A relay that has not begun.
    pub fn new(config: RelayConfig, outbox: Arc<dyn Outbox>, feed: Arc<dyn LifecycleFeed>) -> Self {
        Self {
            id: WorkerId::new(),
            config,
            outbox,
            feed,
        }
    }

    /// Tells what there is until `shutdown`, then leaves the outbox to others.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = self.relay() => {}
        }
        if let Err(error) = self.outbox.resign(self.id).await {
            tracing::debug!(%error, "the outbox stays taken until the lease ends");
        }
    }

    async fn relay(&self) {
        let mut failures = 0_u32;
        let mut expired = Instant::now();
        loop {
            let round = self.round().await;
            failures = match round {
                Round::Failed => failures.saturating_add(1),
                _ => 0,
            };
            if failures == 1 {
                tracing::warn!("what happens to runs cannot be told now; it is kept for later");
            }
            if !matches!(round, Round::StandBy) && expired.elapsed() >= self.config.expire {
                expired = Instant::now();
                self.expire().await;
            }
            let pause = match round {
                Round::Full => continue,
                Round::Empty => self.config.tick,
                Round::StandBy => self.config.lease / 2,
                Round::Failed => self
                    .config
                    .longest_pause
                    .min(self.config.tick * 2_u32.saturating_pow(failures)),
            };
            // Relays that fail together must not come back together.
            sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        }
    }

    /// Reads the oldest events, tells them and deletes those that were taken.
    async fn round(&self) -> Round {
        let Relay { config, outbox, .. } = self;
        let events = match outbox.untold(self.id, config.lease, config.batch).await {
            Ok(Some(events)) => events,
            Ok(None) => return Round::StandBy,
            Err(error) => return cannot_read(&error),
        };
        if events.is_empty() {
            return Round::Empty;
        }
        let is_full = events.len() >= config.batch as usize;
        let count = events.len();
        let told = self.tell(events).await;
        let all_told = told.len() == count;
        if let Err(error) = outbox.told(&told).await {
            // They are told again, and listeners see that by their ids.
            tracing::warn!(%error, "cannot note what was told");
            return Round::Failed;
        }
        match (all_told, is_full) {
            (false, _) => Round::Failed,
            (true, true) => Round::Full,
            (true, false) => Round::Empty,
        }
    }

    /// Tells events, those of one thread in their order. The ids of those that were taken.
    async fn tell(&self, events: Vec<LifecycleEvent>) -> Vec<i64> {
        let mut threads: BTreeMap<ThreadId, Vec<LifecycleEvent>> = BTreeMap::new();
        for event in events {
            match threads.entry(event.thread_id) {
                Entry::Vacant(thread) => drop(thread.insert(vec![event])),
                Entry::Occupied(mut thread) => thread.get_mut().push(event),
            }
        }
        let telling = threads.into_values().map(|events| self.tell_thread(events));
        let told: Vec<_> = telling.collect::<FuturesUnordered<_>>().collect().await;
        told.into_iter().flatten().collect()
    }

    /// Tells the events of a thread. What follows one that was not taken has to wait, too.
    async fn tell_thread(&self, events: Vec<LifecycleEvent>) -> Vec<i64> {
        let mut told = Vec::with_capacity(events.len());
        for event in events {
            if let Err(error) = self.feed.publish(&event).await {
                tracing::debug!(%error, run.id = %event.run_id, thread.id = %event.thread_id,
                    "an event waits");
                break;
            }
            told.push(event.id);
        }
        told
    }

    /// Forgets what is too old, a little at a time, until there is no more of it.
    async fn expire(&self) {
        loop {
            match self.outbox.expire(self.config.keep, EXPIRE_LIMIT).await {
                Ok(0) => return,
                Ok(count) => {
                    measures::pruned(Kept::Outbox, count);
                    tracing::warn!(count, "forgot events that nobody could be told");
                    if count < u64::from(EXPIRE_LIMIT) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot forget old events");
                    return;
                }
            }
        }
    }
}

fn cannot_read(error: &DatabaseError) -> Round {
    tracing::warn!(%error, "cannot read what happened to runs");
    Round::Failed
}
