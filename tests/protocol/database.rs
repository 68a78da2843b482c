//! The database's side: what each call does, in one step, under its thread's lock.

use runloom_core::admission::{Admission, Origin, Stop, admit, stop};
use runloom_core::run::{CancelAction, MultitaskStrategy, RunStatus, Transition};

use crate::model::{Mutation, Protocol, small};
use crate::state::{
    At, Attempt, Claim, Fence, Held, Holder, Lease, Message, Stage, State, Told, Transit, Wrong,
    run_of,
};

impl Protocol {
    /// A gateway submits `run`.
    pub(crate) fn submit(&self, state: &mut State, run: usize, strategy: MultitaskStrategy) {
        let thread = self.script[run].thread;
        let Admission::Accepted(stops) = admit(strategy, &state.in_flight(self, thread)) else {
            state.runs[run].stage = Stage::Rejected;
            return;
        };
        for (other, stop) in stops {
            self.carry_out(state, run_of(other), stop, true);
        }
        state.runs[run].stage = Stage::Stored(RunStatus::Pending);
        self.wake_if_due(state, thread);
    }

    /// A user cancels `run`, if there is anything to cancel.
    pub(crate) fn cancel(&self, state: &mut State, run: usize, action: CancelAction) -> bool {
        let thread = self.script[run].thread;
        let in_flight = state.in_flight(self, thread);
        let named = in_flight.into_iter().find(|found| run_of(found.id) == run);
        let Some(stop) = named.and_then(|run| stop(run, action, Origin::Cancelled)) else {
            return false;
        };
        self.carry_out(state, run, stop, false);
        self.wake_if_due(state, thread);
        true
    }

    fn carry_out(&self, state: &mut State, run: usize, stop: Stop, superseded: bool) {
        let stop = match stop {
            Stop::Visit if self.mutation == Some(Mutation::NoVisit) => Stop::End,
            stop => stop,
        };
        let row = &mut state.runs[run];
        row.superseded |= superseded;
        let action = match stop {
            Stop::Signal(action) => action,
            Stop::Visit | Stop::End => CancelAction::Interrupt,
            Stop::Discard => CancelAction::Rollback,
        };
        if row.cancel > Some(action) {
            state.wrong = Some(Wrong::WeakerCancel);
        }
        state.runs[run].cancel = Some(action);
        match stop {
            Stop::Visit => {}
            Stop::End => state.apply(run, Transition::Interrupt),
            Stop::Discard => discard(state, run),
            Stop::Signal(action) => {
                let holder = state.threads[usize::from(self.script[run].thread)].holder;
                if let Some(holder) = holder.filter(|holder| usize::from(holder.run) == run) {
                    let (run, claim) = (holder.run, holder.fence.claim);
                    state.send(Message::Signal { run, claim, action });
                }
            }
        }
    }

    /// Says that a thread has work, if it has.
    pub(crate) fn wake_if_due(&self, state: &mut State, thread: u8) {
        let due = state.due(self, thread).is_some();
        let row = &mut state.threads[usize::from(thread)];
        if row.holder.is_none() && due {
            row.hints = row.hints.max(1);
        }
    }

    /// A claim arrives. Whether the worker is alive may be read before it changes (`blind`).
    pub(crate) fn claim(&self, state: &mut State, thread: u8, claim: Claim, blind: bool) {
        if let Some(holder) = state.threads[usize::from(thread)].holder {
            if holder.fence.claim == claim {
                let told = tell(state, holder);
                state.send(Message::Claimed { claim, told });
            } else {
                refuse(state, claim);
            }
            return;
        }
        let alive = blind || state.leases[usize::from(claim.worker)] == Lease::Alive;
        let Some(run) = state.due(self, thread).filter(|_| alive) else {
            refuse(state, claim);
            return;
        };
        let run = small(run);
        if self.mutation == Some(Mutation::ClaimWithoutLock) {
            state.send(Message::ClaimFound { thread, claim, run });
            return;
        }
        let told = take(state, thread, claim, run);
        state.send(Message::Claimed { claim, told });
    }

