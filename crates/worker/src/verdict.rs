//! What an attempt's end means for its run, given what it was asked to do.

use runloom_core::executor::{Ended, StopKind};
use runloom_core::run::RunError;

/// What becomes of the run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It came to its end.
    Succeed,
    /// It waits for a human.
    Pause,
    /// It failed.
    Fail(RunError),
    /// It took too long.
    TimeOut,
    /// It was interrupted.
    Interrupt,
    /// It was stopped and will be deleted.
    Discard,
    /// It goes on elsewhere.
    HandBack,
    /// It is to be tried again.
    Retry(RunError),
}

/// The meaning of the end of a run's execution that was asked to stop for `cause`, if it was.
pub(crate) fn of_run(ended: Ended, cause: Option<StopKind>) -> Verdict {
    match (ended, cause) {
        // What is finished is finished: a stop that came too late changes nothing.
        (Ended::Success, _) => Verdict::Succeed,
        (Ended::Paused, _) => Verdict::Pause,
        // Whatever else comes after a hard stop is the stop: code may turn it into any error.
        (_, Some(StopKind::Interrupt)) => Verdict::Interrupt,
        (_, Some(StopKind::Rollback)) => Verdict::Discard,
        (_, Some(StopKind::Timeout)) => Verdict::TimeOut,
        // A drain disturbs no node, so an error beside it is the node's own.
        (Ended::Failed(error), Some(StopKind::Drain) | None) => Verdict::Fail(error),
        (Ended::Retry(error), Some(StopKind::Drain) | None) => Verdict::Retry(error),
        (_, Some(StopKind::LeaseLost))
        | (Ended::Stopped | Ended::Drained, Some(StopKind::Drain))
        | (Ended::Evicted, Some(StopKind::Drain) | None) => Verdict::HandBack,
        (Ended::Stopped | Ended::Drained, None) => Verdict::Retry(RunError::new(
            "ExecutorError",
            "the executor stopped without being asked to",
        )),
    }
}

/// The meaning of the end of a visit, which applies the input of an interrupted run.
pub(crate) fn of_visit(ended: Ended, cause: Option<StopKind>, lost: bool) -> Verdict {
    match ended {
        _ if cause == Some(StopKind::Rollback) => Verdict::Discard,
        Ended::Success | Ended::Paused | Ended::Stopped | Ended::Drained if !lost => {
            Verdict::Interrupt
        }
        _ if lost => Verdict::HandBack,
        // The input does not fit the graph: it cannot be kept, but it is not lost silently.
        Ended::Failed(error) => Verdict::Fail(error),
        Ended::Retry(error) => Verdict::Retry(error),
        Ended::Success | Ended::Paused | Ended::Stopped | Ended::Drained | Ended::Evicted => {
            Verdict::HandBack
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> RunError {
        RunError::new("E", "m")
    }

    #[test]
    fn success_wins_over_a_stop_that_came_too_late() {
        for cause in [None, Some(StopKind::Interrupt), Some(StopKind::Timeout)] {
            assert_eq!(of_run(Ended::Success, cause), Verdict::Succeed);
            assert_eq!(of_run(Ended::Paused, cause), Verdict::Pause);
        }
    }

    #[test]
    fn whatever_follows_a_hard_stop_is_the_stop() {
        let ends = [
            Ended::Stopped,
            Ended::Drained,
            Ended::Evicted,
            Ended::Failed(error()),
            Ended::Retry(error()),
        ];
        for ended in ends {
            for (cause, verdict) in [
                (StopKind::Interrupt, Verdict::Interrupt),
                (StopKind::Rollback, Verdict::Discard),
                (StopKind::Timeout, Verdict::TimeOut),
                (StopKind::LeaseLost, Verdict::HandBack),
            ] {
                assert_eq!(
                    of_run(ended.clone(), Some(cause)),
                    verdict,
                    "{ended:?} {cause}"
                );
            }
        }
    }

    #[test]
    fn a_drain_hands_back_but_hides_no_failure() {
        let drain = Some(StopKind::Drain);
        assert_eq!(of_run(Ended::Drained, drain), Verdict::HandBack);
        assert_eq!(of_run(Ended::Stopped, drain), Verdict::HandBack);
        assert_eq!(
            of_run(Ended::Failed(error()), drain),
            Verdict::Fail(error())
        );
        assert_eq!(
            of_run(Ended::Retry(error()), drain),
            Verdict::Retry(error())
        );
    }

    #[test]
    fn a_run_whose_process_had_to_end_goes_on_elsewhere_and_loses_no_attempt() {
        for cause in [None, Some(StopKind::Drain)] {
            assert_eq!(of_run(Ended::Evicted, cause), Verdict::HandBack);
        }
        // Its input is not applied yet, so the visit must come again.
        let interrupt = Some(StopKind::Interrupt);
        assert_eq!(of_visit(Ended::Evicted, None, false), Verdict::HandBack);
        assert_eq!(
            of_visit(Ended::Evicted, interrupt, false),
            Verdict::HandBack
        );
        let rollback = Some(StopKind::Rollback);
        assert_eq!(of_visit(Ended::Evicted, rollback, false), Verdict::Discard);
    }

    #[test]
    fn a_stop_that_nobody_asked_for_is_a_fault_of_the_infrastructure() {
        assert!(matches!(of_run(Ended::Stopped, None), Verdict::Retry(_)));
        assert_eq!(of_run(Ended::Failed(error()), None), Verdict::Fail(error()));
    }

    #[test]
    fn a_visit_ends_in_an_interrupt_only_if_the_input_was_seen_to() {
        let interrupt = Some(StopKind::Interrupt);
        assert_eq!(
            of_visit(Ended::Stopped, interrupt, false),
            Verdict::Interrupt
        );
        assert_eq!(of_visit(Ended::Stopped, interrupt, true), Verdict::HandBack);
        let retry = Ended::Retry(error());
        assert_eq!(of_visit(retry, interrupt, false), Verdict::Retry(error()));
        let failed = Ended::Failed(error());
        assert_eq!(of_visit(failed, interrupt, false), Verdict::Fail(error()));
        let rollback = Some(StopKind::Rollback);
        assert_eq!(of_visit(Ended::Stopped, rollback, true), Verdict::Discard);
    }
}
