//! What must hold, by the names of ARCHITECTURE.md.

use runloom_core::run::RunStatus;
use stateright::Property;

use crate::model::{Protocol, Question};
use crate::state::{At, Attempt, Lease, Message, Stage, State, Work, Wrong};

pub(crate) const ENDS: &str = "I1: every accepted run ends";
pub(crate) const FINAL: &str = "I1: a status changes only as the rules allow";
pub(crate) const ALONE: &str = "I2: at most one attempt of a thread executes";
pub(crate) const HELD: &str = "I2: a thread is held exactly while one of its runs is running";
pub(crate) const FENCED: &str = "I3: nothing of a lost attempt lands";
pub(crate) const ORDER: &str = "I4: runs start in the order of acceptance";
pub(crate) const NOTHING_LEFT: &str = "I5: a rollback leaves nothing";
pub(crate) const STOPS: &str = "I6: a request to stop is not forgotten";
pub(crate) const INNOCENT: &str = "I6: only a run that was asked to stop is stopped";
pub(crate) const KEPT: &str = "I7: an input is not lost silently";

/// What a search has to find, or must not find.
pub(crate) fn of(question: Question) -> Vec<Property<Protocol>> {
    match question {
        Question::Invariants => invariants(),
        Question::Rest => vec![Property::always(ENDS, |model: &Protocol, state| {
            let rest = model.left_alone(state);
            rest.is_some_and(|rest| in_flight(model, &rest).is_empty())
        })],
        Question::Sightings => sightings(),
    }
}

fn invariants() -> Vec<Property<Protocol>> {
    vec![
        Property::always(ENDS, |model, state| {
            !rests(model, state) || in_flight(model, state).is_empty()
        }),
        Property::always(FINAL, |_, state: &State| {
            state.wrong != Some(Wrong::IllegalTransition)
        }),
        Property::always(ALONE, at_most_one_executes),
        Property::always(HELD, holders_and_runs_agree),
        Property::always(FENCED, |_, state: &State| {
            state.wrong != Some(Wrong::StaleWrite)
        }),
        Property::always(ORDER, starts_in_order),
        Property::always(NOTHING_LEFT, |_, state: &State| {
            let mut runs = state.runs.iter();
            runs.all(|row| row.stage != Stage::Discarded || !row.wrote)
        }),
        Property::always(STOPS, requests_stay),
        Property::always(INNOCENT, |_, state: &State| {
            let interrupted = Stage::Stored(RunStatus::Interrupted);
            let mut runs = state.runs.iter();
            runs.all(|row| row.stage != interrupted || row.cancel.is_some())
        }),
        Property::always(KEPT, inputs_are_kept),
    ]
}

/// Each of these must happen somewhere, or the invariants hold for nothing.
fn sightings() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("a run is tried again", |_, state: &State| {
            state
                .runs
                .iter()
                .any(|row| row.attempt - row.handed_back > 1)
        }),
        Property::sometimes("a run is handed back", |_, state: &State| {
            state.runs.iter().any(|row| row.handed_back > 0)
        }),
        Property::sometimes("a run uses up its attempts", |_, state: &State| {
            let failed = Stage::Stored(RunStatus::Error);
            state.runs.iter().any(|row| row.stage == failed)
        }),
        Property::sometimes("a run that wrote is rolled back", |_, state: &State| {
            let mut runs = state.runs.iter();
            runs.any(|row| row.stage == Stage::Discarded && row.attempt > 0)
        }),
        Property::sometimes("a superseded run is visited", |_, state: &State| {
            attempts(state).any(|attempt| attempt.work == Work::Visit && attempt.wrote)
        }),
        Property::sometimes("a run is mended", |_, state: &State| {
            attempts(state).any(|attempt| attempt.work == Work::Mend)
        }),
        Property::sometimes(
            "a signal overtakes the claim's answer",
            |_, state: &State| {
                let mut known = state.workers.iter().flat_map(|worker| &worker.known);
                known.any(|known| match known.at {
                    At::Claiming { kept, .. } | At::Next { kept } => kept.is_some(),
                    _ => false,
                })
            },
        ),
        Property::sometimes("a lost claim is taken up", |_, state: &State| {
            let mut known = state.workers.iter().flat_map(|worker| &worker.known);
            known.any(|known| {
                matches!(
                    known.at,
                    At::Claiming {
                        own_slot: false,
                        ..
                    }
                )
            })
        }),
        Property::sometimes("a worker is dead and holds a thread", |_, state: &State| {
            let mut holders = state.threads.iter().filter_map(|thread| thread.holder);
            holders
                .any(|holder| state.leases[usize::from(holder.fence.claim.worker)] == Lease::Dead)
        }),
        Property::sometimes(
            "a write of a lost attempt is under way",
            |_, state: &State| {
                let mut net = state.net.iter();
                net.any(|message| match message {
                    Message::Write { thread, fence, .. } => {
                        let holder = state.threads[usize::from(*thread)].holder;
                        holder.is_none_or(|holder| holder.fence != *fence)
                    }
                    _ => false,
                })
            },
        ),
    ]
}

