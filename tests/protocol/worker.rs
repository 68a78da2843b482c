//! The workers' side: what a worker does of itself, and what it makes of what it hears.

use runloom_core::run::CancelAction;

use crate::database::held_by;
use crate::model::{Mutation, Protocol};
use crate::state::{
    At, Attempt, Claim, Fence, Held, Known, Lease, Message, Stage, State, Told, Transit, Work,
    Worker,
};

impl Protocol {
    /// A claim was answered with a run.
    pub(crate) fn claimed(&self, state: &mut State, claim: Claim, told: Told) {
        let Some(worker) = state.process(claim.worker) else {
            return;
        };
        let valid = worker.valid;
        let Some(known) = worker.find(claim, |at| {
            matches!(at, At::Claiming { .. } | At::Next { .. })
        }) else {
            return;
        };
        let kept = match known.at {
            At::Claiming { kept, .. } | At::Next { kept } => kept,
            _ => None,
        };
        let kept = kept
            .filter(|(run, _)| *run == told.run)
            .map(|(_, action)| action);
        known.at = At::Running(Attempt {
            run: told.run,
            epoch: told.epoch,
            work: self.work(told),
            cause: told.cancel.max(kept),
            lost: !valid,
            wrote: false,
        });
    }

    fn work(&self, told: Told) -> Work {
        let given_up = told.attempt > 1 && !told.superseded;
        match told.cancel {
            None => Work::Execute,
            Some(CancelAction::Rollback) => Work::Discard,
            Some(CancelAction::Interrupt) => {
                let keeps = self.script[usize::from(told.run)].input && !given_up;
                if keeps { Work::Visit } else { Work::Mend }
            }
        }
    }

    /// How `attempt` may end now.
    pub(crate) fn ends(&self, state: &State, worker: &Worker, attempt: Attempt) -> Vec<Transit> {
        let planned = &self.script[usize::from(attempt.run)];
        // What an earlier attempt stored is read, not stored again.
        let stored = attempt.wrote || state.runs[usize::from(attempt.run)].wrote;
        let keeps = planned.input && !stored;
        let lost = attempt.lost || !worker.valid;
        let mut ends = Vec::new();
        match (attempt.work, attempt.cause) {
            (Work::Discard | Work::Mend, _) | (_, Some(CancelAction::Rollback)) => {
                ends.push(Transit::Interrupt);
            }
            (Work::Visit, _) if lost => ends.push(Transit::HandBack),
            (Work::Visit, _) if stored => ends.push(Transit::Interrupt),
            (Work::Execute, Some(CancelAction::Interrupt)) if !keeps => {
                ends.push(Transit::Interrupt);
            }
            (Work::Execute, Some(CancelAction::Interrupt)) if lost => ends.push(Transit::HandBack),
            (Work::Execute, None) if lost || worker.stopping => ends.push(Transit::HandBack),
            _ => {}
        }
        // A stop that comes too late changes nothing.
        if attempt.work == Work::Execute && stored && !lost && !planned.endless {
            ends.push(Transit::Succeed);
        }
        ends
    }

    /// The code of the attempt `claim` has stopped; its settlement is sent.
    pub(crate) fn end(&self, state: &mut State, process: usize, claim: Claim, transit: Transit) {
        let worker = &mut state.workers[process];
        let goes_on = self.claims_next && transit != Transit::HandBack && !worker.stopping;
        let next = goes_on.then(|| worker.new_claim());
        let Some(known) = worker.find(claim, |at| matches!(at, At::Running(_))) else {
            return;
        };
        let At::Running(Attempt { run, epoch, .. }) = known.at else {
            return;
        };
        known.at = At::Settling {
            run,
            epoch,
            transit,
            next,
        };
        let thread = known.thread;
        let fresh = |claim| Known {
            claim,
            thread,
            at: At::Next { kept: None },
        };
        worker.known.extend(next.map(fresh));
        let fence = Fence { epoch, claim };
        state.send(Message::Settle {
            thread,
            fence,
            run,
            transit,
            next,
        });
    }

    /// A settlement was answered.
    pub(crate) fn settled(
        &self,
        state: &mut State,
        claim: Claim,
        next: Option<(Claim, Told)>,
        wake: Option<u8>,
    ) {
        let Some(worker) = state.process(claim.worker) else {
            return;
        };
        let Some(Known {
            at: At::Settling { next: wanted, .. },
            ..
        }) = worker
            .find(claim, |at| matches!(at, At::Settling { .. }))
            .cloned()
        else {
            return;
        };
        worker.forget(claim);
        match next {
            Some((claim, told)) => self.claimed(state, claim, told),
            None => {
                if let Some(wanted) = wanted {
                    worker.forget(wanted);
                }
            }
        }
        if let Some(thread) = wake {
            self.wake_if_due(state, thread);
        }
    }

    /// A signal arrives.
    pub(crate) fn signalled(&self, state: &mut State, run: u8, claim: Claim, action: CancelAction) {
        let thread = self.script[usize::from(run)].thread;
        let Some(worker) = state.process(claim.worker) else {
            return;
        };
        let blind = self.mutation == Some(Mutation::SignalWithoutClaim);
        for known in &mut worker.known {
            if known.claim != claim && !(blind && known.thread == thread) {
                continue;
            }
            match &mut known.at {
                At::Running(attempt) if attempt.run == run || blind => {
                    attempt.cause = attempt.cause.max(Some(action));
                }
                At::Claiming { kept, .. } | At::Next { kept } => {
                    if kept.is_none_or(|(_, before)| before < action) {
                        *kept = Some((run, action));
                    }
                }
                At::Running(_) | At::Settling { .. } => {}
            }
        }
    }

