//! Carries one run's events from the log into the ring, and notices when the run is over.
//!
//! The log ends when the run does, but that is a hint and may be lost. So the database is asked as
//! well: at once if the run was there before the pump, after a change that looks like an end, and
//! whenever nothing was heard for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use runloom_api::stream::{End, comment, end_frame, error_frame};
use runloom_core::bus::{From as Place, RunChange, Tail};
use runloom_core::event::EventId;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::{Run, RunStatus};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::feed::{Ending, GRACE, Shared};
use crate::Ports;
use crate::measures::EventLag;
use crate::wait::RECHECK;

/// How long to wait before the log is opened anew after it could not be.
const REOPEN: Duration = Duration::from_secs(1);

/// How long after a run has ended its log may take to say so before the database is asked.
const SOON: Duration = Duration::from_millis(25);

/// How long slow readers may finish what they have not read when the run is over.
const LINGER: Duration = Duration::from_secs(30);

pub(super) struct Pump {
    pub(super) ports: Arc<Ports>,
    pub(super) shared: Arc<Shared>,
    pub(super) thread: ThreadId,
    pub(super) run: RunId,
    pub(super) end_event: bool,
    /// Whether its readers were there before the run.
    pub(super) ahead: bool,
    pub(super) lag: EventLag,
    /// How far the database's clock is ahead of ours, in milliseconds.
    pub(super) clock_skew: Arc<AtomicI64>,
}

impl Pump {
    /// Pumps until the run is over or nobody reads any more.
    pub(super) async fn work(self, stop: CancellationToken) {
        // Should the pump die, its readers must not wait for ever.
        let lost = LostUnlessSaid(self.shared.clone());
        let pumping = async {
            lost.say(self.pump().await);
            sleep(LINGER).await;
            self.shared.ring().clear();
            self.shared.state.send_modify(|_| ());
        };
        stop.run_until_cancelled(pumping).await;
    }

    async fn pump(&self) -> Ending {
        let mut changes = self.changes().await;
        let mut tail = self.open(Place::Now).await;
        self.shared.state.send_modify(|state| state.opened = true);
        let mut look_at = Instant::now();
        if !self.submitted() {
            look_at += RECHECK;
        }
        // Set when the run is over but the log has not said so.
        let mut over = None;
        loop {
            tokio::select! {
                // Events that are here already come before any thought of the end.
                biased;
                item = next(&mut tail) => match item {
                    Some(Tail::Event(event)) => {
                        self.shared.ring().push(self.shared.encode(&event));
                        self.shared.state.send_modify(|_| ());
                        self.lag.record(self.age(event.id));
                        look_at = look_at.max(Instant::now() + RECHECK);
                    }
                    Some(Tail::End) => return self.last_words(self.insist().await.as_ref(), true),
                    Some(Tail::Gap) | None => return Ending::Lost,
                },
                Some(change) = changes.next() => {
                    if change.run_id == self.run && change.is_end() {
                        look_at = look_at.min(Instant::now() + SOON);
                    }
                }
                () = sleep_until(look_at) => {
                    if let Some(ending) = over {
                        return ending;
                    }
                    if tail.is_none() {
                        // What was said meanwhile is for those who have waited since before it.
                        let place = if self.ahead { Place::Start } else { Place::Now };
                        tail = self.open(place).await;
                    }
                    over = self.ending_if_over().await;
                    let pause = match (&over, &tail) {
                        (Some(_), _) => GRACE,
                        (None, Some(_)) => RECHECK,
                        (None, None) => REOPEN,
                    };
                    look_at = Instant::now() + pause;
                }
            }
        }
    }

    /// How the run ended, if it did. The log has not said so: what it said last may be missing.
    async fn ending_if_over(&self) -> Option<Ending> {
        if !self.submitted() {
            return None;
        }
        let run = self.look().await?;
        let is_over = run.as_ref().is_none_or(|run| run.status.is_terminal());
        is_over.then(|| self.last_words(run.as_ref(), false))
    }

    /// How many milliseconds ago an event was made, by the database's clock.
    fn age(&self, id: EventId) -> i64 {
        let now = self.ports.clock.now().timestamp_millis();
        let now = now.saturating_add(self.clock_skew.load(Ordering::Relaxed));
        now.saturating_sub_unsigned(id.millis)
    }

    fn submitted(&self) -> bool {
        self.shared.submitted.load(Ordering::Acquire)
    }

    async fn changes(&self) -> BoxStream<'static, RunChange> {
        match self.ports.notifier.changes(self.thread).await {
            Ok(changes) => changes.chain(stream::pending()).boxed(),
            Err(error) => {
                tracing::debug!(%error, run.id = %self.run, thread.id = %self.thread,
                    "no hints; the database is asked");
                stream::pending().boxed()
            }
        }
    }

    async fn open(&self, place: Place) -> Option<BoxStream<'static, Tail>> {
        let events = &self.ports.events;
        match events.tail(self.thread, self.run, place).await {
            Ok(tail) => Some(tail),
            Err(error) => {
                tracing::debug!(%error, run.id = %self.run, thread.id = %self.thread,
                    "events cannot be read for now");
                self.shared.ring().not_whole();
                None
            }
        }
    }

    /// The run as it is now; `None` if the database does not answer.
    async fn look(&self) -> Option<Option<Run>> {
        let run = self.ports.database.run(Some(self.thread), self.run).await;
        run.inspect_err(|error| {
            tracing::debug!(%error, run.id = %self.run, thread.id = %self.thread,
                "cannot see whether the run is over");
        })
        .ok()
    }

    /// The run, however long the database takes to say how it ended.
    async fn insist(&self) -> Option<Run> {
        loop {
            if let Some(run) = self.look().await {
                return run;
            }
            sleep(REOPEN).await;
        }
    }

    fn last_words(&self, run: Option<&Run>, whole: bool) -> Ending {
        let failed = run.filter(|run| matches!(run.status, RunStatus::Error | RunStatus::Timeout));
        let error = failed.and_then(|run| run.error.as_ref()).map(error_frame);
        let last = self.end_event.then(|| {
            let end = run.map_or_else(|| End::gone(self.run), End::of);
            end_frame(&end)
        });
        // Who can come back is told when that may be worth it.
        let note = !whole && self.shared.with_ids;
        let note = note.then(|| comment("the end of the log was not seen; events may be missing"));
        Ending::Over { note, error, last }
    }
}

/// The next item of a log that may not be open.
async fn next(tail: &mut Option<BoxStream<'static, Tail>>) -> Option<Tail> {
    match tail {
        Some(tail) => tail.next().await,
        None => std::future::pending().await,
    }
}

/// Says how the stream ended, at the latest when it is dropped.
struct LostUnlessSaid(Arc<Shared>);

impl LostUnlessSaid {
    fn say(&self, ending: Ending) {
        self.0.state.send_modify(|state| {
            state.opened = true;
            state.ending.get_or_insert(ending);
        });
    }
}

impl Drop for LostUnlessSaid {
    fn drop(&mut self) {
        self.say(Ending::Lost);
    }
}
