//! Finds threads with work: by wake-ups and, since these may be lost, by looking.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runloom_core::bus::Wake;
use runloom_core::ids::ThreadId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use crate::claim;
use crate::incarnation::Incarnation;
use crate::measures;

/// How long to wait before looking again while the bus is out of reach.
const WITHOUT_BUS: Duration = Duration::from_millis(250);

/// Claims runs whenever a slot is free, until the worker stops.
pub(crate) async fn run(worker: Arc<Incarnation>) {
    tokio::select! {
        biased;
        () = worker.stopping.cancelled() => {}
        () = find(&worker) => {}
    }
}

async fn find(worker: &Arc<Incarnation>) {
    // What waits from before nobody will tell of.
    let mut look = Instant::now();
    let mut age = Duration::ZERO;
    loop {
        // Without a lease nothing can be executed, so others may have the wake-ups.
        worker.deadline.renewed().await;
        let Ok(slot) = worker.slots.clone().acquire_owned().await else {
            return;
        };
        let free = 1 + worker.slots.available_permits();
        if Instant::now() >= look {
            let found = waiting(worker, age, free).await;
            measures::found(found.len());
            take(worker, found.into_iter().map(|thread| (thread, None)), slot).await;
            look = Instant::now() + worker.config.poll.mul_f64(0.8 + 0.4 * fastrand::f64());
            age = worker.config.hint_age;
            continue;
        }
        let wait = look.saturating_duration_since(Instant::now());
        match worker.ports.notifier.wakes(free, wait).await {
            Ok(wakes) => {
                let wakes = wakes.into_iter().map(|wake| (wake.thread, Some(wake)));
                take(worker, wakes, slot).await;
            }
            Err(error) => {
                tracing::debug!(%error, "no wake-ups; looking instead");
                sleep(WITHOUT_BUS).await;
                (look, age) = (Instant::now(), Duration::ZERO);
            }
        }
    }
}

/// Claims one run of each of these threads, as far as slots are free; others may have the rest.
async fn take(
    worker: &Arc<Incarnation>,
    found: impl Iterator<Item = (ThreadId, Option<Wake>)>,
    slot: OwnedSemaphorePermit,
) {
    let mut slot = Some(slot);
    let mut threads = BTreeMap::new();
    for (thread, wake) in found {
        if let Some(double) = threads.insert(thread, wake).flatten() {
            double.done();
        }
    }
    for (thread, wake) in threads {
        if let Some(slot) = slot.take().or_else(|| worker.try_slot()) {
            claim::spawn_new(worker, thread, wake, slot);
        } else if let Some(wake) = wake {
            wake.later(Duration::ZERO);
        } else if let Err(error) = worker.ports.notifier.wake(thread).await {
            tracing::debug!(thread.id = %thread, %error, "cannot pass on a wake-up");
        }
    }
}

/// Threads with a run that has waited for `age` since somebody was told.
async fn waiting(worker: &Incarnation, age: Duration, limit: usize) -> Vec<ThreadId> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let waiting = worker.ports.database.waiting(age, limit);
    match timeout(worker.config.call_timeout, waiting).await {
        Ok(Ok(threads)) => return threads,
        Ok(Err(error)) => tracing::warn!(%error, "cannot look for waiting runs"),
        Err(_elapsed) => tracing::warn!("looking for waiting runs takes long"),
    }
    Vec::new()
}
