//! I7 and I5 from the conversations: every accepted input is in its thread once, in the order of
//! acceptance, followed by what its run said and nobody else; of what was rolled back nothing is
//! there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Verdict};
use crate::dump::{Dump, Message, RunRow};
use crate::history::{Creation, History, Step, Strategy};

pub(super) fn check(history: &History, dump: &Dump, verdict: &mut Verdict) {
    let creations: BTreeMap<&str, &Creation> = history
        .creations
        .iter()
        .map(|creation| (creation.mark.as_str(), creation))
        .collect();
    let cancelled: BTreeSet<&str> = history
        .cancels
        .iter()
        .filter(|cancel| cancel.action == Strategy::Interrupt && cancel.may_hold())
        .map(|cancel| cancel.run.as_str())
        .collect();
    let steps = history.steps_of_runs();
    let mut threads: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
    for run in &dump.runs {
        threads.entry(&run.thread_id).or_default().push(run);
    }
    for (thread, state) in &dump.states {
        let mut runs = threads.remove(thread.as_str()).unwrap_or_default();
        runs.sort_by_key(|run| run.seq);
        let turns = turns(thread, &state.messages, verdict);
        inputs_are_there(&runs, &turns, &cancelled, verdict);
        turns_are_in_order(thread, &runs, &turns, verdict);
        for run in &runs {
            let turn = turns
                .iter()
                .find(|turn| run.mark.as_deref() == Some(turn.mark));
            let creation = run.mark.as_deref().and_then(|mark| creations.get(mark));
            if let (Some(turn), Some(creation)) = (turn, creation) {
                let steps = steps.get(run.id.as_str()).map_or(&[][..], Vec::as_slice);
                answers_are_whole(run, creation, turn, steps, verdict);
            }
        }
    }
}

/// A question and what follows it up to the next.
struct Turn<'a> {
    mark: &'a str,
    answers: Vec<(&'a str, Option<u64>, Option<&'a str>)>,
}

fn turns<'a>(thread: &str, messages: &'a [Message], verdict: &mut Verdict) -> Vec<Turn<'a>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for message in messages {
        match (message, turns.last_mut()) {
            (Message::Human(mark), _) => turns.push(Turn {
                mark,
                answers: Vec::new(),
            }),
            (Message::Ai { run, attempt, step }, Some(turn)) => {
                turn.answers.push((run, *attempt, step.as_deref()));
            }
            (Message::Ai { run, .. }, None) => {
                let text = format!("thread {thread} begins with an answer of run {run}");
                verdict.violated("I7", Kind::Lost, Some(run), text);
            }
        }
    }
    turns
}

fn inputs_are_there(
    runs: &[&RunRow],
    turns: &[Turn<'_>],
    cancelled: &BTreeSet<&str>,
    verdict: &mut Verdict,
) {
    for run in runs {
        let mark = run.mark.as_deref().unwrap_or_default();
        let times = turns.iter().filter(|turn| turn.mark == mark).count();
        // A run that was cancelled by hand before it used its input drops it, one that failed may
        // have failed before; both say so.
        let may_lack = cancelled.contains(run.id.as_str()) && run.status == "interrupted";
        match times {
            1 => {}
            0 if may_lack || run.status == "error" => {}
            0 => {
                let text = format!(
                    "the input {mark} of run {}, which is {}, is not in its thread",
                    run.id, run.status
                );
                verdict.violated("I7", Kind::Lost, Some(&run.id), text);
            }
            times => {
                let text = format!("the input {mark} of run {} is there {times} times", run.id);
                verdict.violated("I7", Kind::Repeated, Some(&run.id), text);
            }
        }
    }
}

fn turns_are_in_order(thread: &str, runs: &[&RunRow], turns: &[Turn<'_>], verdict: &mut Verdict) {
    let by_mark: BTreeMap<&str, &RunRow> = runs
        .iter()
        .map(|run| (run.mark.as_deref().unwrap_or_default(), *run))
        .collect();
    let mut last = None;
    for turn in turns {
        let Some(run) = by_mark.get(turn.mark) else {
            let text = format!(
                "thread {thread} has the input {} of a run that is gone",
                turn.mark
            );
            verdict.violated("I5", Kind::Residue, None, text);
            continue;
        };
        if last.is_some_and(|last| run.seq < last) {
            let text = format!("the input {} of run {} is out of order", turn.mark, run.id);
            verdict.violated("I4", Kind::OutOfOrder, Some(&run.id), text);
        }
        last = Some(run.seq);
        for (said_by, _, _) in &turn.answers {
            // Of a run that was stopped in the middle of a word its name may not be whole.
            if !run.id.starts_with(said_by) {
                let text = format!("run {said_by} speaks in the turn of run {}", run.id);
                verdict.violated("I2", Kind::Overlapping, Some(said_by), text);
            }
        }
    }
}

/// A run that succeeded did each of its steps once; no message is of an attempt that was fenced
/// before it could write it.
fn answers_are_whole(
    run: &RunRow,
    creation: &Creation,
    turn: &Turn<'_>,
    steps: &[&Step],
    verdict: &mut Verdict,
) {
    let numbers: Vec<_> = turn
        .answers
        .iter()
        .filter_map(|(_, _, step)| *step)
        .collect();
    let mut expected: Vec<_> = (1..=creation.steps)
        .map(|number| number.to_string())
        .collect();
    expected.push("last".to_owned());
    let whole = if run.status == "success" {
        numbers == expected
    } else {
        // The last word may be cut off. Steps that were not stored before the lease was lost are
        // done again or not at all, so there may be holes; but nothing is doubled or out of order.
        let mut places = expected.iter();
        let in_order = |number: &&str| places.any(|place| place.starts_with(number));
        numbers.iter().all(in_order)
    };
    if !whole {
        let text = format!(
            "run {}, which is {}, left the steps {numbers:?} of {}",
            run.id, run.status, creation.steps
        );
        verdict.violated("I3", Kind::Repeated, Some(&run.id), text);
    }
    let mut newest = 0;
    for (_, attempt, step) in &turn.answers {
        let (Some(attempt), Some(step)) = (*attempt, *step) else {
            continue;
        };
        let again = steps
            .iter()
            .find(|record| record.begins && record.step == *step && record.attempt > attempt);
        if attempt < newest || again.is_some() {
            let text = format!(
                "step {step} of run {} is of attempt {attempt}, though attempt {} began it anew",
                run.id,
                again.map_or(newest, |record| record.attempt)
            );
            verdict.violated("I3", Kind::Fork, Some(&run.id), text);
        }
        newest = newest.max(attempt);
    }
}
