//! Everything that the protocol depends on, as small as it can be: the database, the workers, and
//! what is on its way between them. There is no time, only the order in which things happen.

use runloom_core::admission::InFlight;
use runloom_core::run::{CancelAction, RunStatus, Transition};
use uuid::Uuid;

use crate::model::Protocol;

/// A nonce made by a worker: the worker and how many it had made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Claim {
    pub(crate) worker: u8,
    pub(crate) n: u8,
}

/// What a write must present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fence {
    pub(crate) epoch: u8,
    pub(crate) claim: Claim,
}

/// The attempt that holds a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Holder {
    pub(crate) run: u8,
    pub(crate) fence: Fence,
}

/// A thread in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Thread {
    pub(crate) epoch: u8,
    pub(crate) holder: Option<Holder>,
    /// Claims whose settlement may be repeated.
    pub(crate) settled: Vec<Claim>,
    /// Wake-ups on their way.
    pub(crate) hints: u8,
}

/// What is known of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Unheard,
    Rejected,
    Discarded,
    Stored(RunStatus),
}

/// A run in the database. The order of acceptance is that of their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) stage: Stage,
    pub(crate) attempt: u8,
    pub(crate) handed_back: u8,
    pub(crate) cancel: Option<CancelAction>,
    pub(crate) superseded: bool,
    /// Whether a checkpoint of it is on the thread; the first one brings its input.
    pub(crate) wrote: bool,
}

/// A worker's lease in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lease {
    Alive,
    /// Over, but nobody has looked.
    Expired,
    /// Ended for good.
    Dead,
}

/// A worker process as it is now. A new incarnation is another worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Worker {
    pub(crate) id: u8,
    pub(crate) paused: bool,
    pub(crate) stopping: bool,
    /// Whether its lease is good by its own clock.
    pub(crate) valid: bool,
    pub(crate) renewing: bool,
    /// Claims that the last renewal found and that it did not know.
    pub(crate) unknown: Vec<Claim>,
    pub(crate) made: u8,
    pub(crate) known: Vec<Known>,
}

/// A claim that a worker knows of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Known {
    pub(crate) claim: Claim,
    pub(crate) thread: u8,
    pub(crate) at: At,
}

/// How far a claim is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum At {
    /// Not answered. A signal that came before is kept.
    Claiming {
        own_slot: bool,
        kept: Option<(u8, CancelAction)>,
    },
    /// To be claimed with the settlement of another one.
    Next {
        kept: Option<(u8, CancelAction)>,
    },
    Running(Attempt),
    Settling {
        run: u8,
        epoch: u8,
        transit: Transit,
        next: Option<Claim>,
    },
}

/// An attempt under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Attempt {
    pub(crate) run: u8,
    pub(crate) epoch: u8,
    pub(crate) work: Work,
    /// How it was asked to stop.
    pub(crate) cause: Option<CancelAction>,
    /// Whether the lease ran out since it began.
    pub(crate) lost: bool,
    /// Whether a write of it was accepted.
    pub(crate) wrote: bool,
}

/// What a claimed run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Work {
    Execute,
    /// Only apply the input.
    Visit,
    Mend,
    Discard,
}

/// Where an attempt leaves its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Transit {
    Succeed,
    Interrupt,
    HandBack,
}

/// What a claimer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Told {
    pub(crate) run: u8,
    pub(crate) epoch: u8,
    pub(crate) attempt: u8,
    pub(crate) cancel: Option<CancelAction>,
    pub(crate) superseded: bool,
}

/// An attempt as a renewal tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Held {
    pub(crate) thread: u8,
    pub(crate) run: u8,
    pub(crate) claim: Claim,
    pub(crate) cancel: Option<CancelAction>,
}

/// Something on its way: any of these may take for ever, and overtake any other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    Claim {
        thread: u8,
        claim: Claim,
    },
    /// The second half of a claim that takes no lock.
    ClaimFound {
        thread: u8,
        claim: Claim,
        run: u8,
    },
    Claimed {
        claim: Claim,
        told: Told,
    },
    Write {
        thread: u8,
        fence: Fence,
        run: u8,
    },
    Settle {
        thread: u8,
        fence: Fence,
        run: u8,
        transit: Transit,
        next: Option<Claim>,
    },
    Settled {
        thread: u8,
        claim: Claim,
        next: Option<(Claim, Told)>,
        wake: bool,
    },
    Renew {
        worker: u8,
    },
    /// `held` is none if the lease was ended for good. `late`: the renewed lease is over again.
    Renewed {
        worker: u8,
        held: Option<Vec<Held>>,
        late: bool,
    },
    Signal {
        run: u8,
        claim: Claim,
        action: CancelAction,
    },
}

