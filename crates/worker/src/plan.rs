//! What a claimed run needs.

use runloom_core::partial::PendingInput;
use runloom_core::run::{CancelAction, Run};

/// What to do with a claimed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Execute it.
    Execute,
    /// It was interrupted before it was claimed: add its input to the thread, then see what earlier
    /// attempts left.
    ApplyInput,
    /// It was interrupted between two attempts: see what they left.
    Mend,
    /// It will be deleted.
    Discard,
}

impl Plan {
    /// What `run` needs.
    pub(crate) fn of(run: &Run) -> Self {
        match run.cancel {
            None => Self::Execute,
            Some(CancelAction::Rollback) => Self::Discard,
            // Whether an earlier attempt came as far as its input only the executor can tell, and
            // it does: applying an input a second time changes nothing.
            Some(CancelAction::Interrupt) if keeps_input(run) && !is_given_up(run) => {
                Self::ApplyInput
            }
            Some(CancelAction::Interrupt) => Self::Mend,
        }
    }
}

/// Whether the run's input must become part of the thread even if the run is interrupted.
pub(crate) fn keeps_input(run: &Run) -> bool {
    run.policy.pending_input == PendingInput::Keep && run.kwargs.has_input()
}

/// Whether somebody cancelled exactly this run after its first attempt had begun. What its
/// attempts did not use is dropped then.
fn is_given_up(run: &Run) -> bool {
    run.attempt > 1 && run.superseded_by.is_none()
}
