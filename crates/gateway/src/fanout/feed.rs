//! One run's stream in this gateway, and those who read it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use runloom_api::stream::{ERROR, comment, frame, mode_of};
use runloom_core::bus::Tail;
use runloom_core::event::{Event, EventId};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::ring::{Found, Frame, ReaderKey, Ring};

/// How long to go on reading a log after its run is known to be over, if the log does not end by
/// itself: its last events may still be on their way.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// How a stream ended.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// The run is over. What is still to be said: whether events may be missing, then an error to
    /// those who do not know that it failed, then what all are told.
    Over {
        note: Option<Bytes>,
        error: Option<Bytes>,
        last: Option<Bytes>,
    },
    /// Events were lost. Readers come back, and are served from the log.
    Lost,
}

/// What the pump and the readers share.
pub(super) struct Shared {
    pub(super) ring: Mutex<Ring>,
    /// Tells that the ring or this changed.
    pub(super) state: watch::Sender<State>,
    /// Whether the run exists as far as this gateway is concerned.
    pub(super) submitted: AtomicBool,
    /// Whether ids are written.
    pub(super) with_ids: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Whether the log was opened, or could not be.
    pub(super) opened: bool,
    /// Set once.
    pub(super) ending: Option<Ending>,
}

impl Shared {
    /// The ring stays whole even if a holder panicked: each change to it is a single call.
    pub(super) fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.borrow().ending.is_some()
    }

    /// Encodes an event for all readers.
    pub(super) fn encode(&self, event: &Event) -> Frame {
        Frame {
            id: event.id,
            mode: mode_of(&event.name),
            is_error: &*event.name == ERROR,
            bytes: frame(&event.name, &event.data, self.with_ids.then_some(event.id)),
        }
    }
}

/// One run's stream. It lives as long as somebody reads it.
pub(super) struct Feed {
    pub(super) shared: Arc<Shared>,
    /// Stops the pump.
    pub(super) _pump: DropGuard,
    /// Takes it out of the table.
    pub(super) on_drop: Box<dyn Fn() + Send + Sync>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        (self.on_drop)();
    }
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The next event.
    Frame(Frame),
    /// Something to be passed on that is no event.
    Note(Bytes),
    /// The reader was too slow and gets nothing more. It may resume after this event.
    Behind(Option<EventId>),
    /// The run is over; this is still to be said.
    Over(Vec<Bytes>),
    /// Events were lost.
    Lost,
}

/// Reads one run's events at its own pace.
pub(crate) struct Reader {
    feed: Arc<Feed>,
    state: watch::Receiver<State>,
    source: Source,
    last: Option<EventId>,
    saw_error: bool,
}

enum Source {
    Ring(ReaderKey),
    /// Reads what the ring no longer has, until the ring has the rest.
    Log {
        tail: BoxStream<'static, Tail>,
        begun: bool,
    },
    /// Has read the log to its end and waits for what is still to be said.
    Done,
}

impl Reader {
    pub(super) fn of_ring(feed: Arc<Feed>, key: ReaderKey) -> Self {
        Self::new(feed, Source::Ring(key), None)
    }

    pub(super) fn of_log(
        feed: Arc<Feed>,
        tail: BoxStream<'static, Tail>,
        after: Option<EventId>,
    ) -> Self {
        let begun = false;
        Self::new(feed, Source::Log { tail, begun }, after)
    }

    fn new(feed: Arc<Feed>, source: Source, last: Option<EventId>) -> Self {
        let state = feed.shared.state.subscribe();
        Self {
            feed,
            state,
            source,
            last,
            saw_error: false,
        }
    }

    /// Says that the run was accepted. From now on its absence means that it is gone.
    pub(crate) fn submitted(&self) {
        self.feed.shared.submitted.store(true, Ordering::Release);
    }

    /// The next step. Can be dropped and called again without losing anything.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            let step = match &mut self.source {
                Source::Ring(_) => self.read_ring().await,
                Source::Log { .. } => self.read_log().await,
                Source::Done => self.last_words().await,
            };
            if let Some(step) = step {
                if let Step::Frame(frame) = &step {
                    self.last = Some(frame.id);
                    self.saw_error |= frame.is_error;
                    self.switch_to_ring();
                }
                return step;
            }
        }
    }

    async fn read_ring(&mut self) -> Option<Step> {
        let Source::Ring(key) = self.source else {
            return None;
        };
        // Marked as seen before looking, so that nothing slips between the look and the wait.
        let ending = self.state.borrow_and_update().ending.clone();
        let found = self.feed.shared.ring().read(key);
        match (found, ending) {
            (Found::Frame(frame), _) => Some(Step::Frame(frame)),
            (Found::Behind, _) => Some(Step::Behind(self.last)),
            (Found::Nothing, Some(ending)) => Some(self.end(ending)),
            (Found::Nothing, None) => match self.state.changed().await {
                Ok(()) => None,
                Err(_gone) => Some(Step::Lost),
            },
        }
    }

    async fn read_log(&mut self) -> Option<Step> {
        let ending = self.state.borrow_and_update().ending.clone();
        let Source::Log { tail, begun } = &mut self.source else {
            return None;
        };
        let item = if let Some(ending) = ending {
            let Ok(item) = timeout(GRACE, tail.next()).await else {
                return Some(self.end(ending));
            };
            item
        } else {
            tokio::select! {
                biased;
                item = tail.next() => item,
                _ = self.state.changed() => return None,
            }
        };
        let first = !std::mem::replace(begun, true);
        match item {
            Some(Tail::Event(event)) => Some(Step::Frame(self.feed.shared.encode(&event))),
            // Coming back would not help: they are gone for good.
            Some(Tail::Gap) if first => {
                Some(Step::Note(comment("earlier events are no longer kept")))
            }
            Some(Tail::End) => {
                self.source = Source::Done;
                None
            }
            Some(Tail::Gap) | None => Some(Step::Lost),
        }
    }

    /// Waits for the feed's own end.
    async fn last_words(&mut self) -> Option<Step> {
        let ended = self.state.wait_for(|state| state.ending.is_some()).await;
        let ending = ended.ok().and_then(|state| state.ending.clone());
        Some(self.end(ending.unwrap_or(Ending::Lost)))
    }

    /// Leaves the log as soon as the ring has all that follows.
    fn switch_to_ring(&mut self) {
        if let (Source::Log { .. }, Some(last)) = (&self.source, self.last)
            && let Some(key) = self.feed.shared.ring().join_after(Some(last))
        {
            self.source = Source::Ring(key);
        }
    }

    fn end(&self, ending: Ending) -> Step {
        match ending {
            Ending::Over { note, error, last } => {
                let error = error.filter(|_| !self.saw_error);
                Step::Over(note.into_iter().chain(error).chain(last).collect())
            }
            Ending::Lost => Step::Lost,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Source::Ring(key) = self.source {
            self.feed.shared.ring().leave(key);
        }
    }
}
