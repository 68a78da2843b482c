//! What the rules say about a run whose attempt is over and about one that is to stop. Drivers load the
//! rows under the thread's lock, ask here, and write down what was decided.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::queue::Transit;
use super::rows::{Holder, RunRow, ThreadRow};
use crate::admission::{InFlight, Stop};
use crate::bus::Signal;
use crate::effects::Effects;
use crate::ids::{RunId, ThreadId};
use crate::run::{CancelAction, IllegalTransition, RunError, Transition};
use crate::search::CancelSelection;

/// What becomes of a run when its attempt is over.
#[derive(Debug, PartialEq)]
pub enum Left {
    /// It is discarded with what it wrote: it was to be rolled back.
    Discarded,
    /// It goes back to pending: [`Transition::Release`].
    Released,
    /// It ends so, with this error.
    Ended(Transition, Option<RunError>),
}

/// Who asked a run to stop, and why.
#[derive(Debug, Default)]
pub struct Asker {
    /// The run that takes its place.
    pub superseded_by: Option<RunId>,
    /// The reason, for people.
    pub reason: Option<String>,
}

impl Transit {
    /// What it does to a run with no attempt left, and with which error.
    pub fn transition(&self) -> (Transition, Option<&RunError>) {
        match self {
            Self::Succeed => (Transition::Succeed, None),
            Self::Interrupt => (Transition::Interrupt, None),
            Self::TimeOut(error) => (Transition::TimeOut, Some(error)),
            Self::Fail(error) | Self::Retry(_, error) => (Transition::Fail, Some(error)),
            Self::HandBack => (Transition::Release, None),
        }
    }
}

impl RunRow {
    /// What becomes of it when its worker leaves it by `transit`. If it is released, notes from when on
    /// it may be claimed, and whether the attempt counts.
    pub fn leave(&mut self, transit: &Transit, max_attempts: u32, now: DateTime<Utc>) -> Left {
        if self.run.cancel == Some(CancelAction::Rollback) {
            return Left::Discarded;
        }
        match transit {
            Transit::HandBack => {
                self.handed_back += 1;
                Left::Released
            }
            Transit::Retry(delay, _) if self.has_attempts_left(max_attempts) => {
                self.not_before = after(now, *delay);
                Left::Released
            }
            ending => {
                let (transition, error) = ending.transition();
                Left::Ended(transition, error.cloned())
            }
        }
    }

    /// What becomes of it when its worker is lost.
    pub fn lose_worker(&self, max_attempts: u32) -> Left {
        match self.run.cancel {
            Some(CancelAction::Rollback) => Left::Discarded,
            // A run that was to be interrupted, too, goes to another worker: what the lost one left
            // must be mended, and its input must not be lost.
            _ if self.has_attempts_left(max_attempts) => Left::Released,
            Some(CancelAction::Interrupt) => Left::Ended(Transition::Interrupt, None),
            None => Left::Ended(Transition::Fail, Some(RunError::worker_lost())),
        }
    }

    /// Stops it as the rules of admission say. Answers with what must follow; `None` if it is to be
    /// discarded, which is then all that there is to do. `holder` is who holds its thread.
    pub fn stop(
        &mut self,
        stop: Stop,
        asker: &Asker,
        holder: Option<Holder>,
        now: DateTime<Utc>,
    ) -> Result<Option<Effects>, IllegalTransition> {
        let mut effects = Effects::default();
        match stop {
            Stop::Discard => return Ok(None),
            Stop::Signal(action) => {
                self.note_stop(action, asker, now);
                let holder = holder.filter(|holder| holder.run_id == self.run.id);
                effects.signals.extend(holder.map(|holder| {
                    let signal = Signal {
                        run_id: self.run.id,
                        claim: holder.fence.claim,
                        action,
                        trace: None,
                    };
                    (holder.worker_id, signal)
                }));
            }
            Stop::Visit => {
                self.note_stop(CancelAction::Interrupt, asker, now);
                self.run.created_at = self.run.created_at.min(now);
                self.not_before = self.not_before.min(now);
            }
            Stop::End => {
                self.note_stop(CancelAction::Interrupt, asker, now);
                self.apply(Transition::Interrupt, now)?;
                effects.changes.push(self.told());
            }
        }
        Ok(Some(effects))
    }

    /// Notes how it is to stop, who wants it, and why.
    fn note_stop(&mut self, action: CancelAction, asker: &Asker, now: DateTime<Utc>) {
        let run = &mut self.run;
        run.updated_at = now;
        run.cancel = Some(action);
        run.cancel_reason = asker.reason.clone().or(run.cancel_reason.take());
        run.superseded_by = asker.superseded_by.or(run.superseded_by);
    }
}

impl ThreadRow {
    /// Ends a run that a worker held, in any way but rollback.
    pub fn end(
        &mut self,
        row: &mut RunRow,
        transition: Transition,
        error: Option<RunError>,
        now: DateTime<Utc>,
    ) -> Result<(), IllegalTransition> {
        row.apply(transition, now)?;
        self.note_end(transition.is_failure(), error.clone(), now);
        row.run.error = error;
        Ok(())
    }
}

