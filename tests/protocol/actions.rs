//! What can happen next: what the system does by itself, what users do, and what goes wrong.

use runloom_core::run::CancelAction;
use stateright::Model;

use crate::model::{Action, Mutation, Protocol, small};
use crate::state::{At, Attempt, Claim, Lease, Message, Stage, State, Thread, Work, Worker};
use crate::worker::must_write;

impl Protocol {
    /// What the system does by itself, without any further fault or wish.
    pub(crate) fn progress(&self, state: &State, actions: &mut Vec<Action>) {
        for (process, worker) in state.workers.iter().enumerate() {
            let process = small(process);
            if worker.paused {
                actions.push(Action::Resume(process));
            } else {
                self.steps(state, process, worker, actions);
            }
        }
        for (place, message) in state.net.iter().enumerate() {
            if !is_heard(state, message) {
                continue;
            }
            actions.push(Action::Arrive(small(place)));
            if let Message::Claim { claim, .. } = message
                && state.leases[usize::from(claim.worker)] != Lease::Alive
            {
                actions.push(Action::ArriveStale(small(place)));
            }
        }
        let has_process = |worker: u8| state.workers.iter().find(|process| process.id == worker);
        for (worker, lease) in state.leases.iter().enumerate() {
            let worker = small(worker);
            let over = has_process(worker).is_none_or(|process| !process.valid);
            if *lease == Lease::Alive && over {
                actions.push(Action::Expire { worker });
            }
        }
        if self.has_to_sweep(state) {
            actions.push(Action::Sweep);
        }
        if self.mutation != Some(Mutation::NoRehint) {
            for thread in 0..self.threads {
                let row = &state.threads[usize::from(thread)];
                let waits = row.holder.is_none() && state.due(self, thread).is_some();
                let claims = |message: &Message| match message {
                    Message::Claim { thread: of, .. } => *of == thread,
                    _ => false,
                };
                if waits && row.hints == 0 && !state.net.iter().any(claims) {
                    actions.push(Action::Rehint { thread });
                }
            }
        }
    }

    /// Where the system comes to from here if nothing goes wrong and everybody is quick; none if it
    /// never rests.
    pub(crate) fn left_alone(&self, state: &State) -> Option<State> {
        const LONG: usize = 300;
        let mut state = state.clone();
        for _ in 0..LONG {
            let mut actions = Vec::new();
            self.progress(&state, &mut actions);
            if actions.is_empty() {
                return Some(state);
            }
            let quick = actions.iter().find(|action| match action {
                Action::ArriveStale(_) | Action::GiveUp { .. } => false,
                // A worker that lives renews in time.
                Action::Expire { worker } => {
                    state.workers.iter().all(|process| process.id != *worker)
                }
                _ => true,
            });
            state = self.next_state(&state, *quick?)?;
        }
        None
    }

    fn has_to_sweep(&self, state: &State) -> bool {
        let expired = state.leases.contains(&Lease::Expired);
        let dead = |thread: &Thread| {
            let holder = thread
                .holder
                .map(|holder| usize::from(holder.fence.claim.worker));
            holder.is_some_and(|worker| state.leases[worker] == Lease::Dead)
        };
        let edge = self.mutation == Some(Mutation::EdgeTriggeredSweep);
        expired || (!edge && state.threads.iter().any(dead))
    }

    /// What one worker does by itself.
    fn steps(&self, state: &State, process: u8, worker: &Worker, actions: &mut Vec<Action>) {
        for known in &worker.known {
            let claim = known.claim;
            match &known.at {
                At::Claiming { .. } if !state.is_under_way(claim) => {
                    actions.push(Action::Repeat { process, claim });
                    actions.push(Action::GiveUp { process, claim });
                }
                At::Settling { .. } if !state.is_under_way(claim) => {
                    actions.push(Action::Repeat { process, claim });
                }
                At::Running(attempt) => {
                    let ends = self.ends(state, worker, *attempt).into_iter();
                    actions.extend(ends.map(|transit| Action::End {
                        process,
                        claim,
                        transit,
                    }));
                    if may_write(state, worker, known.claim, *attempt, 0) {
                        actions.push(Action::Write { process, claim });
                    }
                }
                _ => {}
            }
        }
        if worker.stopping {
            if worker.known.is_empty() {
                actions.push(Action::Leave(process));
            }
        } else if worker.valid && worker.free_slots(self.slots) > 0 {
            for thread in 0..self.threads {
                if state.threads[usize::from(thread)].hints > 0 {
                    actions.push(Action::TakeUp { process, thread });
                }
            }
        }
        if !worker.renewing && self.needs_renewal(state, worker) {
            actions.push(Action::Renew(process));
        }
    }

