//! I4: runs are accepted in the order in which clients had their answers, and start in the order in
//! which they were accepted.

use std::collections::BTreeMap;

use super::{Kind, Verdict};
use crate::dump::{Dump, RunRow};
use crate::history::{Creation, History, Strategy};

/// A run as far as its order goes.
struct Placed<'a> {
    run: &'a str,
    /// `None` if it was rolled back, or if its request was never answered.
    row: Option<&'a RunRow>,
    creation: Option<&'a Creation>,
    started: Option<f64>,
}

pub(super) fn check(history: &History, dump: &Dump, verdict: &mut Verdict) {
    let mut started: BTreeMap<&str, f64> = BTreeMap::new();
    for step in history.steps.iter().filter(|step| step.begins) {
        let at = started.entry(&step.run).or_insert(step.at);
        *at = at.min(step.at);
    }
    let creations: BTreeMap<&str, &Creation> = history.accepted().collect();
    let mut threads: BTreeMap<&str, BTreeMap<&str, Placed<'_>>> = BTreeMap::new();
    let mut place = |thread, run, row, creation| {
        let placed = Placed {
            run,
            row,
            creation,
            started: started.get(run).copied(),
        };
        threads.entry(thread).or_default().insert(run, placed);
    };
    for (&run, &creation) in &creations {
        place(creation.thread.as_str(), run, None, Some(creation));
    }
    for row in &dump.runs {
        let creation = creations.get(row.id.as_str()).copied();
        place(row.thread_id.as_str(), row.id.as_str(), Some(row), creation);
    }
    for runs in threads.into_values() {
        let runs: Vec<_> = runs.into_values().collect();
        for (at, first) in runs.iter().enumerate() {
            for second in &runs[at + 1..] {
                compare(first, second, verdict);
                compare(second, first, verdict);
            }
        }
    }
    interrupts(&creations, &started, verdict);
}

/// Whether `before` is before `after` wherever it can be told.
fn compare(before: &Placed<'_>, after: &Placed<'_>, verdict: &mut Verdict) {
    let stored = match (before.row, after.row) {
        (Some(before), Some(after)) => Some(before.seq < after.seq),
        _ => None,
    };
    let answered_first = match (before.creation, after.creation) {
        (Some(before), Some(after)) => before.answered < after.asked,
        _ => false,
    };
    if answered_first && stored == Some(false) {
        let text = format!(
            "run {} was accepted before run {} was asked for, and has a later place",
            before.run, after.run
        );
        verdict.violated("I4", Kind::OutOfOrder, Some(before.run), text);
        return;
    }
    if let (Some(a), Some(b)) = (before.row, after.row)
        && a.seq < b.seq
        && a.created_at > b.created_at
    {
        let text = format!("the time of run {} is after that of run {}", a.id, b.id);
        verdict.violated("I4", Kind::OutOfOrder, Some(before.run), text);
    }
    if (answered_first || stored == Some(true))
        && let (Some(first), Some(second)) = (before.started, after.started)
        && first > second
    {
        let text = format!(
            "run {} started at {first:.3}, after run {}, which was accepted later, at {second:.3}",
            before.run, after.run
        );
        verdict.violated("I4", Kind::OutOfOrder, Some(before.run), text);
    }
}

/// How long those took to start that stopped the runs before them.
fn interrupts(
    creations: &BTreeMap<&str, &Creation>,
    started: &BTreeMap<&str, f64>,
    verdict: &mut Verdict,
) {
    for (run, creation) in creations {
        let stops = matches!(creation.strategy, Strategy::Interrupt | Strategy::Rollback);
        if let (true, Some(started)) = (stops, started.get(run)) {
            let took = (started - creation.answered).max(0.0);
            verdict.figures.interrupt_to_start.push(took);
        }
    }
    verdict.figures.interrupt_to_start.sort_by(f64::total_cmp);
}
