//! Wake-ups that wait, and those that were taken and not answered yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runloom_core::bus::{BusError, Wake, WakeAnswer};
use runloom_core::ids::ThreadId;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Wake-ups beyond so many are refused; the sweep finds their threads.
const KEPT: usize = 100_000;

/// The wake-ups of one bus.
pub(super) struct Wakes {
    ack_wait: Duration,
    state: Mutex<State>,
    /// Says that there is more to take, or that something comes again sooner. Those who wait are told
    /// in the order of coming, as simulations need it; a watch channel tells them in any order.
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<ThreadId>,
    /// What was taken, by when it comes again and the number of the taking.
    taken: BTreeMap<(Instant, u64), ThreadId>,
    takings: u64,
}

impl State {
    /// Lets what is due come again.
    fn turn_due(&mut self, now: Instant) {
        while let Some(entry) = self.taken.first_entry()
            && entry.key().0 <= now
        {
            self.waiting.push_back(entry.remove());
        }
    }
}

impl Wakes {
    /// No wake-ups. Those that are taken and not answered come again after `ack_wait`.
    pub(super) fn new(ack_wait: Duration) -> Self {
        Self {
            ack_wait,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn add(&self, thread: ThreadId) -> Result<(), BusError> {
        let mut state = self.lock();
        if state.waiting.len() + state.taken.len() >= KEPT {
            return Err(BusError("too many wake-ups are waiting".to_owned()));
        }
        state.waiting.push_back(thread);
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Takes up to `max`, waiting up to `wait` for the first.
    pub(super) async fn take(own: &Arc<Self>, max: usize, wait: Duration) -> Vec<Wake> {
        let deadline = Instant::now() + wait;
        loop {
            // Made before the look, so that a change in between is not missed.
            let changed = own.changed.notified();
            // Nothing is awaited between taking and returning, so dropping this future loses none.
            let (taken, next) = own.take_now(max);
            if !taken.is_empty() || max == 0 || Instant::now() >= deadline {
                return taken;
            }
            let until = next.map_or(deadline, |next| next.min(deadline));
            // Whether there is more or time has passed: it has to look.
            let _ = timeout_at(until, changed).await;
        }
    }

    /// Takes what is there, and says when something comes again.
    fn take_now(self: &Arc<Self>, max: usize) -> (Vec<Wake>, Option<Instant>) {
        let mut state = self.lock();
        let now = Instant::now();
        state.turn_due(now);
        let count = state.waiting.len().min(max);
        let threads: Vec<_> = state.waiting.drain(..count).collect();
        let hand_out = |thread| {
            state.takings += 1;
            let place = (now + self.ack_wait, state.takings);
            state.taken.insert(place, thread);
            let own = self.clone();
            Wake::new(thread, move |answer| own.answer(place, answer))
        };
        let taken = threads.into_iter().map(hand_out).collect();
        (taken, state.taken.keys().next().map(|(when, _)| *when))
    }

    fn answer(&self, place: (Instant, u64), answer: WakeAnswer) {
        let mut state = self.lock();
        // An answer that comes after it came again says nothing about that.
        let Some(thread) = state.taken.remove(&place) else {
            return;
        };
        if let WakeAnswer::Later(delay) = answer {
            state
                .taken
                .insert((Instant::now() + delay, place.1), thread);
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// The state stays whole even if a holder panicked: each change to it is a single call.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
