//! I1, I5, I6: no accepted run is lost, each comes to one end and stays there, a stop is not
//! forgotten, a rolled-back run leaves nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Verdict};
use crate::dump::{Dump, RunRow};
use crate::history::{Answer, History, Sighting, Strategy, is_terminal};

/// How long after its cancellation was acknowledged a run may still begin a step, in seconds: its
/// worker may be dead for a lease, the database may be down for a while.
const STOPPED_BY: f64 = 15.0;

pub(super) fn check(history: &History, dump: &Dump, verdict: &mut Verdict) {
    let rows = dump.runs_by_id();
    for row in &dump.runs {
        let count = verdict
            .figures
            .statuses
            .entry(row.status.clone())
            .or_default();
        *count += 1;
        if !is_terminal(&row.status) {
            let text = format!(
                "run {} of thread {} is {}",
                row.id, row.thread_id, row.status
            );
            verdict.violated("I1", Kind::Stuck, Some(&row.id), text);
        }
    }
    every_request_has_its_run(history, dump, &rows, verdict);
    nothing_accepted_is_lost(history, &rows, verdict);
    ends_are_final(history, &rows, verdict);
    waits_tell_the_truth(history, verdict);
    stops_are_heard(history, verdict);
    what_is_gone_left_nothing(dump, &rows, verdict);
}

/// Each request made at most one run, each run was asked for, and none that was refused is there.
fn every_request_has_its_run(
    history: &History,
    dump: &Dump,
    rows: &BTreeMap<&str, &RunRow>,
    verdict: &mut Verdict,
) {
    let mut by_mark: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
    for row in &dump.runs {
        let mark = row.mark.as_deref().unwrap_or_default();
        by_mark.entry(mark).or_default().push(row);
    }
    for creation in &history.creations {
        let found = by_mark.remove(creation.mark.as_str()).unwrap_or_default();
        if found.len() > 1 {
            let text = format!("{} made {} runs", creation.mark, found.len());
            verdict.violated("I1", Kind::Unasked, Some(&found[0].id), text);
        }
        match &creation.answer {
            Answer::Accepted(run) => {
                verdict.figures.accepted += 1;
                if rows
                    .get(run.as_str())
                    .is_some_and(|row| row.mark.as_ref() != Some(&creation.mark))
                {
                    let text = format!("run {run} is not the one that {} was told", creation.mark);
                    verdict.violated("I1", Kind::Unasked, Some(run), text);
                }
            }
            Answer::Refused(code) => {
                if let Some(row) = found.first() {
                    let text = format!("{} was refused with {code} and is there", creation.mark);
                    verdict.violated("I1", Kind::Unasked, Some(&row.id), text);
                }
            }
            Answer::Unknown(_) => {
                verdict.figures.unknown += 1;
                verdict.figures.found += found.len().min(1);
            }
        }
    }
    for row in by_mark.into_values().flatten() {
        let text = format!("nobody asked for run {}", row.id);
        verdict.violated("I1", Kind::Unasked, Some(&row.id), text);
    }
}

/// An accepted run is there, unless somebody may have rolled it back.
fn nothing_accepted_is_lost(
    history: &History,
    rows: &BTreeMap<&str, &RunRow>,
    verdict: &mut Verdict,
) {
    for (run, creation) in history.accepted() {
        if rows.contains_key(run) {
            continue;
        }
        let superseded = history.creations.iter().any(|other| {
            other.thread == creation.thread
                && other.mark != creation.mark
                && other.strategy == Strategy::Rollback
                && !matches!(other.answer, Answer::Refused(_))
                && other.answered >= creation.asked
        });
        let cancelled = history.cancels.iter().any(|cancel| {
            cancel.run == run && cancel.action == Strategy::Rollback && cancel.may_hold()
        });
        if superseded || cancelled {
            verdict.figures.rolled_back += 1;
            continue;
        }
        let text = format!(
            "run {run} ({}) was accepted at {:.3} and is gone, though nobody rolled it back",
            creation.mark, creation.answered
        );
        verdict.violated("I1", Kind::Lost, Some(run), text);
    }
}

/// Who saw a run at its end sees it there for ever.
fn ends_are_final(history: &History, rows: &BTreeMap<&str, &RunRow>, verdict: &mut Verdict) {
    let mut by_run: BTreeMap<&str, Vec<&Sighting>> = BTreeMap::new();
    for sighting in &history.sightings {
        by_run.entry(&sighting.run).or_default().push(sighting);
    }
    for (run, mut sightings) in by_run {
        sightings.sort_by(|a, b| a.answered.total_cmp(&b.answered));
        let is_end = |sighting: &Sighting| sighting.status.as_deref().is_none_or(is_terminal);
        let Some(end) = sightings.iter().find(|sighting| is_end(sighting)) else {
            continue;
        };
        let later = sightings
            .iter()
            .filter(|later| later.asked >= end.answered && later.status != end.status)
            .map(|later| &later.status);
        let stored = rows.get(run).map(|row| row.status.clone());
        let changed = (stored != end.status).then_some(&stored);
        if let Some(other) = later.chain(changed).next() {
            let text = format!(
                "run {run} was seen as {:?} at {:.3} and later as {other:?}",
                end.status, end.answered
            );
            verdict.violated("I1", Kind::Changed, Some(run), text);
        }
    }
}

/// Who waited for a run and was told its end finds it over.
fn waits_tell_the_truth(history: &History, verdict: &mut Verdict) {
    let mut told: BTreeMap<&str, f64> = BTreeMap::new();
    for join in &history.joins {
        let at = told.entry(&join.run).or_insert(join.answered);
        *at = at.min(join.answered);
    }
    for sighting in &history.sightings {
        let told = told.get(sighting.run.as_str());
        let over = sighting.status.as_deref().is_none_or(is_terminal);
        if let Some(told) = told.filter(|told| sighting.asked >= **told && !over) {
            let text = format!(
                "who waited for run {} was answered at {told:.3}, later it was {:?}",
                sighting.run, sighting.status
            );
            verdict.violated("I1", Kind::Changed, Some(&sighting.run), text);
        }
    }
}

/// A run that was told to stop begins nothing new.
fn stops_are_heard(history: &History, verdict: &mut Verdict) {
    let mut told: BTreeMap<&str, f64> = BTreeMap::new();
    for cancel in &history.cancels {
        if cancel.code.is_some_and(|code| (200..300).contains(&code)) {
            let at = told.entry(&cancel.run).or_insert(cancel.answered);
            *at = at.min(cancel.answered);
        }
    }
    for step in &history.steps {
        if let Some(at) = told.get(step.run.as_str())
            && step.begins
            && step.at > at + STOPPED_BY
        {
            let text = format!(
                "run {} was cancelled at {at:.3} and began step {} at {:.3}",
                step.run, step.step, step.at
            );
            verdict.violated("I6", Kind::Forgotten, Some(&step.run), text);
        }
    }
}

/// Rows belong to runs that are there.
fn what_is_gone_left_nothing(dump: &Dump, rows: &BTreeMap<&str, &RunRow>, verdict: &mut Verdict) {
    let orphans = dump
        .traces
        .iter()
        .filter(|trace| !rows.contains_key(trace.run_id.as_str()));
    let orphans: BTreeSet<_> = orphans.collect();
    for trace in orphans {
        let text = format!(
            "run {} is gone and left rows in {} of thread {}",
            trace.run_id, trace.table, trace.thread_id
        );
        verdict.violated("I5", Kind::Residue, Some(&trace.run_id), text);
    }
}