    /// A checkpoint arrives.
    pub(crate) fn write(&self, state: &mut State, thread: u8, fence: Fence, run: u8) {
        let row = &state.threads[usize::from(thread)];
        let holds = row.holder == Some(Holder { run, fence });
        if !holds && self.mutation != Some(Mutation::NoFence) {
            lose(state, fence.claim);
            return;
        }
        if !holds {
            state.wrong = Some(Wrong::StaleWrite);
        }
        state.runs[usize::from(run)].wrote = true;
        accept(state, fence.claim);
    }

    /// A settlement arrives.
    pub(crate) fn settle(
        &self,
        state: &mut State,
        (thread, run): (u8, u8),
        fence: Fence,
        transit: Transit,
        next: Option<Claim>,
    ) {
        let row = &state.threads[usize::from(thread)];
        let claim = fence.claim;
        let holds = row.holder == Some(Holder { run, fence });
        if row.settled.contains(&claim) && !holds {
            let adopted = row.holder.filter(|holder| Some(holder.fence.claim) == next);
            let next = adopted.map(|holder| (holder.fence.claim, tell(state, holder)));
            self.answer(state, thread, claim, next);
            return;
        }
        if !holds && self.mutation != Some(Mutation::NoFence) {
            refuse_settlement(state, claim, next);
            return;
        }
        state.threads[usize::from(thread)].holder = None;
        leave(state, usize::from(run), transit);
        state.threads[usize::from(thread)].settled.push(claim);
        let alive = state.leases[usize::from(claim.worker)] == Lease::Alive;
        let due = state.due(self, thread).filter(|_| alive);
        let next = next.zip(due).map(|(claim, run)| {
            let told = take(state, thread, claim, small(run));
            (claim, told)
        });
        self.answer(state, thread, claim, next);
    }

    fn answer(&self, state: &mut State, thread: u8, claim: Claim, next: Option<(Claim, Told)>) {
        let free = state.threads[usize::from(thread)].holder.is_none();
        let wake = free && state.due(self, thread).is_some();
        state.send(Message::Settled {
            thread,
            claim,
            next,
            wake,
        });
    }

    /// Somebody sweeps: the leases that are over end for good, and what their workers held is freed.
    pub(crate) fn sweep(&self, state: &mut State) {
        let found: Vec<usize> = (0..state.leases.len())
            .filter(|id| state.leases[*id] == Lease::Expired)
            .collect();
        for id in &found {
            state.leases[*id] = Lease::Dead;
        }
        for thread in 0..state.threads.len() {
            let Some(holder) = state.threads[thread].holder else {
                continue;
            };
            let id = usize::from(holder.fence.claim.worker);
            let edge = self.mutation == Some(Mutation::EdgeTriggeredSweep);
            if state.leases[id] == Lease::Dead && (!edge || found.contains(&id)) {
                state.threads[thread].holder = None;
                self.reap(state, usize::from(holder.run));
                self.wake_if_due(state, small(thread));
            }
        }
    }

    fn reap(&self, state: &mut State, run: usize) {
        let row = &state.runs[run];
        let left = row.attempt - row.handed_back < self.max_attempts;
        match row.cancel {
            Some(CancelAction::Rollback) => discard(state, run),
            _ if left => state.apply(run, Transition::Release),
            Some(CancelAction::Interrupt) => state.apply(run, Transition::Interrupt),
            None => state.apply(run, Transition::Fail),
        }
    }
}

/// The second half of a claim without a lock.
pub(crate) fn claim_found(state: &mut State, thread: u8, claim: Claim, run: u8) {
    let told = take(state, thread, claim, run);
    state.send(Message::Claimed { claim, told });
}