    /// What users do, and what goes wrong.
    pub(crate) fn trouble(&self, state: &State, actions: &mut Vec<Action>) {
        let left = &state.left;
        if let Some(run) = state
            .runs
            .iter()
            .position(|row| row.stage == Stage::Unheard)
        {
            let strategies = self.script[run].strategies.iter();
            actions.extend(strategies.map(|strategy| Action::Submit(small(run), *strategy)));
        }
        if left.cancels > 0 {
            for run in 0..small(state.runs.len()) {
                for action in [CancelAction::Interrupt, CancelAction::Rollback] {
                    actions.push(Action::Cancel(run, action));
                }
            }
        }
        for (process, worker) in state.workers.iter().enumerate() {
            self.faults(state, small(process), worker, actions);
        }
        if left.lost > 0 {
            actions.extend((0..small(state.net.len())).map(Action::Lose));
        }
        for thread in 0..self.threads {
            let hints = state.threads[usize::from(thread)].hints;
            if hints > 0 && left.lost > 0 {
                actions.push(Action::Forget { thread });
            }
            if hints == 1 && left.doubled > 0 {
                actions.push(Action::Double { thread });
            }
        }
        if left.restarts > 0 && state.net.iter().any(Message::needs_database) {
            actions.push(Action::Restart);
        }
    }

    fn faults(&self, state: &State, process: u8, worker: &Worker, actions: &mut Vec<Action>) {
        let left = &state.left;
        if left.crashes > 0 {
            actions.push(Action::Crash(process));
        }
        if worker.valid && (worker.paused || left.lapses > 0) {
            actions.push(Action::Pass(process));
        }
        if worker.paused {
            return;
        }
        if left.pauses > 0 {
            actions.push(Action::Pause(process));
        }
        if left.drains > 0 && !worker.stopping {
            actions.push(Action::Drain(process));
        }
        if left.beats > 0 && !worker.renewing && !self.needs_renewal(state, worker) {
            actions.push(Action::Renew(process));
        }
        for known in &worker.known {
            let claim = known.claim;
            match &known.at {
                At::Claiming { .. } if left.hasty > 0 && state.is_under_way(claim) => {
                    actions.push(Action::Repeat { process, claim });
                    actions.push(Action::GiveUp { process, claim });
                }
                At::Settling { .. } if left.hasty > 0 && state.is_under_way(claim) => {
                    actions.push(Action::Repeat { process, claim });
                }
                At::Running(attempt)
                    if !may_write(state, worker, claim, *attempt, 0)
                        && may_write(state, worker, claim, *attempt, left.writes) =>
                {
                    actions.push(Action::Write { process, claim });
                }
                _ => {}
            }
        }
    }
}

/// Whether whoever `message` is for can take it now.
fn is_heard(state: &State, message: &Message) -> bool {
    let to = match message {
        Message::Claimed { claim, .. }
        | Message::Settled { claim, .. }
        | Message::Signal { claim, .. } => claim.worker,
        Message::Renewed { worker, .. } => *worker,
        _ => return true,
    };
    let mut workers = state.workers.iter();
    workers.any(|worker| worker.id == to && !worker.paused)
}

/// Whether an attempt may write its input, or `more` than that.
fn may_write(state: &State, worker: &Worker, claim: Claim, attempt: Attempt, more: u8) -> bool {
    let writing = |message: &Message| match message {
        Message::Write { fence, .. } => fence.claim == claim,
        _ => false,
    };
    let wants = must_write(state, attempt) || (more > 0 && attempt.work == Work::Execute);
    worker.executes(attempt) && wants && !state.net.iter().any(writing)
}
