//! A notifier between the code and the real one that loses, doubles, delays, reorders and forgets by
//! seed: what the port allows, all of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use runloom_core::bus::{BusError, Delivery, Notifier, RunChange, Signal, SignalReply, Wake};
use runloom_core::ids::{ThreadId, WorkerId};

/// How often each thing goes wrong, from 0 (never) to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// It is lost.
    pub lost: f64,
    /// It comes twice.
    pub doubled: f64,
    /// It comes with a later one, if one comes.
    pub delayed: f64,
    /// It is refused.
    pub refused: f64,
}

impl Faults {
    /// A bad day.
    pub const SOME: Self = Self {
        lost: 0.2,
        doubled: 0.2,
        delayed: 0.2,
        refused: 0.1,
    };

    /// Nothing ever arrives.
    pub const ALL_LOST: Self = Self {
        lost: 1.0,
        doubled: 0.0,
        delayed: 0.0,
        refused: 0.0,
    };
}

/// Something on its way.
#[derive(Clone, Copy, Debug)]
enum Hint {
    Wake(ThreadId),
    Signal(WorkerId, Signal),
    Announce(RunChange),
}

/// What happens to a hint.
enum Fate {
    Delivered,
    Lost,
    Doubled,
    Delayed,
    Refused,
}

/// A notifier with faults.
pub struct Faulty {
    inner: Arc<dyn Notifier>,
    faults: Faults,
    state: Mutex<State>,
}

struct State {
    random: StdRng,
    delayed: Vec<Hint>,
}