impl Message {
    /// Whether it is between a worker and the database, and not a hint.
    pub(crate) fn needs_database(&self) -> bool {
        !matches!(self, Self::Signal { .. })
    }

    /// The claim that waits for it.
    pub(crate) fn concerns(&self) -> Option<Claim> {
        match self {
            Self::Claim { claim, .. }
            | Self::ClaimFound { claim, .. }
            | Self::Claimed { claim, .. }
            | Self::Settled { claim, .. } => Some(*claim),
            Self::Settle { fence, .. } => Some(fence.claim),
            _ => None,
        }
    }
}

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// A process ends without a word, and another one starts in its place.
    pub(crate) crashes: u8,
    /// A process stands still for a while; its lease may run out meanwhile.
    pub(crate) pauses: u8,
    /// A lease runs out although its worker lives: the database was out of its reach.
    pub(crate) lapses: u8,
    /// A process is asked to end in order.
    pub(crate) drains: u8,
    /// A message is lost: a hint, a call or an answer.
    pub(crate) lost: u8,
    /// A wake-up comes twice.
    pub(crate) doubled: u8,
    /// A call is repeated or given up while it is still under way.
    pub(crate) hasty: u8,
    /// A renewal when it has nothing to tell.
    pub(crate) beats: u8,
    /// The database restarts: every call under way is lost.
    pub(crate) restarts: u8,
    /// An attempt writes more than its input.
    pub(crate) writes: u8,
    /// A user cancels a run.
    pub(crate) cancels: u8,
}

impl Budget {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            crashes: self.crashes + other.crashes,
            pauses: self.pauses + other.pauses,
            lapses: self.lapses + other.lapses,
            drains: self.drains + other.drains,
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            hasty: self.hasty + other.hasty,
            beats: self.beats + other.beats,
            restarts: self.restarts + other.restarts,
            writes: self.writes + other.writes,
            cancels: self.cancels + other.cancels,
        }
    }
}

/// Something that must never happen, where it left no other trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
    /// A write of an attempt was accepted after it had lost its thread.
    StaleWrite,
    /// A run changed its status in a way that the rules do not know.
    IllegalTransition,
    /// A request to stop was weakened.
    WeakerCancel,
}

/// One moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) threads: Vec<Thread>,
    pub(crate) runs: Vec<Row>,
    /// By worker.
    pub(crate) leases: Vec<Lease>,
    /// By process.
    pub(crate) workers: Vec<Worker>,
    pub(crate) net: Vec<Message>,
    pub(crate) left: Budget,
    pub(crate) wrong: Option<Wrong>,
}

impl Worker {
    pub(crate) fn new(id: u8) -> Self {
        Self {
            id,
            paused: false,
            stopping: false,
            valid: true,
            renewing: false,
            unknown: Vec::new(),
            made: 0,
            known: Vec::new(),
        }
    }

    pub(crate) fn new_claim(&mut self) -> Claim {
        self.made += 1;
        Claim {
            worker: self.id,
            n: self.made,
        }
    }

    /// The first claim of this name that `is` so.
    pub(crate) fn find(&mut self, claim: Claim, is: impl Fn(&At) -> bool) -> Option<&mut Known> {
        let mut known = self.known.iter_mut();
        known.find(|known| known.claim == claim && is(&known.at))
    }

    pub(crate) fn forget(&mut self, claim: Claim) {
        self.known.retain(|known| known.claim != claim);
    }

    /// How many runs it may still take up.
    pub(crate) fn free_slots(&self, slots: u8) -> usize {
        let own = |known: &&Known| {
            !matches!(
                known.at,
                At::Next { .. }
                    | At::Claiming {
                        own_slot: false,
                        ..
                    }
            )
        };
        usize::from(slots).saturating_sub(self.known.iter().filter(own).count())
    }

