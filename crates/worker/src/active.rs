//! The attempts of this worker by their claims: those under way, and those whose claim is not yet
//! answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runloom_core::bus::{Signal, SignalReply};
use runloom_core::executor::StopKind;
use runloom_core::ids::{ClaimId, RunId};
use runloom_core::lease::Held;

use crate::measures::{self, Heard};
use crate::stopper::Stopper;

/// All claims that this worker knows of.
#[derive(Clone, Default)]
pub(crate) struct Active {
    entries: Arc<Mutex<BTreeMap<ClaimId, Entry>>>,
}

enum Entry {
    /// The claim may be in the database, but its answer is not here. A signal that overtakes the
    /// answer is kept for the attempt.
    Claiming(Option<Signal>),
    /// The attempt runs, or is being settled.
    Running(RunId, Arc<Stopper>),
}

/// A claim that this worker knows of. Forgotten when dropped, however that comes about: what is
/// then still held in the database is noticed at a renewal.
pub(crate) struct Known {
    /// The claim.
    pub(crate) id: ClaimId,
    active: Active,
}

impl Drop for Known {
    fn drop(&mut self) {
        let entry = self.active.lock().remove(&self.id);
        if let Some(Entry::Running(..)) = entry {
            measures::slot_freed();
        }
    }
}

impl Known {
    /// The claim was answered with `run`: signals reach `stopper` from now on.
    pub(crate) fn begin(&self, run: RunId, stopper: &Arc<Stopper>) {
        let entry = Entry::Running(run, stopper.clone());
        let before = self.active.lock().insert(self.id, entry);
        if !matches!(before, Some(Entry::Running(..))) {
            measures::slot_taken();
        }
        if let Some(Entry::Claiming(Some(signal))) = before
            && signal.run_id == run
        {
            stopper.asked_in(signal.trace);
            stopper.cancel(signal.action, Heard::Signal);
        }
    }
}

impl Active {
    /// Takes note of a claim about to be made.
    pub(crate) fn claiming(&self, id: ClaimId) -> Known {
        self.lock().insert(id, Entry::Claiming(None));
        Known {
            id,
            active: self.clone(),
        }
    }

    /// Passes a signal to the attempt that it is meant for, and to no other.
    pub(crate) fn signal(&self, signal: Signal) -> SignalReply {
        match self.lock().get_mut(&signal.claim) {
            Some(Entry::Running(run, stopper)) if *run == signal.run_id => {
                stopper.asked_in(signal.trace);
                stopper.cancel(signal.action, Heard::Signal);
                SignalReply::Stopping
            }
            Some(Entry::Claiming(kept)) => {
                if kept.is_none_or(|kept| kept.action < signal.action) {
                    *kept = Some(signal);
                }
                SignalReply::Stopping
            }
            Some(Entry::Running(..)) | None => SignalReply::Unknown,
        }
    }

    /// Compares with what the database says this worker holds: attempts that it asks to stop are
    /// asked to; those that are not known here are returned.
    pub(crate) fn reconcile(&self, held: Vec<Held>) -> Vec<Held> {
        let entries = self.lock();
        let unknown = held.into_iter().filter(|held| {
            let entry = entries.get(&held.fence.claim);
            // A claim that was repeated may have got another run than the one that this tells of.
            if let (Some(Entry::Running(run, stopper)), Some(action)) = (entry, held.cancel)
                && *run == held.run_id
            {
                stopper.cancel(action, Heard::Renewal);
            }
            entry.is_none()
        });
        unknown.collect()
    }

    /// Asks all attempts to stop.
    pub(crate) fn stop_all(&self, kind: StopKind) {
        for entry in self.lock().values() {
            if let Entry::Running(_, stopper) = entry {
                stopper.ask(kind);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClaimId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use runloom_core::ids::ThreadId;
    use runloom_core::lease::Fence;
    use runloom_core::run::CancelAction;

    use super::*;

    fn signal(run_id: RunId, claim: ClaimId) -> Signal {
        Signal {
            run_id,
            claim,
            action: CancelAction::Interrupt,
            trace: None,
        }
    }

    #[test]
    fn a_signal_for_another_claim_of_the_same_run_is_not_taken() {
        let active = Active::default();
        let (run, stopper) = (RunId::new(), Arc::new(Stopper::new(None)));
        let known = active.claiming(ClaimId::new());
        known.begin(run, &stopper);
        let older = signal(run, ClaimId::new());
        assert_eq!(active.signal(older), SignalReply::Unknown);
        let other_run = signal(RunId::new(), known.id);
        assert_eq!(active.signal(other_run), SignalReply::Unknown);
        assert_eq!(stopper.cause(), None);
        assert_eq!(active.signal(signal(run, known.id)), SignalReply::Stopping);
        assert_eq!(stopper.cause(), Some(StopKind::Interrupt));
    }

    #[test]
    fn a_signal_that_overtakes_the_answer_to_the_claim_is_kept() {
        let active = Active::default();
        let (run, stopper) = (RunId::new(), Arc::new(Stopper::new(None)));
        let known = active.claiming(ClaimId::new());
        assert_eq!(active.signal(signal(run, known.id)), SignalReply::Stopping);
        known.begin(run, &stopper);
        assert_eq!(stopper.cause(), Some(StopKind::Interrupt));
    }

    #[test]
    fn a_renewal_that_tells_of_another_run_of_the_same_claim_stops_nobody() {
        let active = Active::default();
        let (run, stopper) = (RunId::new(), Arc::new(Stopper::new(None)));
        let known = active.claiming(ClaimId::new());
        known.begin(run, &stopper);
        let held = |run_id| Held {
            run_id,
            thread_id: ThreadId::new(),
            fence: Fence {
                epoch: 1,
                claim: known.id,
            },
            cancel: Some(CancelAction::Interrupt),
        };
        assert_eq!(active.reconcile(vec![held(RunId::new())]), vec![]);
        assert_eq!(stopper.cause(), None);
        assert_eq!(active.reconcile(vec![held(run)]), vec![]);
        assert_eq!(stopper.cause(), Some(StopKind::Interrupt));
    }

    #[test]
    fn a_forgotten_claim_is_unknown() {
        let active = Active::default();
        let known = active.claiming(ClaimId::new());
        let id = known.id;
        drop(known);
        assert_eq!(
            active.signal(signal(RunId::new(), id)),
            SignalReply::Unknown
        );
    }
}
