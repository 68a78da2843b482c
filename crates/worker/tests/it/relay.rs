//! The relay, between an outbox that is a list and a feed that fails when it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runloom_core::bus::BusError;
use runloom_core::database::{DatabaseError, Outbox};
use runloom_core::ids::{AssistantId, RunId, ThreadId, WorkerId};
use runloom_core::lifecycle::{LifecycleEvent, LifecycleFeed, Stage};
use runloom_worker::{Relay, RelayConfig};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Both sides of a relay.
#[derive(Default)]
struct Sides {
    stored: Mutex<BTreeMap<i64, LifecycleEvent>>,
    holder: Mutex<Option<(WorkerId, Instant)>>,
    expired: Mutex<u32>,
    told: Mutex<Vec<LifecycleEvent>>,
    /// How many operations of each side fail from now on.
    outbox_fails: Mutex<u32>,
    feed_fails: Mutex<u32>,
    changed: Notify,
}

/// Takes one from a count that is not used up.
fn spend(count: &Mutex<u32>) -> bool {
    let mut count = count.lock().unwrap();
    let is_left = *count > 0;
    *count = count.saturating_sub(1);
    is_left
}

impl Sides {
    fn outbox(&self) -> Result<(), DatabaseError> {
        if spend(&self.outbox_fails) {
            return Err(DatabaseError::Unavailable("on purpose".to_owned()));
        }
        Ok(())
    }

    /// Stores an event of each of `threads`, `count` times.
    fn store(&self, threads: &[ThreadId], count: usize) {
        let mut stored = self.stored.lock().unwrap();
        for _ in 0..count {
            for thread in threads {
                let id = 1 + i64::try_from(stored.len()).unwrap();
                stored.insert(id, event(id, *thread));
            }
        }
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if done(self) {
                    return;
                }
                changed.await;
            }
        };
        timeout(Duration::from_hours(1), waiting).await.unwrap();
    }

    fn is_empty(&self) -> bool {
        self.stored.lock().unwrap().is_empty()
    }

    /// The ids that were told of `thread`, each where it was first.
    fn first_told(&self, thread: ThreadId) -> Vec<i64> {
        let mut ids = Vec::new();
        for event in self.told.lock().unwrap().iter() {
            if event.thread_id == thread && !ids.contains(&event.id) {
                ids.push(event.id);
            }
        }
        ids
    }
}

fn event(id: i64, thread_id: ThreadId) -> LifecycleEvent {
    LifecycleEvent {
        id,
        at: DateTime::<Utc>::UNIX_EPOCH,
        thread_id,
        run_id: RunId::new(),
        assistant_id: AssistantId::new(),
        graph_id: "agent".into(),
        stage: Stage::Pending,
        attempt: 0,
    }
}

#[async_trait]
impl Outbox for Sides {
    async fn untold(
        &self,
        relay: WorkerId,
        lease: Duration,
        limit: u32,
    ) -> Result<Option<Vec<LifecycleEvent>>, DatabaseError> {
        self.outbox()?;
        let mut holder = self.holder.lock().unwrap();
        if holder.is_some_and(|(other, until)| other != relay && until > Instant::now()) {
            return Ok(None);
        }
        *holder = Some((relay, Instant::now() + lease));
        let stored = self.stored.lock().unwrap();
        let oldest = stored.values().take(limit as usize).cloned();
        Ok(Some(oldest.collect()))
    }

    async fn told(&self, ids: &[i64]) -> Result<(), DatabaseError> {
        self.outbox()?;
        self.stored
            .lock()
            .unwrap()
            .retain(|id, _| !ids.contains(id));
        self.changed.notify_waiters();
        Ok(())
    }

    async fn expire(&self, _: Duration, _: u32) -> Result<u64, DatabaseError> {
        *self.expired.lock().unwrap() += 1;
        self.changed.notify_waiters();
        Ok(0)
    }