    /// What `worker` would learn if it renewed now.
    pub(crate) fn needs_renewal(&self, state: &State, worker: &Worker) -> bool {
        if !worker.valid || state.leases[usize::from(worker.id)] != Lease::Alive {
            return true;
        }
        let mut held = held_by(state, worker.id).into_iter();
        held.any(|held| self.news(worker, held))
    }

    /// Whether `held` is news to `worker`.
    fn news(&self, worker: &Worker, held: Held) -> bool {
        let mut same = worker
            .known
            .iter()
            .filter(|known| known.claim == held.claim);
        if same.clone().all(|known| self.overlooks(&known.at)) {
            return !worker.stopping && self.mutation != Some(Mutation::NoReconcile);
        }
        let told = self.mutation != Some(Mutation::RenewalWithoutCancel);
        told && same.any(|known| match &known.at {
            At::Running(attempt) => attempt.cause < held.cancel,
            _ => false,
        })
    }

    /// Whether a renewal takes a claim in flight for an unknown one.
    fn overlooks(&self, at: &At) -> bool {
        let in_flight = matches!(at, At::Claiming { .. } | At::Next { .. });
        in_flight && self.mutation == Some(Mutation::ReconcileForgetsClaims)
    }

    /// A renewal was answered.
    pub(crate) fn renewed(&self, state: &mut State, id: u8, held: Option<Vec<Held>>, late: bool) {
        let Some(process) = state.workers.iter().position(|worker| worker.id == id) else {
            return;
        };
        let Some(held) = held else {
            replace(state, process);
            return;
        };
        let worker = &mut state.workers[process];
        worker.renewing = false;
        worker.valid |= !late;
        let mut calls = Vec::new();
        let before = std::mem::take(&mut worker.unknown);
        for held in held {
            let mut is_known = false;
            for known in worker
                .known
                .iter_mut()
                .filter(|known| known.claim == held.claim)
            {
                is_known |= !self.overlooks(&known.at);
                if let At::Running(attempt) = &mut known.at
                    && attempt.run == held.run
                    && self.mutation != Some(Mutation::RenewalWithoutCancel)
                {
                    attempt.cause = attempt.cause.max(held.cancel);
                }
            }
            if is_known || self.mutation == Some(Mutation::NoReconcile) {
                continue;
            }
            // One renewal may cross with the end of an attempt, so it has to be unknown twice.
            if before.contains(&held.claim) && !worker.stopping {
                let Held { thread, claim, .. } = held;
                let at = At::Claiming {
                    own_slot: false,
                    kept: None,
                };
                worker.known.push(Known { claim, thread, at });
                calls.push(Message::Claim { thread, claim });
            } else {
                worker.unknown.push(held.claim);
            }
        }
        for call in calls {
            state.send(call);
        }
    }

    /// A paused worker goes on. It looks at its clock before it does anything else.
    pub(crate) fn resume(&self, state: &mut State, process: usize) {
        let worker = &mut state.workers[process];
        worker.paused = false;
        if self.mutation == Some(Mutation::ResumeWithoutClock) {
            worker.valid = true;
        }
        if !worker.valid {
            lose_all(worker);
        }
    }

    /// Whether the runs of this thread go on until somebody asks: one executes that has no end.
    pub(crate) fn is_endless(&self, state: &State, thread: usize) -> bool {
        let running = state.workers.iter().flat_map(|worker| {
            let attempts = worker.known.iter().filter_map(|known| match &known.at {
                At::Running(attempt) if usize::from(known.thread) == thread => Some(attempt),
                _ => None,
            });
            attempts.filter(|attempt| worker.executes(**attempt))
        });
        let mut endless = running.filter(|attempt| {
            let run = usize::from(attempt.run);
            let row = &state.runs[run];
            self.script[run].endless
                && row.cancel.is_none()
                && matches!(row.stage, Stage::Stored(_))
        });
        endless.next().is_some()
    }
}

fn lose_all(worker: &mut Worker) {
    for known in &mut worker.known {
        if let At::Running(attempt) = &mut known.at {
            attempt.lost = true;
        }
    }
}

/// Worker `process` takes up a wake-up for `thread`.
pub(crate) fn take_up(state: &mut State, process: usize, thread: u8) {
    state.threads[usize::from(thread)].hints -= 1;
    let worker = &mut state.workers[process];
    let claim = worker.new_claim();
    let at = At::Claiming {
        own_slot: true,
        kept: None,
    };
    worker.known.push(Known { claim, thread, at });
    state.send(Message::Claim { thread, claim });
}

/// Whether `attempt` still has to store its input.
pub(crate) fn must_write(state: &State, attempt: Attempt) -> bool {
    let stored = attempt.wrote || state.runs[usize::from(attempt.run)].wrote;
    !stored && attempt.cause != Some(CancelAction::Rollback)
}

/// The process is gone, and another one stands in its place.
pub(crate) fn replace(state: &mut State, process: usize) {
    let id = u8::try_from(state.leases.len()).expect("few workers");
    state.leases.push(Lease::Alive);
    state.workers[process] = Worker::new(id);
}

/// The lease of a worker runs out by its own clock.
pub(crate) fn pass(state: &mut State, process: usize) {
    let worker = &mut state.workers[process];
    worker.valid = false;
    if !worker.paused {
        lose_all(worker);
    }
}