impl CancelSelection {
    /// Whether it names `run`, a run of `thread`.
    pub fn names(&self, thread: ThreadId, run: &InFlight) -> bool {
        match self {
            Self::Pending => !run.running,
            Self::Running => run.running,
            Self::All => true,
            Self::Runs(of, ids) => *of == thread && ids.contains(&run.id),
        }
    }
}

/// The time a while after `now`, or the end of time. In whole microseconds, as databases hold it: what
/// is answered now is what is read later.
pub fn after(now: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    let delta = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
    let time = now.checked_add_signed(delta);
    time.unwrap_or(DateTime::<Utc>::MAX_UTC).trunc_subsecs(6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AssistantId, ClaimId, GraphId, WorkerId};
    use crate::json::JsonMap;
    use crate::lease::Fence;
    use crate::partial::PartialPolicy;
    use crate::run::{MultitaskStrategy, Run, RunKwargs, RunStatus};

    const MOST: u32 = 2;
    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn running(attempt: u32, cancel: Option<CancelAction>) -> RunRow {
        let run = Run {
            id: RunId::new(),
            thread_id: ThreadId::new(),
            assistant_id: AssistantId::new(),
            graph_id: GraphId("agent".to_owned()),
            seq: 1,
            created_at: NOW,
            updated_at: NOW,
            status: RunStatus::Running,
            metadata: JsonMap::new(),
            kwargs: RunKwargs::default(),
            multitask_strategy: MultitaskStrategy::Enqueue,
            policy: PartialPolicy::default(),
            attempt,
            cancel,
            cancel_reason: None,
            superseded_by: None,
            worker_id: Some(WorkerId::new()),
            error: None,
            output: None,
            interrupted_output: None,
        };
        RunRow {
            run,
            not_before: NOW,
            handed_back: 0,
        }
    }

    fn retry() -> Transit {
        Transit::Retry(
            Duration::from_nanos(5_000_700),
            RunError::new("E", "it broke"),
        )
    }

    #[test]
    fn a_retry_waits_while_an_attempt_is_left_and_then_fails() {
        let mut row = running(1, None);
        assert_eq!(row.leave(&retry(), MOST, NOW), Left::Released);
        assert_eq!(row.not_before, NOW + TimeDelta::microseconds(5_000));
        let left = running(2, None).leave(&retry(), MOST, NOW);
        let error = RunError::new("E", "it broke");
        assert_eq!(left, Left::Ended(Transition::Fail, Some(error)));
    }

    #[test]
    fn an_attempt_that_is_handed_back_does_not_count() {
        let mut row = running(2, Some(CancelAction::Interrupt));
        assert!(!row.has_attempts_left(MOST));
        assert_eq!(row.leave(&Transit::HandBack, MOST, NOW), Left::Released);
        assert!(row.has_attempts_left(MOST));
    }

    #[test]
    fn whatever_its_attempt_says_a_rollback_discards_the_run() {
        for transit in [Transit::Succeed, Transit::HandBack, retry()] {
            let mut row = running(1, Some(CancelAction::Rollback));
            assert_eq!(row.leave(&transit, MOST, NOW), Left::Discarded);
            assert_eq!(row.lose_worker(MOST), Left::Discarded);
        }
    }

    #[test]
    fn a_run_whose_worker_is_lost_goes_to_another_one_while_an_attempt_is_left() {
        let interrupt = Some(CancelAction::Interrupt);
        for cancel in [None, interrupt] {
            assert_eq!(running(1, cancel).lose_worker(MOST), Left::Released);
        }
        let interrupted = Left::Ended(Transition::Interrupt, None);
        assert_eq!(running(2, interrupt).lose_worker(MOST), interrupted);
        let failed = Left::Ended(Transition::Fail, Some(RunError::worker_lost()));
        assert_eq!(running(2, None).lose_worker(MOST), failed);
    }

    #[test]
    fn only_who_holds_the_run_itself_is_signalled() {
        let mut row = running(1, None);
        let holder = |run_id| Holder {
            run_id,
            worker_id: WorkerId::new(),
            fence: Fence {
                epoch: 1,
                claim: ClaimId::new(),
            },
            claimed_at: NOW,
        };
        let (own, other) = (holder(row.run.id), holder(RunId::new()));
        let stop = Stop::Signal(CancelAction::Interrupt);
        for (holder, signals) in [(Some(own), 1), (Some(other), 0), (None, 0)] {
            let effects = row.stop(stop, &Asker::default(), holder, NOW);
            assert_eq!(effects.unwrap().unwrap().signals.len(), signals);
        }
        assert_eq!(row.run.cancel, Some(CancelAction::Interrupt));
        assert_eq!(
            row.stop(Stop::Discard, &Asker::default(), Some(own), NOW),
            Ok(None)
        );
    }
}
