//! The protocol as a model: what it is made of, and what comes of each thing that happens.

use runloom_core::run::{CancelAction, MultitaskStrategy};
use stateright::{Model, Property};

use crate::database::{claim_found, renew};
use crate::properties;
use crate::state::{
    At, Budget, Claim, Fence, Lease, Message, Row, Stage, State, Thread, Transit, Worker,
};
use crate::worker::{must_write, pass, replace, take_up};

/// A run that will be submitted.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) thread: u8,
    /// The strategies that it may come with.
    pub(crate) strategies: &'static [MultitaskStrategy],
    /// Whether it brings an input that must not be lost.
    pub(crate) input: bool,
    /// Whether it ends only when it is asked to, so that a lost interrupt can be seen.
    pub(crate) endless: bool,
}

/// One rule of the protocol left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Writes and settlements are taken from anybody.
    NoFence,
    /// A renewal takes a claim whose answer is on its way for one that was forgotten.
    ReconcileForgetsClaims,
    /// A worker that was paused does not look at its clock.
    ResumeWithoutClock,
    /// A signal stops whatever the worker executes on the thread.
    SignalWithoutClaim,
    /// Nobody looks for runs that wait.
    NoRehint,
    /// The sweep frees what a worker held in the moment its lease ended, not later.
    EdgeTriggeredSweep,
    /// A renewal does not say who is to stop.
    RenewalWithoutCancel,
    /// Between what a claim reads and what it writes others may come.
    ClaimWithoutLock,
    /// A renewal says nothing of claims that its worker does not know.
    NoReconcile,
    /// A run that is superseded before its turn ends at once, its input with it.
    NoVisit,
}

/// What a search looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Question {
    /// A moment in which an invariant does not hold.
    #[default]
    Invariants,
    /// A moment from which the system, left alone, does not come to rest.
    Rest,
    /// A moment for each thing that the model must know to be worth anything.
    Sightings,
}

/// The protocol, for one plan.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    pub(crate) script: Vec<Planned>,
    pub(crate) threads: u8,
    pub(crate) processes: u8,
    pub(crate) slots: u8,
    /// Whether a settlement claims the next run of its thread.
    pub(crate) claims_next: bool,
    pub(crate) max_attempts: u8,
    pub(crate) budget: Budget,
    pub(crate) mutation: Option<Mutation>,
    /// What is looked for.
    pub(crate) question: Question,
}

/// Something that happens. Processes and messages are named by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Submit(u8, MultitaskStrategy),
    Cancel(u8, CancelAction),
    TakeUp {
        process: u8,
        thread: u8,
    },
    Arrive(u8),
    /// A claim arrives that still sees its worker alive.
    ArriveStale(u8),
    Lose(u8),
    /// A wake-up is lost.
    Forget {
        thread: u8,
    },
    Double {
        thread: u8,
    },
    Repeat {
        process: u8,
        claim: Claim,
    },
    GiveUp {
        process: u8,
        claim: Claim,
    },
    Write {
        process: u8,
        claim: Claim,
    },
    End {
        process: u8,
        claim: Claim,
        transit: Transit,
    },
    Renew(u8),
    /// By its own clock.
    Pass(u8),
    /// By the database's clock.
    Expire {
        worker: u8,
    },
    Sweep,
    Rehint {
        thread: u8,
    },
    Crash(u8),
    Pause(u8),
    Resume(u8),
    Drain(u8),
    /// The process has handed back everything and says that it goes.
    Leave(u8),
    Restart,
}

pub(crate) fn small(number: usize) -> u8 {
    u8::try_from(number).expect("a small number")
}

/// Takes one from a budget, if there is any left.
fn spend(left: &mut u8) -> Option<()> {
    *left = left.checked_sub(1)?;
    Some(())
}

impl Protocol {
    fn arrive(&self, state: &mut State, place: u8, blind: bool) {
        match state.net.remove(usize::from(place)) {
            Message::Claim { thread, claim } => self.claim(state, thread, claim, blind),
            Message::ClaimFound { thread, claim, run } => {
                claim_found(state, thread, claim, run);
            }
            Message::Claimed { claim, told } => self.claimed(state, claim, told),
            Message::Write { thread, fence, run } => self.write(state, thread, fence, run),
            Message::Settle {
                thread,
                fence,
                run,
                transit,
                next,
            } => {
                self.settle(state, (thread, run), fence, transit, next);
            }
            Message::Settled {
                thread,
                claim,
                next,
                wake,
            } => {
                self.settled(state, claim, next, wake.then_some(thread));
            }
            Message::Renew { worker } => renew(state, worker),
            Message::Renewed { worker, held, late } => self.renewed(state, worker, held, late),
            Message::Signal { run, claim, action } => self.signalled(state, run, claim, action),
        }
    }