    /// Whether code of `attempt` may execute now.
    pub(crate) fn executes(&self, attempt: Attempt) -> bool {
        let code = matches!(attempt.work, Work::Execute | Work::Visit);
        code && !self.paused && self.valid && !attempt.lost
    }
}

/// The id of a run for the rules of the core, which compare ids and do nothing else with them.
fn id_of(run: usize) -> runloom_core::ids::RunId {
    Uuid::from_u128(run as u128).into()
}

/// The run with this id.
pub(crate) fn run_of(id: runloom_core::ids::RunId) -> usize {
    usize::try_from(id.0.as_u128()).expect("a small number")
}

impl State {
    pub(crate) fn send(&mut self, message: Message) {
        let place = self.net.partition_point(|other| *other <= message);
        self.net.insert(place, message);
    }

    /// The living process of worker `id`.
    pub(crate) fn process(&mut self, id: u8) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.id == id)
    }

    /// The runs in flight on `thread`, for the rules of admission.
    pub(crate) fn in_flight(&self, model: &Protocol, thread: u8) -> Vec<InFlight> {
        let mut found = Vec::new();
        for (run, row) in self.runs.iter().enumerate() {
            let planned = &model.script[run];
            let Stage::Stored(status) = row.stage else {
                continue;
            };
            if planned.thread != thread || status.is_terminal() {
                continue;
            }
            found.push(InFlight {
                id: id_of(run),
                running: status == RunStatus::Running,
                started: row.attempt > 0,
                has_input: planned.input,
                cancel: row.cancel,
            });
        }
        found
    }

    /// The run of `thread` that is to be claimed next.
    pub(crate) fn due(&self, model: &Protocol, thread: u8) -> Option<usize> {
        let pending = Stage::Stored(RunStatus::Pending);
        (0..self.runs.len())
            .find(|run| model.script[*run].thread == thread && self.runs[*run].stage == pending)
    }

    /// Changes a run's status as the core allows.
    pub(crate) fn apply(&mut self, run: usize, transition: Transition) {
        let after = match self.runs[run].stage {
            Stage::Stored(status) => status.after(transition).ok(),
            _ => None,
        };
        match after {
            Some(status) => self.runs[run].stage = Stage::Stored(status),
            None => self.wrong = Some(Wrong::IllegalTransition),
        }
    }

    /// Whether anything under way concerns `claim`.
    pub(crate) fn is_under_way(&self, claim: Claim) -> bool {
        self.net
            .iter()
            .any(|message| message.concerns() == Some(claim))
    }

    /// Drops what can make no difference any more, so that equal moments are equal values.
    pub(crate) fn tidy(&mut self) {
        let living: Vec<u8> = self.workers.iter().map(|worker| worker.id).collect();
        self.net.retain(|message| match message {
            Message::Claimed { claim, .. }
            | Message::Settled { claim, .. }
            | Message::Signal { claim, .. } => living.contains(&claim.worker),
            Message::Renew { worker } | Message::Renewed { worker, .. } => living.contains(worker),
            _ => true,
        });
        for worker in &mut self.workers {
            worker.known.sort_unstable();
        }
        for thread in 0..self.threads.len() {
            let mut settled = std::mem::take(&mut self.threads[thread].settled);
            settled.retain(|claim| {
                let settling = |known: &Known| {
                    known.claim == *claim && matches!(known.at, At::Settling { .. })
                };
                let mut workers = self.workers.iter();
                workers.any(|worker| worker.known.iter().any(settling))
            });
            settled.sort_unstable();
            self.threads[thread].settled = settled;
        }
        for id in 0..self.leases.len() {
            let id = u8::try_from(id).expect("a small number");
            let holds = |thread: &Thread| {
                thread
                    .holder
                    .is_some_and(|holder| holder.fence.claim.worker == id)
            };
            let sent = |message: &Message| match message {
                Message::Claim { claim, .. } | Message::ClaimFound { claim, .. } => {
                    claim.worker == id
                }
                Message::Settle { fence, .. } => fence.claim.worker == id,
                _ => false,
            };
            let matters =
                living.contains(&id) || self.threads.iter().any(holds) || self.net.iter().any(sent);
            if !matters {
                self.leases[usize::from(id)] = Lease::Dead;
            }
        }
    }
}
