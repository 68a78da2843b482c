//! One subscription per run, however many clients watch it.
//!
//! A *pump* reads a run's events from the log into a *ring*, each encoded once; any number of
//! *readers* take them from there at their own pace. Whoever falls behind the ring is cut loose, so
//! that nobody is held back and memory stays bounded. Whoever needs older events reads the log until
//! the ring has the rest.

mod feed;
mod pump;
mod ring;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use runloom_core::bus::{BusError, From as Place};
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::Run;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::feed::{Feed, Shared, State};
use self::pump::Pump;
use self::ring::Ring;
use crate::measures::EventLag;
use crate::{Config, Ports};

pub(crate) use self::feed::{Reader, Step};
pub use self::ring::RingLimits;

type Feeds = HashMap<RunId, Weak<Feed>>;

/// The streams that this gateway serves.
pub(crate) struct Fanout {
    ports: Arc<Ports>,
    tasks: TaskTracker,
    limits: RingLimits,
    end_event: bool,
    /// Bytes of all rings.
    total: Arc<AtomicUsize>,
    feeds: Arc<Mutex<Feeds>>,
    /// How far the database's clock is ahead of ours, in milliseconds.
    clock_skew: Arc<AtomicI64>,
}

/// Which run to stream.
#[derive(Clone, Copy)]
struct Which {
    thread: ThreadId,
    run: RunId,
    resumable: bool,
    /// Whether it was submitted before.
    exists: bool,
}

impl Fanout {
    pub(crate) fn new(ports: Arc<Ports>, config: &Config, tasks: TaskTracker) -> Self {
        Self {
            ports,
            tasks,
            limits: config.ring,
            end_event: config.end_event,
            total: Arc::default(),
            feeds: Arc::default(),
            clock_skew: Arc::default(),
        }
    }

    /// Takes note of how far the database's clock is ahead of ours, in milliseconds.
    pub(crate) fn set_clock_skew(&self, millis: i64) {
        self.clock_skew.store(millis, Ordering::Relaxed);
    }

    /// Reads a run that is about to be submitted, from its start. The caller says when it is, see
    /// [`Reader::submitted`].
    pub(crate) async fn ahead(&self, thread: ThreadId, run: RunId, resumable: bool) -> Reader {
        let which = Which {
            thread,
            run,
            resumable,
            exists: false,
        };
        let feed = self.feed(which).await;
        let key = feed.shared.ring().join_now();
        Reader::of_ring(feed, key)
    }

    /// Reads a run from `place` on.
    pub(crate) async fn join(&self, run: &Run, place: Place) -> Result<Reader, BusError> {
        let which = Which {
            thread: run.thread_id,
            run: run.id,
            resumable: run.kwargs.resumable,
            exists: true,
        };
        let feed = self.feed(which).await;
        let after = match place {
            Place::Now => {
                let key = feed.shared.ring().join_now();
                return Ok(Reader::of_ring(feed, key));
            }
            Place::Start => None,
            Place::After(id) => Some(id),
        };
        let key = feed.shared.ring().join_after(after);
        if let Some(key) = key {
            return Ok(Reader::of_ring(feed, key));
        }
        let tail = self.ports.events.tail(run.thread_id, run.id, place).await?;
        Ok(Reader::of_log(feed, tail, after))
    }

    /// The stream of a run, opened if it is not. Subscribed to the log when this returns.
    async fn feed(&self, which: Which) -> Arc<Feed> {
        let feed = self.known_or_new(which);
        let mut state = feed.shared.state.subscribe();
        // The pump says so even when it dies; an error would mean that it is gone.
        let _ = state.wait_for(|state| state.opened).await;
        feed
    }

    fn known_or_new(&self, which: Which) -> Arc<Feed> {
        // Declared before the lock, so that it is let go after it: a feed's end takes the lock.
        let _ended;
        let mut feeds = lock(&self.feeds);
        match feeds.get(&which.run).and_then(Weak::upgrade) {
            Some(feed) if !feed.shared.has_ended() => return feed,
            other => _ended = other,
        }
        let feed = self.open(which);
        feeds.insert(which.run, Arc::downgrade(&feed));
        feed
    }

    fn open(&self, which: Which) -> Arc<Feed> {
        let ring = Ring::new(self.limits, self.total.clone(), !which.exists);
        let shared = Arc::new(Shared {
            ring: Mutex::new(ring),
            state: watch::Sender::new(State::default()),
            submitted: AtomicBool::new(which.exists),
            with_ids: which.resumable,
        });
        let pump = Pump {
            ports: self.ports.clone(),
            shared: shared.clone(),
            thread: which.thread,
            run: which.run,
            end_event: self.end_event,
            ahead: !which.exists,
            lag: EventLag::new(),
            clock_skew: self.clock_skew.clone(),
        };
        let stop = CancellationToken::new();
        self.tasks.spawn(pump.work(stop.clone()));
        let feeds = self.feeds.clone();
        Arc::new(Feed {
            shared,
            _pump: stop.drop_guard(),
            on_drop: Box::new(move || forget(&feeds, which.run)),
        })
    }
}

/// Takes the stream of `run` out of the table, unless a new one has taken its place.
fn forget(feeds: &Mutex<Feeds>, run: RunId) {
    let mut feeds = lock(feeds);
    if feeds.get(&run).is_some_and(|feed| feed.strong_count() == 0) {
        feeds.remove(&run);
    }
}

/// The table stays whole even if a holder panicked: each change to it is a single call.
fn lock(feeds: &Mutex<Feeds>) -> MutexGuard<'_, Feeds> {
    feeds.lock().unwrap_or_else(PoisonError::into_inner)
}
