//! What a worker measures. `docs/metrics.md` says what the numbers mean.

use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use runloom_core::admission;
use runloom_core::bus::SignalReply;
use runloom_core::database::{Settled, Transit};
use runloom_core::ids::RunId;
use runloom_core::lease::Claimed;
use runloom_core::run::{CancelAction, MultitaskStrategy};
use strum::IntoEnumIterator as _;
use tokio::time::Instant;

use crate::housekeeping;

const QUEUE_WAIT: &str = "runloom_queue_wait_seconds";
const INTERRUPT_TO_START: &str = "runloom_interrupt_to_start_seconds";
const CANCEL_TO_STOP: &str = "runloom_cancel_to_stop_seconds";
const LEASE_MARGIN: &str = "runloom_lease_margin_seconds";
const SETTLEMENTS: &str = "runloom_settlements_total";
const FENCED: &str = "runloom_fenced_total";
const REAPED: &str = "runloom_reaped_total";
const FOUND: &str = "runloom_found_by_looking_total";
const SIGNALS_HEARD: &str = "runloom_signals_heard_total";
const SLOTS: &str = "runloom_slots";
const SLOTS_BUSY: &str = "runloom_slots_busy";
const CLAIM: &str = "runloom_claim_seconds";
const SETTLE: &str = "runloom_settle_seconds";
const ATTEMPT: &str = "runloom_attempt_seconds";

/// What becomes of attempts.
const OUTCOMES: [&str; 8] = [
    "success",
    "error",
    "timeout",
    "interrupted",
    "discarded",
    "handed_back",
    "retried",
    "settled_before",
];

/// Says what the numbers of workers mean to whoever collects them.
pub fn describe_metrics() {
    let time = |name, text| describe_histogram!(name, Unit::Seconds, text);
    time(QUEUE_WAIT, "from when a run was due to its first claim");
    time(
        INTERRUPT_TO_START,
        "from acceptance to claim, if another run had to be stopped",
    );
    time(
        CANCEL_TO_STOP,
        "from the request to the committed end of a run",
    );
    time(
        LEASE_MARGIN,
        "what was left of the lease when it was renewed",
    );
    describe_counter!(SETTLEMENTS, "attempts settled, by what became of the run");
    describe_counter!(
        FENCED,
        "writes refused because somebody else has the thread"
    );
    describe_counter!(REAPED, "attempts taken from workers whose lease ran out");
    describe_counter!(FOUND, "threads with work that nobody had told of in time");
    describe_counter!(SIGNALS_HEARD, "signals that arrived here, by the answer");
    describe_gauge!(SLOTS, "runs that may be executed at the same time");
    describe_gauge!(SLOTS_BUSY, "attempts under way");
    time(CLAIM, "from asking for a run to the database's answer");
    time(
        SETTLE,
        "from saying how a run ended to the database's answer",
    );
    time(
        ATTEMPT,
        "from the claim of a run until its code has stopped",
    );
    begin_at_zero();
    housekeeping::measures::describe_metrics();
}

/// Shows everything that is counted from the start, so that the first increase is seen as one.
fn begin_at_zero() {
    for outcome in OUTCOMES {
        counter!(SETTLEMENTS, "outcome" => outcome).absolute(0);
    }
    for what in Refused::iter() {
        let what: &'static str = what.into();
        counter!(FENCED, "what" => what).absolute(0);
    }
    counter!(REAPED).absolute(0);
    counter!(FOUND).absolute(0);
    // Nothing else is answered here.
    for reply in [SignalReply::Stopping, SignalReply::Unknown] {
        let reply: &'static str = reply.into();
        counter!(SIGNALS_HEARD, "reply" => reply).absolute(0);
    }
    gauge!(SLOTS_BUSY).set(0.0);
    // A histogram is there once it has been asked for.
    for strategy in MultitaskStrategy::iter() {
        let name: &'static str = strategy.into();
        let _ = histogram!(QUEUE_WAIT, "strategy" => name);
        if admission::action(strategy).is_some() {
            let _ = histogram!(INTERRUPT_TO_START, "strategy" => name);
        }
    }
    for action in CancelAction::iter() {
        for heard in Heard::iter() {
            let (action, heard): (&'static str, &'static str) = (action.into(), heard.into());
            let _ = histogram!(CANCEL_TO_STOP, "action" => action, "heard" => heard);
        }
    }
    for outcome in OUTCOMES {
        let _ = histogram!(ATTEMPT, "outcome" => outcome);
    }
    let _ = histogram!(LEASE_MARGIN);
    let _ = histogram!(CLAIM);
    let _ = histogram!(SETTLE);
}

/// So many runs may be executed at the same time.
#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
pub(crate) fn slots(slots: usize) {
    gauge!(SLOTS).set(slots as f64);
}

/// An attempt is under way.
pub(crate) fn slot_taken() {
    gauge!(SLOTS_BUSY).increment(1.0);
}

/// An attempt is over.
pub(crate) fn slot_freed() {
    gauge!(SLOTS_BUSY).decrement(1.0);
}

/// A claim that was asked for at `asked` is answered.
pub(crate) fn claim_answered(asked: Instant) {
    histogram!(CLAIM).record(asked.elapsed());
}

