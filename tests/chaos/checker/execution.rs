//! I2 and I3 from the graph's own records: at most one attempt executes on a thread at a time, and a
//! step is executed again only by another attempt.
//!
//! An attempt executes from its first record to its last. A process that is killed writes no more
//! records, so its interval ends by itself. One that was stopped (SIGSTOP) beyond its lease and is
//! continued finds itself in the middle of a step: the rest of *that* step cannot be prevented, and is
//! fenced. So a record after the successor's start is no violation if
//!
//! - its process was stopped before the successor's start and continued after the attempt's,
//! - it comes within [`AWAKENING`] after the process was continued, and
//! - no more than one step began in that time: the look at the clock and the begin of a step are not
//!   one instant.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Verdict};
use crate::history::{History, Pause, Step};

/// How long a process that was continued may take to notice that its lease is gone, in seconds. Both
/// the step's timer and the lease's are due at once, and the machine is busy.
const AWAKENING: f64 = 0.5;

/// What one attempt did.
struct Attempt<'a> {
    run: &'a str,
    number: u64,
    pid: u32,
    records: Vec<&'a Step>,
}

impl Attempt<'_> {
    fn first(&self) -> f64 {
        self.records[0].at
    }

    fn last(&self) -> f64 {
        self.records[self.records.len() - 1].at
    }
}

/// The records by run, attempt and process.
type Attempts<'a> = BTreeMap<(&'a str, u64, u32), Vec<&'a Step>>;

pub(super) fn check(history: &History, verdict: &mut Verdict) {
    let mut threads: BTreeMap<&str, Attempts<'_>> = BTreeMap::new();
    for step in &history.steps {
        let attempts = threads.entry(&step.thread).or_default();
        let attempt = (step.run.as_str(), step.attempt, step.pid);
        attempts.entry(attempt).or_default().push(step);
    }
    for (thread, attempts) in threads {
        let mut attempts: Vec<_> = attempts
            .into_iter()
            .map(|((run, number, pid), mut records)| {
                records.sort_by(|a, b| a.at.total_cmp(&b.at));
                Attempt {
                    run,
                    number,
                    pid,
                    records,
                }
            })
            .collect();
        attempts.sort_by(|a, b| a.first().total_cmp(&b.first()));
        verdict.figures.attempts += attempts.len();
        no_two_at_once(thread, &attempts, &history.pauses, verdict);
        nothing_is_done_twice(&attempts, verdict);
    }
}

fn no_two_at_once(thread: &str, attempts: &[Attempt<'_>], pauses: &[Pause], verdict: &mut Verdict) {
    for (at, earlier) in attempts.iter().enumerate() {
        let Some(later) = attempts[at + 1..]
            .iter()
            .find(|later| later.first() <= earlier.last())
        else {
            continue;
        };
        if let Some(tail) = zombie(earlier, later, pauses) {
            verdict.figures.zombies += 1;
            verdict.figures.zombie_tail = verdict.figures.zombie_tail.max(tail);
            continue;
        }
        let text = format!(
            "on thread {thread}, attempt {} of run {} (process {}) was executing until {:.3}, \
             attempt {} of run {} (process {}) from {:.3}",
            earlier.number,
            earlier.run,
            earlier.pid,
            earlier.last(),
            later.number,
            later.run,
            later.pid,
            later.first(),
        );
        verdict.violated("I2", Kind::Overlapping, Some(earlier.run), text);
    }
}

/// How long `earlier` was still at it after its process was continued, if that excuses it.
fn zombie(earlier: &Attempt<'_>, later: &Attempt<'_>, pauses: &[Pause]) -> Option<f64> {
    let late = || {
        earlier
            .records
            .iter()
            .filter(|record| record.at >= later.first())
    };
    if late().filter(|record| record.begins).count() > 1 {
        return None;
    }
    let pause = pauses.iter().find(|pause| {
        earlier.first() < pause.to
            && pause.from <= later.first()
            && late().all(|record| awakens(pause, record))
    })?;
    Some(earlier.last() - pause.to)
}

/// Whether `record` is of a process that has just been continued after `pause`.
pub(super) fn awakens(pause: &Pause, record: &Step) -> bool {
    pause.pid == record.pid && (pause.to..=pause.to + AWAKENING).contains(&record.at)
}

/// A step is begun once by each attempt, and an attempt belongs to one process.
fn nothing_is_done_twice(attempts: &[Attempt<'_>], verdict: &mut Verdict) {
    let mut begun: BTreeSet<(&str, u64, &str)> = BTreeSet::new();
    let mut known: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut processes: BTreeMap<(&str, u64), u32> = BTreeMap::new();
    for attempt in attempts {
        let key = (attempt.run, attempt.number);
        if let Some(other) = processes.insert(key, attempt.pid) {
            let text = format!(
                "attempt {} of run {} was executed by processes {other} and {}",
                attempt.number, attempt.run, attempt.pid
            );
            verdict.violated("I2", Kind::Repeated, Some(attempt.run), text);
        }
        for step in attempt.records.iter().filter(|step| step.begins) {
            if !begun.insert((attempt.run, attempt.number, &step.step)) {
                let text = format!(
                    "step {} of run {} was begun twice by attempt {}",
                    step.step, attempt.run, attempt.number
                );
                verdict.violated("I2", Kind::Repeated, Some(attempt.run), text);
            }
            if !known.insert((attempt.run, &step.step)) {
                verdict.figures.repeated += 1;
            }
        }
    }
}