fn attempts(state: &State) -> impl Iterator<Item = &Attempt> {
    let known = state.workers.iter().flat_map(|worker| &worker.known);
    known.filter_map(|known| match &known.at {
        At::Running(attempt) => Some(attempt),
        _ => None,
    })
}

/// Whether nothing more happens unless somebody wants something or something goes wrong.
fn rests(model: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    model.progress(state, &mut actions);
    actions.is_empty()
}

/// The runs in flight, those aside that wait behind one that has no end and need not stop.
fn in_flight(model: &Protocol, state: &State) -> Vec<usize> {
    let runs = 0..state.runs.len();
    let open = runs.filter(|run| match state.runs[*run].stage {
        Stage::Stored(status) => !status.is_terminal(),
        _ => false,
    });
    open.filter(|run| !model.is_endless(state, usize::from(model.script[*run].thread)))
        .collect()
}

fn at_most_one_executes(_: &Protocol, state: &State) -> bool {
    let mut executing = vec![0; state.threads.len()];
    for worker in &state.workers {
        for known in &worker.known {
            if let At::Running(attempt) = &known.at
                && worker.executes(*attempt)
            {
                executing[usize::from(known.thread)] += 1;
            }
        }
    }
    executing.iter().all(|count| *count <= 1)
}

fn holders_and_runs_agree(model: &Protocol, state: &State) -> bool {
    (0..state.threads.len()).all(|thread| {
        let running = (0..state.runs.len()).filter(|run| {
            usize::from(model.script[*run].thread) == thread
                && state.runs[*run].stage == Stage::Stored(RunStatus::Running)
        });
        let holder = state.threads[thread].holder;
        running.eq(holder.map(|holder| usize::from(holder.run)))
    })
}

fn starts_in_order(model: &Protocol, state: &State) -> bool {
    let waits = |run: usize| {
        state.runs[run].stage == Stage::Stored(RunStatus::Pending) && state.runs[run].attempt == 0
    };
    (0..state.runs.len()).all(|later| {
        state.runs[later].attempt == 0
            || (0..later)
                .all(|run| model.script[run].thread != model.script[later].thread || !waits(run))
    })
}

fn requests_stay(model: &Protocol, state: &State) -> bool {
    let waits = |run: &usize| state.runs[*run].cancel.is_some();
    state.wrong != Some(Wrong::WeakerCancel)
        && (!rests(model, state) || !in_flight(model, state).iter().any(waits))
}

/// A run that ended well, or that was superseded, has its input on the thread.
fn inputs_are_kept(model: &Protocol, state: &State) -> bool {
    (0..state.runs.len()).all(|run| {
        let row = &state.runs[run];
        let keeps = match row.stage {
            Stage::Stored(RunStatus::Success) => true,
            // With no attempt left there is nobody to apply it.
            Stage::Stored(RunStatus::Interrupted) => {
                row.superseded && row.attempt - row.handed_back < model.max_attempts
            }
            _ => false,
        };
        !keeps || !model.script[run].input || row.wrote
    })
}