/// A settlement that was asked for at `asked` is answered.
pub(crate) fn settle_answered(asked: Instant) {
    histogram!(SETTLE).record(asked.elapsed());
}

/// How a worker learnt that an attempt is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Heard {
    /// By a signal.
    Signal,
    /// By a renewal, as the signal was lost.
    Renewal,
    /// With the claim, as it was asked for before.
    Claim,
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Refused {
    /// A write of an attempt under way.
    Write,
    /// The end of an attempt.
    Settlement,
    /// A worker's renewal of its lease.
    Renewal,
}

/// A run was claimed.
pub(crate) fn claimed(claimed: &Claimed) {
    if claimed.run.attempt == 1 {
        let strategy: &'static str = claimed.run.multitask_strategy.into();
        histogram!(QUEUE_WAIT, "strategy" => strategy).record(waited(claimed));
    }
}

/// A run was claimed by the settlement of the one that it stopped.
pub(crate) fn took_over(next: &Claimed) {
    let strategy = next.run.multitask_strategy;
    if admission::action(strategy).is_some() && next.run.attempt == 1 && next.run.cancel.is_none() {
        let strategy: &'static str = strategy.into();
        histogram!(INTERRUPT_TO_START, "strategy" => strategy).record(waited(next));
    }
}

/// From acceptance to claim, both by the database's clock.
fn waited(claimed: &Claimed) -> Duration {
    let waited = claimed.claimed_at - claimed.run.created_at;
    waited.to_std().unwrap_or_default()
}

/// The claim by the clock of the database and by ours: tells what the former shows later on.
#[derive(Clone, Copy)]
pub(crate) struct ClaimTime {
    stored: DateTime<Utc>,
    here: Instant,
}

impl ClaimTime {
    /// Of a claim that was just answered.
    pub(crate) fn of(claimed: &Claimed) -> Self {
        Self {
            stored: claimed.claimed_at,
            here: Instant::now(),
        }
    }

    /// How long ago it was.
    pub(crate) fn elapsed(self) -> Duration {
        self.here.elapsed()
    }

    /// How long ago something was stored; a little less, as the answer took its time.
    fn since(self, stored: DateTime<Utc>) -> Duration {
        let before_claim = (self.stored - stored).to_std();
        match before_claim {
            Ok(before) => before + self.here.elapsed(),
            Err(_after) => {
                let after = (stored - self.stored).to_std().unwrap_or_default();
                self.here.elapsed().saturating_sub(after)
            }
        }
    }
}

/// An attempt was stopped on request, heard of at `at`, and `asked` for then by the clock of the
/// database, if that is known.
pub(crate) fn stopped(
    (action, heard, at): (CancelAction, Heard, Instant),
    asked: Option<DateTime<Utc>>,
    claim: ClaimTime,
) {
    let (action, heard): (&'static str, &'static str) = (action.into(), heard.into());
    // Both are lower bounds.
    let took = asked.map_or(Duration::ZERO, |asked| claim.since(asked));
    histogram!(CANCEL_TO_STOP, "action" => action, "heard" => heard).record(took.max(at.elapsed()));
}

/// An attempt was settled whose code was at work for `executed`.
pub(crate) fn settled(run: RunId, transit: &Transit, settled: &Settled, executed: Duration) {
    let mut changes = settled.effects.changes.iter().rev();
    let status = changes.find(|change| change.run_id == run);
    let outcome = match (status.map(|change| change.status), transit) {
        (Some(None), _) => "discarded",
        (Some(Some(status)), _) if status.is_terminal() => status.into(),
        (_, Transit::HandBack) => "handed_back",
        (_, Transit::Retry(..)) => "retried",
        // The settlement was repeated, as its answer was lost.
        _ => "settled_before",
    };
    counter!(SETTLEMENTS, "outcome" => outcome).increment(1);
    histogram!(ATTEMPT, "outcome" => outcome).record(executed);
}

/// Something was refused as somebody else has the thread, or the worker lost its lease.
pub(crate) fn fenced(what: Refused) {
    let what: &'static str = what.into();
    counter!(FENCED, "what" => what).increment(1);
}

/// The lease was renewed with so much time left.
pub(crate) fn renewed(left: Duration) {
    histogram!(LEASE_MARGIN).record(left);
}

/// Attempts were taken from lost workers.
pub(crate) fn reaped(attempts: u32) {
    counter!(REAPED).increment(u64::from(attempts));
}

/// Threads were found that wake-ups should have told of.
pub(crate) fn found(threads: usize) {
    counter!(FOUND).increment(u64::try_from(threads).unwrap_or(u64::MAX));
}

/// A signal was answered.
pub(crate) fn signalled(reply: SignalReply) {
    let reply: &'static str = reply.into();
    counter!(SIGNALS_HEARD, "reply" => reply).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_databases_clock_goes_on_here_from_the_claim() {
        let stored = DateTime::UNIX_EPOCH;
        let here = Instant::now();
        let claim = ClaimTime { stored, here };
        tokio::time::advance(Duration::from_secs(10)).await;
        let at = |seconds| stored + chrono::TimeDelta::seconds(seconds);
        assert_eq!(claim.since(at(4)), Duration::from_secs(6));
        assert_eq!(claim.since(at(-3)), Duration::from_secs(13));
        assert_eq!(claim.since(at(11)), Duration::ZERO);
    }
}