fn take(state: &mut State, thread: u8, claim: Claim, run: u8) -> Told {
    state.apply(usize::from(run), Transition::Claim);
    state.runs[usize::from(run)].attempt += 1;
    let row = &mut state.threads[usize::from(thread)];
    row.epoch += 1;
    let epoch = row.epoch;
    let fence = Fence { epoch, claim };
    let holder = Holder { run, fence };
    row.holder = Some(holder);
    tell(state, holder)
}

/// A renewal arrives.
pub(crate) fn renew(state: &mut State, worker: u8) {
    let lease = &mut state.leases[usize::from(worker)];
    let is_dead = *lease == Lease::Dead;
    if !is_dead {
        *lease = Lease::Alive;
    }
    let held = (!is_dead).then(|| held_by(state, worker));
    let late = false;
    state.send(Message::Renewed { worker, held, late });
}

/// What the database says that `worker` holds.
pub(crate) fn held_by(state: &State, worker: u8) -> Vec<Held> {
    let mut held = Vec::new();
    for (thread, row) in state.threads.iter().enumerate() {
        let holder = row
            .holder
            .filter(|holder| holder.fence.claim.worker == worker);
        held.extend(holder.map(|holder| Held {
            thread: small(thread),
            run: holder.run,
            claim: holder.fence.claim,
            cancel: state.runs[usize::from(holder.run)].cancel,
        }));
    }
    held
}

fn tell(state: &State, holder: Holder) -> Told {
    let row = &state.runs[usize::from(holder.run)];
    Told {
        run: holder.run,
        epoch: holder.fence.epoch,
        attempt: row.attempt,
        cancel: row.cancel,
        superseded: row.superseded,
    }
}

fn leave(state: &mut State, run: usize, transit: Transit) {
    if state.runs[run].cancel == Some(CancelAction::Rollback) {
        discard(state, run);
        return;
    }
    match transit {
        Transit::Succeed => state.apply(run, Transition::Succeed),
        Transit::Interrupt => state.apply(run, Transition::Interrupt),
        Transit::HandBack => {
            state.runs[run].handed_back += 1;
            state.apply(run, Transition::Release);
        }
    }
}

/// Deletes a run with what it wrote.
fn discard(state: &mut State, run: usize) {
    state.runs[run].stage = Stage::Discarded;
    state.runs[run].wrote = false;
}

/// A claim found nothing. That answer changes nothing but a slot, so it is there at once.
fn refuse(state: &mut State, claim: Claim) {
    if let Some(worker) = state.process(claim.worker) {
        let place = worker
            .known
            .iter()
            .position(|known| known.claim == claim && matches!(known.at, At::Claiming { .. }));
        place.map(|place| worker.known.remove(place));
    }
}

/// A settlement came too late. The worker gives up both claims.
fn refuse_settlement(state: &mut State, claim: Claim, next: Option<Claim>) {
    let Some(worker) = state.process(claim.worker) else {
        return;
    };
    // Whoever had another answer meanwhile does not hear this one.
    let waits = worker.find(claim, |at| matches!(at, At::Settling { .. }));
    if waits.is_some() {
        worker.forget(claim);
        if let Some(next) = next {
            worker.forget(next);
        }
    }
}

/// A write was refused: the attempt has lost its thread.
fn lose(state: &mut State, claim: Claim) {
    with_attempt(state, claim, |attempt| attempt.lost = true);
}

/// A write was accepted.
fn accept(state: &mut State, claim: Claim) {
    with_attempt(state, claim, |attempt| attempt.wrote = true);
}

fn with_attempt(state: &mut State, claim: Claim, change: impl Fn(&mut Attempt)) {
    let Some(worker) = state.process(claim.worker) else {
        return;
    };
    let found = worker.find(claim, |at| matches!(at, At::Running(_)));
    if let Some(At::Running(attempt)) = found.map(|known| &mut known.at) {
        change(attempt);
    }
}
