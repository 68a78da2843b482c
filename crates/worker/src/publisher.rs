//! Numbers the events of one attempt and publishes them in order, without making the graph wait for
//! the bus unless it gets far ahead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use runloom_core::bus::EventLog;
use runloom_core::event::{Event, EventId, Retention};
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::lease::Claimed;
use runloom_core::run::RunError;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::config::Config;

/// What the events of one attempt have in common.
struct Series {
    thread: ThreadId,
    run: RunId,
    epoch: i64,
    retention: Retention,
    /// The claim by the database's clock, and by ours.
    claimed_millis: u64,
    claimed: Instant,
    events: Arc<dyn EventLog>,
}

/// Publishes the events of one attempt.
pub(crate) struct Publisher {
    series: Arc<Series>,
    /// The next number, and the queue until it is flushed.
    line: Mutex<(u64, Option<mpsc::Sender<Event>>)>,
    task: Mutex<Option<JoinHandle<()>>>,
    flush: Duration,
}

impl Publisher {
    /// A publisher for the attempt `claimed`; its work is done on `tasks`.
    pub(crate) fn new(
        claimed: &Claimed,
        events: Arc<dyn EventLog>,
        config: &Config,
        tasks: &TaskTracker,
    ) -> Self {
        // An attempt that is claimed in the very millisecond in which the one before it ended begins
        // its ids after the last one of that.
        let claimed_at = claimed.claimed_at.timestamp_millis() + i64::from(claimed.run.attempt);
        let series = Arc::new(Series {
            thread: claimed.lease.thread_id,
            run: claimed.lease.run_id,
            epoch: claimed.lease.fence.epoch,
            retention: Retention::of(claimed.run.kwargs.resumable),
            claimed_millis: u64::try_from(claimed_at).unwrap_or(0),
            claimed: Instant::now(),
            events,
        });
        let (queue, waiting) = mpsc::channel(config.event_buffer.max(1));
        let task = tasks.spawn(drain(series.clone(), waiting, config.event_batch.max(1)));
        Self {
            series,
            line: Mutex::new((0, Some(queue))),
            task: Mutex::new(Some(task)),
            flush: config.event_flush,
        }
    }

    /// Queues an event, waiting while too many wait. Nothing is taken after a flush.
    pub(crate) async fn publish(&self, name: Arc<str>, data: Bytes) {
        let Some(queue) = self.lock().1.clone() else {
            return;
        };
        let Ok(room) = queue.reserve().await else {
            return;
        };
        // Numbered and queued under one lock, so that the numbers keep the order of the queue.
        let mut line = self.lock();
        if line.1.is_some() {
            room.send(self.series.event(line.0, name, data));
            line.0 += 1;
        }
    }

    /// Takes no more events and waits, not for ever, until those queued are published.
    pub(crate) async fn flush(&self) {
        self.lock().1 = None;
        let task = lock(&self.task).take();
        if let Some(task) = task
            && timeout(self.flush, task).await.is_err()
        {
            tracing::warn!(run.id = %self.series.run, thread.id = %self.series.thread,
                "the last events are late");
        }
    }

    /// Says why the run failed: its last event.
    pub(crate) async fn fail(&self, error: &RunError) {
        let data = json!({"error": error.error, "message": error.message});
        let number = self.lock().0;
        let event = self
            .series
            .event(number, "error".into(), data.to_string().into());
        self.series.append(vec![event]).await;
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Option<mpsc::Sender<Event>>)> {
        lock(&self.line)
    }
}

impl Series {
    fn event(&self, number: u64, name: Arc<str>, data: Bytes) -> Event {
        let since = u64::try_from(self.claimed.elapsed().as_millis()).unwrap_or(u64::MAX);
        Event {
            id: EventId {
                millis: self.claimed_millis.saturating_add(since),
                number,
            },
            epoch: self.epoch,
            name,
            data,
        }
    }

    /// Publishes events; gives them up after a while, since the run must not wait for the bus.
    async fn append(&self, events: Vec<Event>) {
        let append = || {
            self.events
                .append(self.thread, self.run, events.clone(), self.retention)
        };
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_max_times(4);
        if let Err(error) = append.retry(delays).await {
            tracing::warn!(run.id = %self.run, thread.id = %self.thread, count = events.len(), %error,
                "events not published");
        }
    }
}

/// Publishes what is queued, as much at a time as has gathered meanwhile.
async fn drain(series: Arc<Series>, mut waiting: mpsc::Receiver<Event>, batch: usize) {
    let mut events = Vec::new();
    while waiting.recv_many(&mut events, batch).await > 0 {
        series.append(std::mem::take(&mut events)).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
