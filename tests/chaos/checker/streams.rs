//! I8: a stream that was resumed has no gap and no double, and ends when its run has.

use std::collections::{BTreeMap, BTreeSet};

use super::execution::awakens;
use super::{Kind, Verdict};
use crate::dump::Dump;
use crate::history::{History, Pause, Reading, Received, Step};

pub(super) fn check(history: &History, dump: &Dump, verdict: &mut Verdict) {
    let rows = dump.runs_by_id();
    let steps = history.steps_of_runs();
    for reading in &history.readings {
        verdict.figures.streams += 1;
        verdict.figures.resumed += reading.resumed;
        let announced = ids_are_without_gap(reading, verdict);
        verdict.figures.announced += announced;
        let stored = rows.get(reading.run.as_str()).map(|row| row.status.clone());
        match &reading.end {
            Some(end) if end.status != stored => {
                let text = format!(
                    "the stream of run {} ended with {:?}, stored is {stored:?}",
                    reading.run, end.status
                );
                verdict.violated("I8", Kind::Changed, Some(&reading.run), text);
            }
            Some(end) if end.status.as_deref() == Some("success") && announced == 0 => {
                let steps = steps
                    .get(reading.run.as_str())
                    .map_or(&[][..], Vec::as_slice);
                last_attempt_is_whole(reading, steps, verdict);
            }
            Some(_) => {}
            None => {
                let text = format!(
                    "the stream of run {}, which is {stored:?}, did not end: {:?}",
                    reading.run, reading.given_up
                );
                verdict.violated("I8", Kind::Stuck, Some(&reading.run), text);
            }
        }
        nothing_runs_on(reading, &steps, &history.pauses, verdict);
    }
}

/// Ids grow, and numbers go on by one or begin anew with another attempt. Answers with how often the
/// server said that something is missing.
fn ids_are_without_gap(reading: &Reading, verdict: &mut Verdict) -> usize {
    let mut last: Option<(u64, u64)> = None;
    let mut announced = 0;
    let mut excused = false;
    let mut violations = Vec::new();
    for received in &reading.received {
        let Received::Event {
            millis,
            number,
            name,
            ..
        } = received
        else {
            if let Received::Announced(_) = received {
                announced += 1;
                excused = true;
            }
            continue;
        };
        let id = (*millis, *number);
        if last.is_some_and(|last| id <= last) {
            violations.push(format!("{id:?} came after {last:?}"));
        }
        let expected = last.map_or(0, |(_, number)| number + 1);
        let begins = *number == 0 && name == "metadata";
        if *number != expected && !begins && !excused {
            violations.push(format!(
                "{id:?} ({name}) came where number {expected} should"
            ));
        }
        excused = false;
        last = Some(id);
    }
    for text in violations {
        let text = format!("in the stream of run {}, {text}", reading.run);
        verdict.violated("I8", Kind::Gap, Some(&reading.run), text);
    }
    announced
}

/// Who read a run to its success has seen every step of the attempt that succeeded.
fn last_attempt_is_whole(reading: &Reading, steps: &[&Step], verdict: &mut Verdict) {
    let Some(attempt) = steps.iter().map(|step| step.attempt).max() else {
        return;
    };
    let seen: BTreeSet<_> = reading
        .received
        .iter()
        .filter_map(|received| match received {
            Received::Event {
                step: Some((of, step)),
                ..
            } if *of == attempt => Some(step.as_str()),
            _ => None,
        })
        .collect();
    let missing: Vec<_> = steps
        .iter()
        .filter(|step| step.attempt == attempt && step.begins && step.step != "last")
        .map(|step| step.step.as_str())
        .filter(|step| !seen.contains(step))
        .collect();
    if !missing.is_empty() {
        let text = format!(
            "the stream of run {} ended without the steps {missing:?} of attempt {attempt}",
            reading.run
        );
        verdict.violated("I8", Kind::Gap, Some(&reading.run), text);
    }
}

/// No step begins after a client was told that the run is over, but for those that a process which
/// was stopped meanwhile had in hand.
fn nothing_runs_on(
    reading: &Reading,
    steps: &BTreeMap<&str, Vec<&Step>>,
    pauses: &[Pause],
    verdict: &mut Verdict,
) {
    if reading.end.is_none() {
        return;
    }
    let steps = steps
        .get(reading.run.as_str())
        .map_or(&[][..], Vec::as_slice);
    let is_late = |step: &&&Step| {
        step.begins && step.at > reading.ended && !pauses.iter().any(|pause| awakens(pause, step))
    };
    if let Some(late) = steps.iter().find(is_late) {
        let text = format!(
            "run {} began step {} at {:.3}, after its stream ended at {:.3}",
            reading.run, late.step, late.at, reading.ended
        );
        verdict.violated("I8", Kind::Changed, Some(&reading.run), text);
    }
}
