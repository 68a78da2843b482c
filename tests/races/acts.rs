//! What really happened, as the executors saw it.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use runloom_core::executor::Attempt;
use runloom_core::ids::{RunId, ThreadId};

/// An attempt, by its run and number.
pub(crate) type Key = (RunId, u32);

/// Collects what attempts did, and notices at once when two of one thread do it together.
#[derive(Default)]
pub(crate) struct Acts {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Per thread, each attempt that acted, in the order of its first act; repeated whenever another
    /// attempt had acted in between.
    acts: HashMap<ThreadId, Vec<Key>>,
    /// Per thread, the same for accepted writes.
    writes: HashMap<ThreadId, Vec<Key>>,
    /// When each run last executed user code.
    last: HashMap<RunId, DateTime<Utc>>,
}

impl Acts {
    /// An attempt executes user code now.
    pub(crate) fn acted(&self, attempt: &Attempt, now: DateTime<Utc>) {
        let mut inner = self.inner.lock().unwrap();
        note(&mut inner.acts, attempt);
        inner.last.insert(attempt.run_id, now);
    }

    /// When `run` last executed user code.
    pub(crate) fn last(&self, run: RunId) -> Option<DateTime<Utc>> {
        self.inner.lock().unwrap().last.get(&run).copied()
    }

    /// A write of an attempt was accepted.
    pub(crate) fn wrote(&self, attempt: &Attempt) {
        note(&mut self.inner.lock().unwrap().writes, attempt);
    }

    /// The attempts of `thread` that acted after another one had begun to: none may (I2).
    pub(crate) fn overlaps(&self, thread: ThreadId) -> Vec<Key> {
        returned(self.inner.lock().unwrap().acts.get(&thread))
    }

    /// The attempts of `thread` that wrote after another one had: none may (I3).
    pub(crate) fn late_writes(&self, thread: ThreadId) -> Vec<Key> {
        returned(self.inner.lock().unwrap().writes.get(&thread))
    }

    /// The runs of `thread` in the order in which they first acted.
    pub(crate) fn order(&self, thread: ThreadId) -> Vec<RunId> {
        let inner = self.inner.lock().unwrap();
        let mut order = Vec::new();
        for (run, _) in inner.acts.get(&thread).into_iter().flatten() {
            if !order.contains(run) {
                order.push(*run);
            }
        }
        order
    }
}

fn note(sequences: &mut HashMap<ThreadId, Vec<Key>>, attempt: &Attempt) {
    let sequence = sequences.entry(attempt.thread_id).or_default();
    let key = (attempt.run_id, attempt.attempt);
    if sequence.last() != Some(&key) {
        sequence.push(key);
    }
}

/// Who comes back in `sequence` after somebody else.
fn returned(sequence: Option<&Vec<Key>>) -> Vec<Key> {
    let sequence = sequence.map(Vec::as_slice).unwrap_or_default();
    let places = sequence.iter().enumerate();
    let back = places.filter(|(place, key)| sequence[..*place].contains(key));
    back.map(|(_, key)| *key).collect()
}