    async fn resign(&self, relay: WorkerId) -> Result<(), DatabaseError> {
        let mut holder = self.holder.lock().unwrap();
        holder.take_if(|(holder, _)| *holder == relay);
        Ok(())
    }
}

#[async_trait]
impl LifecycleFeed for Sides {
    async fn publish(&self, event: &LifecycleEvent) -> Result<(), BusError> {
        // Threads take turns here.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if spend(&self.feed_fails) {
            return Err(BusError("on purpose".to_owned()));
        }
        self.told.lock().unwrap().push(event.clone());
        self.changed.notify_waiters();
        Ok(())
    }
}

fn start(sides: &Arc<Sides>, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
    let config = RelayConfig {
        batch: 4,
        ..RelayConfig::default()
    };
    let relay = Relay::new(config, sides.clone(), sides.clone());
    TaskTracker::new().spawn(relay.run(stop.clone()))
}

#[tokio::test(start_paused = true)]
async fn all_is_told_in_the_order_of_each_thread_and_then_forgotten() {
    let sides = Arc::new(Sides::default());
    let threads = [ThreadId::new(), ThreadId::new(), ThreadId::new()];
    let stop = CancellationToken::new();
    let relaying = start(&sides, &stop);
    sides.store(&threads, 7);
    let begun = Instant::now();
    sides.until(Sides::is_empty).await;
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "no pause while there is more"
    );
    assert_eq!(sides.told.lock().unwrap().len(), 21, "each once");
    for thread in threads {
        assert!(sides.first_told(thread).is_sorted());
    }
    stop.cancel();
    relaying.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_feed_does_not_take_is_told_later_and_nothing_overtakes_it() {
    for failures in 1..30 {
        let sides = Arc::new(Sides::default());
        let threads = [ThreadId::new(), ThreadId::new()];
        sides.store(&threads, 8);
        *sides.feed_fails.lock().unwrap() = failures;
        let stop = CancellationToken::new();
        let _relaying = start(&sides, &stop);
        sides.until(Sides::is_empty).await;
        for (place, thread) in (1..).zip(threads) {
            let all: Vec<i64> = (0..8).map(|turn| turn * 2 + place).collect();
            assert_eq!(sides.first_told(thread), all, "{failures} failures");
        }
        stop.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_database_did_not_forget_is_told_again() {
    let sides = Arc::new(Sides::default());
    let thread = ThreadId::new();
    sides.store(&[thread], 3);
    let stop = CancellationToken::new();
    let _relaying = start(&sides, &stop);
    sides
        .until(|sides| !sides.told.lock().unwrap().is_empty())
        .await;
    *sides.outbox_fails.lock().unwrap() = 3;
    sides.until(Sides::is_empty).await;
    assert_eq!(sides.told.lock().unwrap().len(), 6);
    assert_eq!(sides.first_told(thread), [1, 2, 3]);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn one_relay_reads_and_another_goes_on_when_it_is_gone() {
    let sides = Arc::new(Sides::default());
    let thread = ThreadId::new();
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let leaving = start(&sides, &first);
    let killed = start(&sides, &second);
    sides.store(&[thread], 2);
    sides.until(Sides::is_empty).await;
    assert_eq!(sides.told.lock().unwrap().len(), 2, "not by both");
    // One leaves, one dies without a word.
    first.cancel();
    leaving.await.unwrap();
    killed.abort();
    let third = CancellationToken::new();
    let _relaying = start(&sides, &third);
    let begun = Instant::now();
    sides.stored.lock().unwrap().insert(9, event(9, thread));
    sides.until(Sides::is_empty).await;
    assert!(begun.elapsed() <= RelayConfig::default().lease * 2);
    third.cancel();
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_looked_for_now_and_then() {
    let sides = Arc::new(Sides::default());
    let stop = CancellationToken::new();
    let _relaying = start(&sides, &stop);
    let begun = Instant::now();
    sides
        .until(|sides| *sides.expired.lock().unwrap() == 2)
        .await;
    assert!(begun.elapsed() >= RelayConfig::default().expire * 2);
    stop.cancel();
}
