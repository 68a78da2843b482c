//! Proves the invariants of ARCHITECTURE.md from what was seen and from what is stored. It knows
//! nothing of the server's code.

mod execution;
mod inputs;
mod order;
mod runs;
mod state;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::dump::Dump;
use crate::history::History;

/// What a violation counts as in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Kind {
    /// An accepted run is gone, or its input is.
    Lost,
    /// A run is there that nobody asked for, or that was refused.
    Unasked,
    /// A status changed that must not.
    Changed,
    /// A run or a thread does not come to rest.
    Stuck,
    /// Two attempts executed on one thread at a time.
    Overlapping,
    /// Runs were accepted or started in another order than they were asked for.
    OutOfOrder,
    /// A step was executed twice without need, or by nobody.
    Repeated,
    /// A chain of checkpoints forks or is broken, or something fenced landed.
    Fork,
    /// A rolled-back run left something.
    Residue,
    /// A stop was forgotten.
    Forgotten,
    /// What gateways show is not what is stored.
    Disagreeing,
    /// Something is missing in a stream, or came twice.
    Gap,
    /// A panic, or what the kind of storm forbids.
    Alarm,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// What to look for in the logs.
    pub(crate) run: Option<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.invariant, self.kind, self.text)
    }
}

/// What was counted beside violations.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct Figures {
    pub(crate) accepted: usize,
    /// Requests whose answer was lost, and how many of those were accepted.
    pub(crate) unknown: usize,
    pub(crate) found: usize,
    pub(crate) rolled_back: usize,
    /// By status.
    pub(crate) statuses: BTreeMap<String, usize>,
    pub(crate) attempts: usize,
    /// Steps that several attempts of a run began.
    pub(crate) repeated: usize,
    /// Steps that a process went on with after it had been stopped beyond its lease.
    pub(crate) zombies: usize,
    /// How long after it was continued such a process was still at it, at most, in seconds.
    pub(crate) zombie_tail: f64,
    pub(crate) streams: usize,
    pub(crate) resumed: usize,
    /// Gaps that the server announced: the bus had lost everything.
    pub(crate) announced: usize,
    /// From the acceptance of an interrupting run to its first step, in seconds.
    pub(crate) interrupt_to_start: Vec<f64>,
}

/// What the checker says.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    pub(crate) figures: Figures,
}

impl Verdict {
    fn violated(
        &mut self,
        invariant: &'static str,
        kind: Kind,
        run: Option<&str>,
        text: impl Into<String>,
    ) {
        self.violations.push(Violation {
            invariant,
            kind,
            text: text.into(),
            run: run.map(str::to_owned),
        });
    }

    /// Something that may not happen, whatever else holds.
    pub(crate) fn alarm(&mut self, text: &str) {
        self.violated("alarm", Kind::Alarm, None, text);
    }

    /// How many violations are of one of `kinds`.
    pub(crate) fn count(&self, kinds: &[Kind]) -> usize {
        let counted = self.violations.iter();
        counted
            .filter(|violation| kinds.contains(&violation.kind))
            .count()
    }
}

/// Checks everything.
pub(crate) fn check(history: &History, dump: &Dump) -> Verdict {
    let mut verdict = Verdict::default();
    runs::check(history, dump, &mut verdict);
    order::check(history, dump, &mut verdict);
    execution::check(history, &mut verdict);
    state::check(history, dump, &mut verdict);
    inputs::check(history, dump, &mut verdict);
    streams::check(history, dump, &mut verdict);
    verdict
}
