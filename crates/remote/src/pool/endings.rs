//! Why a process ended: by itself, or because the worker wanted it to.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

/// Why the worker ends a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    /// The run in this place could not be stopped.
    ForPlace(u64),
    /// Nothing goes on in it, and it is not needed any more.
    Idle,
    /// Nothing is needed any more.
    Shutdown,
}

/// What is known about the end of a process.
#[derive(Debug, Default)]
pub(super) struct Endings(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What the worker wanted, each of it.
    wanted: HashSet<Ending>,
    /// It began to end before the worker wanted anything.
    by_itself: bool,
}

impl Endings {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("nobody panics with this lock")
    }

    /// The worker is about to end the process.
    pub(super) fn wanted(&self, why: Ending) {
        self.known().wanted.insert(why);
    }

    /// The process ends. If the worker did not want that until now, what it wants later explains nothing.
    pub(super) fn seen(&self) {
        let mut known = self.known();
        known.by_itself = known.wanted.is_empty();
    }

    /// Whether the worker ended the process, and whether it did so for this place.
    pub(super) fn for_place(&self, place: u64) -> Option<bool> {
        let known = self.known();
        if known.wanted.contains(&Ending::ForPlace(place)) {
            Some(true)
        } else if known.by_itself || known.wanted.is_empty() {
            None
        } else {
            Some(false)
        }
    }

    /// Why the worker ended the process, the strongest reason of several; `None` if it ended by itself.
    pub(super) fn strongest(&self) -> Option<Ending> {
        let known = self.known();
        if known.by_itself {
            return None;
        }
        let strength = |ending: &&Ending| match ending {
            Ending::Idle => 0,
            Ending::Shutdown => 1,
            Ending::ForPlace(_) => 2,
        };
        known.wanted.iter().max_by_key(strength).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_for_one_run_and_happens_to_the_others() {
        let endings = Endings::default();
        endings.wanted(Ending::ForPlace(1));
        endings.seen();
        endings.wanted(Ending::ForPlace(2));
        assert_eq!(endings.for_place(1), Some(true));
        assert_eq!(endings.for_place(2), Some(true));
        assert_eq!(endings.for_place(3), Some(false));
        assert!(matches!(endings.strongest(), Some(Ending::ForPlace(_))));
    }

    #[test]
    fn what_is_wanted_of_a_process_that_died_explains_nothing() {
        let endings = Endings::default();
        endings.seen();
        // It is retired because it is gone, and idle as its runs hear of that.
        endings.wanted(Ending::Idle);
        endings.wanted(Ending::Shutdown);
        assert_eq!(endings.for_place(1), None);
        assert_eq!(endings.strongest(), None);
        // Who wanted it gone has what it wanted.
        endings.wanted(Ending::ForPlace(1));
        assert_eq!(endings.for_place(1), Some(true));
        assert_eq!(endings.for_place(2), None);
    }

    #[test]
    fn the_strongest_reason_counts() {
        let endings = Endings::default();
        endings.wanted(Ending::Idle);
        assert_eq!(endings.strongest(), Some(Ending::Idle));
        endings.wanted(Ending::Shutdown);
        assert_eq!(endings.strongest(), Some(Ending::Shutdown));
    }
}