impl Faulty {
    /// Puts faults before `inner`. The same seed and the same calls give the same faults.
    pub fn new(inner: Arc<dyn Notifier>, faults: Faults, seed: u64) -> Self {
        Self {
            inner,
            faults,
            state: Mutex::new(State {
                random: StdRng::seed_from_u64(seed),
                delayed: Vec::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about `hint`; with it come those whose delay is over.
    fn decide(&self, hint: Hint) -> (Fate, Vec<Hint>) {
        let mut state = self.state();
        let mut roll = state.random.random::<f64>();
        let mut falls_below = |share: f64| {
            roll -= share;
            roll < 0.0
        };
        let fate = if falls_below(self.faults.lost) {
            Fate::Lost
        } else if falls_below(self.faults.doubled) {
            Fate::Doubled
        } else if falls_below(self.faults.delayed) {
            Fate::Delayed
        } else if falls_below(self.faults.refused) {
            Fate::Refused
        } else {
            Fate::Delivered
        };
        let late = std::mem::take(&mut state.delayed);
        if matches!(fate, Fate::Delayed) {
            state.delayed.push(hint);
        }
        (fate, late)
    }

    async fn deliver(&self, hint: Hint, wait: Duration) -> Result<SignalReply, BusError> {
        match hint {
            Hint::Wake(thread) => self.inner.wake(thread).await?,
            Hint::Announce(change) => self.inner.announce(change).await?,
            Hint::Signal(worker, signal) => {
                return Ok(self.inner.signal(worker, signal, wait).await);
            }
        }
        Ok(SignalReply::Stopping)
    }

    /// Forgets everything that is on its way, as a bus that was restarted does: what was delayed,
    /// and the wake-ups that nobody took.
    pub async fn forget(&self) {
        self.state().delayed.clear();
        loop {
            match self.inner.wakes(usize::MAX, Duration::ZERO).await {
                Ok(wakes) if !wakes.is_empty() => wakes.into_iter().for_each(Wake::done),
                _ => return,
            }
        }
    }

    /// Whether something happens that does in this share of cases.
    fn happens(&self, share: f64) -> bool {
        self.state().random.random::<f64>() < share
    }

    /// Sends `hint` with the faults that are its fate.
    async fn send(&self, hint: Hint, wait: Duration) -> Result<SignalReply, BusError> {
        let (fate, late) = self.decide(hint);
        let reply = match fate {
            Fate::Delivered => self.deliver(hint, wait).await,
            Fate::Lost | Fate::Delayed => Ok(SignalReply::NoAnswer),
            Fate::Doubled => {
                self.deliver(hint, wait).await?;
                self.deliver(hint, wait).await
            }
            Fate::Refused => Err(BusError("a fault was asked for".to_owned())),
        };
        for hint in late {
            self.deliver(hint, wait).await?;
        }
        reply
    }
}

#[async_trait]
impl Notifier for Faulty {
    async fn wake(&self, thread: ThreadId) -> Result<(), BusError> {
        self.send(Hint::Wake(thread), Duration::ZERO)
            .await
            .map(drop)
    }

    async fn wakes(&self, max: usize, wait: Duration) -> Result<Vec<Wake>, BusError> {
        let mut wakes = self.inner.wakes(max, wait).await?;
        if self.happens(self.faults.delayed) {
            wakes.reverse();
        }
        Ok(wakes)
    }

    async fn signal(&self, worker: WorkerId, signal: Signal, wait: Duration) -> SignalReply {
        let sent = self.send(Hint::Signal(worker, signal), wait).await;
        sent.unwrap_or(SignalReply::NoReceiver)
    }

    async fn signals(&self, worker: WorkerId) -> Result<BoxStream<'static, Delivery>, BusError> {
        self.inner.signals(worker).await
    }

    async fn announce(&self, change: RunChange) -> Result<(), BusError> {
        self.send(Hint::Announce(change), Duration::ZERO)
            .await
            .map(drop)
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    async fn changes(&self, thread: ThreadId) -> Result<BoxStream<'static, RunChange>, BusError> {
        self.inner.changes(thread).await
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use futures::executor::block_on;
    use futures::stream;

    use super::*;

    /// Keeps the wake-ups that get through.
    #[derive(Default)]
    struct Recorder(Mutex<Vec<ThreadId>>);

    #[async_trait]
    impl Notifier for Recorder {
        async fn wake(&self, thread: ThreadId) -> Result<(), BusError> {
            self.0.lock().unwrap().push(thread);
            Ok(())
        }

        async fn wakes(&self, _: usize, _: Duration) -> Result<Vec<Wake>, BusError> {
            Ok(Vec::new())
        }

        async fn signal(&self, _: WorkerId, _: Signal, _: Duration) -> SignalReply {
            SignalReply::Unknown
        }

        async fn signals(&self, _: WorkerId) -> Result<BoxStream<'static, Delivery>, BusError> {
            Ok(stream::empty().boxed())
        }

        async fn announce(&self, _: RunChange) -> Result<(), BusError> {
            Ok(())
        }

        async fn changes(&self, _: ThreadId) -> Result<BoxStream<'static, RunChange>, BusError> {
            Ok(stream::empty().boxed())
        }
    }

    fn threads() -> Vec<ThreadId> {
        (0..100_u128)
            .map(|n| uuid::Uuid::from_u128(n).into())
            .collect()
    }

    /// What gets through of a hundred wake-ups, and how many were refused.
    fn sent(faults: Faults, seed: u64) -> (Vec<ThreadId>, usize) {
        let recorder = Arc::new(Recorder::default());
        let notifier = Faulty::new(recorder.clone(), faults, seed);
        let wake = |thread: &ThreadId| block_on(notifier.wake(*thread)).is_err();
        let refused = threads().iter().filter(|thread| wake(thread)).count();
        let through = recorder.0.lock().unwrap().clone();
        (through, refused)
    }

    #[test]
    fn faults_follow_from_the_seed() {
        assert_eq!(sent(Faults::SOME, 7), sent(Faults::SOME, 7));
        assert_ne!(sent(Faults::SOME, 7), sent(Faults::SOME, 8));
    }

    #[test]
    fn each_kind_of_fault_happens() {
        let (through, refused) = sent(Faults::SOME, 1);
        let times = |thread: &ThreadId| through.iter().filter(|sent| *sent == thread).count();
        let times: Vec<_> = threads().iter().map(times).collect();
        assert!(times.contains(&0) && times.contains(&1) && times.contains(&2));
        assert!(!through.is_sorted(), "some come late");
        assert!(refused > 0);
        assert_eq!(sent(Faults::ALL_LOST, 1), (Vec::new(), 0));
    }

    #[test]
    fn without_faults_everything_comes_through() {
        let none = Faults {
            lost: 0.0,
            ..Faults::ALL_LOST
        };
        assert_eq!(sent(none, 1), (threads(), 0));
    }
}
