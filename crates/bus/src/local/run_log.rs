//! The events of one run, in memory.

use std::collections::VecDeque;
use std::time::Duration;

use runloom_core::bus::From;
use runloom_core::event::{Event, Retention};

/// How much is kept of a run's events, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At most so many events of a resumable run.
    pub events: usize,
    /// At most so many events of another run: what a slow reader may lag behind.
    pub live_events: usize,
    /// At most so many bytes of data.
    pub bytes: usize,
    /// So long after the run ended, if it is resumable.
    pub after_end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events: 20_000,
            live_events: 2_000,
            bytes: 32 << 20,
            after_end: Duration::from_mins(2),
        }
    }
}

/// What a reader finds at its place.
pub(super) enum Found {
    /// The next event.
    Event(Event),
    /// Events are missing before the next one.
    Gap,
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come.
    End,
}

/// The events of one run. Places count from the first event ever appended.
#[derive(Default)]
pub(super) struct RunLog {
    kept: VecDeque<Event>,
    /// The place of the first event that is kept.
    first: u64,
    bytes: usize,
    epoch: i64,
    ended: bool,
}

impl RunLog {
    /// Adds an event, unless it was added before, a newer attempt has spoken already or the run is
    /// over.
    pub(super) fn append(&mut self, event: Event, retention: Retention, limits: &Limits) {
        let most = match retention {
            Retention::Live => limits.live_events,
            Retention::Resumable => limits.events,
        };
        let newest = self.kept.back();
        let is_repeated = event.epoch == self.epoch
            && newest.is_some_and(|newest| event.id.number <= newest.id.number);
        if event.epoch < self.epoch || is_repeated || self.ended {
            return;
        }
        self.epoch = event.epoch;
        self.bytes += event.data.len();
        self.kept.push_back(event);
        while self.kept.len() > most || (self.bytes > limits.bytes && self.kept.len() > 1) {
            if let Some(dropped) = self.kept.pop_front() {
                self.bytes -= dropped.data.len();
                self.first += 1;
            }
        }
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The place where a reader begins, and whether events are missing before it.
    pub(super) fn place(&self, from: From) -> (u64, bool) {
        let next = self.first + self.kept.len() as u64;
        match from {
            From::Now => (next, false),
            From::Start => (self.first, self.first > 0),
            From::After(id) => {
                let skipped = self.kept.partition_point(|event| event.id <= id);
                let place = self.first + skipped as u64;
                // With the event itself still here, or none dropped, nothing can be missing.
                let missing = skipped == 0 && self.first > 0 && !self.follows(id.number);
                (place, missing)
            }
        }
    }

    /// Whether the first kept event is the one right after `number` in the same attempt.
    fn follows(&self, number: u64) -> bool {
        self.kept
            .front()
            .is_some_and(|event| event.id.number == number + 1)
    }

    /// What is at `place`, and the place to look at next.
    pub(super) fn read(&self, place: u64) -> (Found, u64) {
        if place < self.first {
            return (Found::Gap, self.first);
        }
        let index = usize::try_from(place - self.first).unwrap_or(usize::MAX);
        match self.kept.get(index) {
            Some(event) => (Found::Event(event.clone()), place + 1),
            None if self.ended => (Found::End, place),
            None => (Found::Nothing, place),
        }
    }
}
