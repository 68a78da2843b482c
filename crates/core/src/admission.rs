//! What becomes of a new run and of the runs in flight on its thread: the only place that knows the
//! multitask strategies. Drivers lock the thread, ask here, and carry out the answer.

use crate::ids::RunId;
use crate::partial::PendingInput;
use crate::run::{CancelAction, MultitaskStrategy, Run, RunStatus};

/// What the rules need to know of a run that is pending or running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The run.
    pub id: RunId,
    /// Whether a worker holds it.
    pub running: bool,
    /// Whether an attempt was ever started.
    pub started: bool,
    /// Whether it brings an input that must not be lost when it is superseded.
    pub has_input: bool,
    /// How it is already asked to stop, if it is.
    pub cancel: Option<CancelAction>,
}

impl InFlight {
    /// The facts of `run`, which must not be over.
    pub fn of(run: &Run) -> Self {
        debug_assert!(
            !run.status.is_terminal(),
            "a run that is over is not in flight"
        );
        Self {
            id: run.id,
            running: run.status == RunStatus::Running,
            started: run.attempt > 0,
            has_input: run.policy.pending_input == PendingInput::Keep && run.kwargs.has_input(),
            cancel: run.cancel,
        }
    }
}

/// The answer to a new run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is refused and nothing changes.
    Rejected,
    /// It is stored as pending, after these changes to the runs before it.
    Accepted(Vec<(RunId, Stop)>),
}

/// What stopping a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is held by a worker: record the intent, then signal the worker. The run becomes terminal
    /// when the worker settles it.
    Signal(CancelAction),
    /// It is not held, but a worker must see to it before it ends: to apply its input, or to mend
    /// what an earlier attempt left. Record the intent and make the run due now.
    Visit,
    /// It is not held and leaves nothing behind: it is interrupted now.
    End,
    /// It is not held: delete it and what earlier attempts of it wrote, now.
    Discard,
}

/// Whether a new run with `strategy` is accepted beside the runs `in_flight`, and what becomes of
/// those.
pub fn admit(strategy: MultitaskStrategy, in_flight: &[InFlight]) -> Admission {
    if strategy == MultitaskStrategy::Reject && !in_flight.is_empty() {
        return Admission::Rejected;
    }
    let Some(action) = action(strategy) else {
        return Admission::Accepted(Vec::new());
    };
    Admission::Accepted(
        in_flight
            .iter()
            .filter_map(|run| stop(*run, action, Origin::Superseded).map(|stop| (run.id, stop)))
            .collect(),
    )
}

/// How a new run with `strategy` asks those before it to stop; `None` if it lets them be.
pub fn action(strategy: MultitaskStrategy) -> Option<CancelAction> {
    match strategy {
        MultitaskStrategy::Reject | MultitaskStrategy::Enqueue => None,
        MultitaskStrategy::Interrupt => Some(CancelAction::Interrupt),
        MultitaskStrategy::Rollback => Some(CancelAction::Rollback),
    }
}

/// Who wants a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A newer run takes its place: its input stays part of the conversation.
    Superseded,
    /// Somebody asked for exactly this run to be cancelled: an input that was never used is dropped.
    Cancelled,
}

/// What it takes to stop `run`; `None` if it is already asked to stop in this way or a stronger one.
pub fn stop(run: InFlight, action: CancelAction, origin: Origin) -> Option<Stop> {
    if run.cancel >= Some(action) {
        return None;
    }
    Some(match (run.running, action) {
        (true, action) => Stop::Signal(action),
        (false, CancelAction::Rollback) => Stop::Discard,
        (false, CancelAction::Interrupt) if run.started => Stop::Visit,
        (false, CancelAction::Interrupt) => match origin {
            Origin::Superseded if run.has_input => Stop::Visit,
            Origin::Superseded | Origin::Cancelled => Stop::End,
        },
    })
}

/// Why a run was asked to stop when the run `by` took its place, for people.
pub fn superseded_reason(by: RunId) -> String {
    format!("superseded by run {by}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(running: bool) -> InFlight {
        InFlight {
            id: RunId::new(),
            running,
            started: running,
            has_input: true,
            cancel: None,
        }
    }

    #[test]
    fn reject_refuses_beside_any_run_in_flight_even_a_pending_one() {
        assert_eq!(
            admit(MultitaskStrategy::Reject, &[]),
            Admission::Accepted(vec![])
        );
        assert_eq!(
            admit(MultitaskStrategy::Reject, &[run(false)]),
            Admission::Rejected
        );
        assert_eq!(
            admit(MultitaskStrategy::Reject, &[run(true)]),
            Admission::Rejected
        );
    }

    #[test]
    fn enqueue_leaves_everybody_alone() {
        let all = [run(true), run(false)];
        assert_eq!(
            admit(MultitaskStrategy::Enqueue, &all),
            Admission::Accepted(vec![])
        );
    }

    #[test]
    fn interrupt_signals_the_running_run_and_keeps_the_input_of_a_pending_one() {
        let (held, waiting) = (run(true), run(false));
        let silent = InFlight {
            has_input: false,
            ..run(false)
        };
        assert_eq!(
            admit(MultitaskStrategy::Interrupt, &[held, waiting, silent]),
            Admission::Accepted(vec![
                (held.id, Stop::Signal(CancelAction::Interrupt)),
                (waiting.id, Stop::Visit),
                (silent.id, Stop::End),
            ])
        );
    }

    #[test]
    fn rollback_discards_pending_runs_and_outranks_an_interrupt_under_way() {
        let interrupted = InFlight {
            cancel: Some(CancelAction::Interrupt),
            ..run(true)
        };
        let waiting = InFlight {
            cancel: Some(CancelAction::Interrupt),
            ..run(false)
        };
        assert_eq!(
            admit(MultitaskStrategy::Rollback, &[interrupted, waiting]),
            Admission::Accepted(vec![
                (interrupted.id, Stop::Signal(CancelAction::Rollback)),
                (waiting.id, Stop::Discard),
            ])
        );
    }

    #[test]
    fn a_stop_is_never_weakened_or_repeated() {
        let rolling_back = InFlight {
            cancel: Some(CancelAction::Rollback),
            ..run(true)
        };
        assert_eq!(
            stop(rolling_back, CancelAction::Interrupt, Origin::Cancelled),
            None
        );
        assert_eq!(
            stop(rolling_back, CancelAction::Rollback, Origin::Superseded),
            None
        );
    }

    #[test]
    fn a_pending_run_that_had_an_attempt_is_seen_to_by_a_worker() {
        let between_attempts = InFlight {
            started: true,
            has_input: false,
            ..run(false)
        };
        let stop = stop(between_attempts, CancelAction::Interrupt, Origin::Cancelled);
        assert_eq!(stop, Some(Stop::Visit));
    }
}