    /// What happens to a process as a whole.
    fn happen(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Renew(process) => {
                let worker = state.workers[usize::from(process)].clone();
                if !self.needs_renewal(state, &worker) {
                    spend(&mut state.left.beats)?;
                }
                state.workers[usize::from(process)].renewing = true;
                state.send(Message::Renew { worker: worker.id });
            }
            Action::Pass(process) => {
                if !state.workers[usize::from(process)].paused {
                    spend(&mut state.left.lapses)?;
                }
                pass(state, usize::from(process));
            }
            Action::Crash(process) => {
                spend(&mut state.left.crashes)?;
                replace(state, usize::from(process));
            }
            Action::Pause(process) => {
                spend(&mut state.left.pauses)?;
                state.workers[usize::from(process)].paused = true;
            }
            Action::Resume(process) => self.resume(state, usize::from(process)),
            Action::Drain(process) => {
                spend(&mut state.left.drains)?;
                state.workers[usize::from(process)].stopping = true;
            }
            Action::Leave(process) => {
                let id = state.workers[usize::from(process)].id;
                state.leases[usize::from(id)] = Lease::Dead;
                replace(state, usize::from(process));
            }
            _ => return None,
        }
        Some(())
    }
}

fn repeat(state: &mut State, process: u8, claim: Claim) -> Option<()> {
    if state.is_under_way(claim) {
        spend(&mut state.left.hasty)?;
    }
    let known = state.workers[usize::from(process)].known.iter();
    let known = known.filter(|known| known.claim == claim);
    let mut again = known.rev().filter_map(|known| match known.at {
        At::Claiming { .. } => Some(Message::Claim {
            thread: known.thread,
            claim,
        }),
        At::Settling {
            run,
            epoch,
            transit,
            next,
        } => Some(Message::Settle {
            thread: known.thread,
            fence: Fence { epoch, claim },
            run,
            transit,
            next,
        }),
        _ => None,
    });
    let again = again.next()?;
    state.send(again);
    Some(())
}

/// The lease of `worker` ends by the database's clock: whatever it renews it with is too late.
fn expire(state: &mut State, worker: u8) {
    state.leases[usize::from(worker)] = Lease::Expired;
    for message in &mut state.net {
        if let Message::Renewed {
            worker: to, late, ..
        } = message
        {
            *late |= *to == worker;
        }
    }
    state.net.sort_unstable();
}

fn restart(state: &mut State) -> Option<()> {
    spend(&mut state.left.restarts)?;
    state.net.retain(|message| !message.needs_database());
    for worker in &mut state.workers {
        worker.renewing = false;
    }
    Some(())
}

fn lose(state: &mut State, place: u8) -> Option<()> {
    spend(&mut state.left.lost)?;
    match state.net.remove(usize::from(place)) {
        Message::Renew { worker } | Message::Renewed { worker, .. } => {
            state.process(worker)?.renewing = false;
        }
        _ => {}
    }
    Some(())
}

fn send_write(state: &mut State, process: u8, claim: Claim) -> Option<()> {
    let worker = &mut state.workers[usize::from(process)];
    let known = worker
        .find(claim, |at| matches!(at, At::Running(_)))?
        .clone();
    let At::Running(attempt) = known.at else {
        return None;
    };
    if !must_write(state, attempt) {
        spend(&mut state.left.writes)?;
    }
    let fence = Fence {
        epoch: attempt.epoch,
        claim,
    };
    let (thread, run) = (known.thread, attempt.run);
    state.send(Message::Write { thread, fence, run });
    Some(())
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let row = Row {
            stage: Stage::Unheard,
            attempt: 0,
            handed_back: 0,
            cancel: None,
            superseded: false,
            wrote: false,
        };
        vec![State {
            threads: vec![Thread::default(); usize::from(self.threads)],
            runs: vec![row; self.script.len()],
            leases: vec![Lease::Alive; usize::from(self.processes)],
            workers: (0..self.processes).map(Worker::new).collect(),
            net: Vec::new(),
            left: self.budget,
            wrong: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.progress(state, actions);
        self.trouble(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Submit(run, strategy) => self.submit(&mut state, usize::from(run), strategy),
            Action::Cancel(run, action) => {
                spend(&mut state.left.cancels)?;
                self.cancel(&mut state, usize::from(run), action)
                    .then_some(())?;
            }
            Action::TakeUp { process, thread } => {
                take_up(&mut state, usize::from(process), thread);
            }
            Action::Arrive(place) => self.arrive(&mut state, place, false),
            Action::ArriveStale(place) => self.arrive(&mut state, place, true),
            Action::Lose(place) => lose(&mut state, place)?,
            Action::Forget { thread } => {
                spend(&mut state.left.lost)?;
                state.threads[usize::from(thread)].hints -= 1;
            }
            Action::Double { thread } => {
                spend(&mut state.left.doubled)?;
                state.threads[usize::from(thread)].hints += 1;
            }
            Action::Repeat { process, claim } => repeat(&mut state, process, claim)?,
            Action::GiveUp { process, claim } => {
                if state.is_under_way(claim) {
                    spend(&mut state.left.hasty)?;
                }
                state.workers[usize::from(process)].forget(claim);
            }
            Action::Write { process, claim } => send_write(&mut state, process, claim)?,
            Action::End {
                process,
                claim,
                transit,
            } => {
                self.end(&mut state, usize::from(process), claim, transit);
            }
            Action::Expire { worker } => expire(&mut state, worker),
            Action::Sweep => self.sweep(&mut state),
            Action::Rehint { thread } => self.wake_if_due(&mut state, thread),
            Action::Restart => restart(&mut state)?,
            other => self.happen(&mut state, other)?,
        }
        state.tidy();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self.question)
    }
}
