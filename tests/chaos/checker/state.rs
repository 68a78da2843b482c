//! I3 and I9: a thread's checkpoints are one chain in the order of its runs, and its status follows
//! from what is stored.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Verdict};
use crate::dump::{CheckpointRow, Dump, RunRow, ThreadRow};
use crate::history::{History, is_terminal};

pub(super) fn check(_history: &History, dump: &Dump, verdict: &mut Verdict) {
    let mut checkpoints: BTreeMap<&str, Vec<&CheckpointRow>> = BTreeMap::new();
    for checkpoint in &dump.checkpoints {
        checkpoints
            .entry(&checkpoint.thread_id)
            .or_default()
            .push(checkpoint);
    }
    let rows = dump.runs_by_id();
    for (thread, checkpoints) in checkpoints {
        the_chain_is_one(thread, &checkpoints, &rows, dump, verdict);
    }
    let mut runs: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
    for run in &dump.runs {
        runs.entry(&run.thread_id).or_default().push(run);
    }
    for thread in &dump.threads {
        let runs = runs.get(thread.id.as_str()).map_or(&[][..], Vec::as_slice);
        the_status_follows(thread, runs, dump, verdict);
    }
}

fn the_chain_is_one(
    thread: &str,
    checkpoints: &[&CheckpointRow],
    rows: &BTreeMap<&str, &RunRow>,
    dump: &Dump,
    verdict: &mut Verdict,
) {
    let mut children: BTreeMap<Option<&str>, &CheckpointRow> = BTreeMap::new();
    for checkpoint in checkpoints {
        if let Some(twin) = children.insert(checkpoint.parent.as_deref(), checkpoint) {
            let text = format!(
                "checkpoints {} and {} of thread {thread} have one parent, {:?}",
                twin.id, checkpoint.id, checkpoint.parent
            );
            verdict.violated("I3", Kind::Fork, checkpoint.run_id.as_deref(), text);
        }
    }
    let mut chain = Vec::new();
    let mut next = children.get(&None).copied();
    while let Some(checkpoint) = next {
        chain.push(checkpoint);
        next = children.get(&Some(checkpoint.id.as_str())).copied();
    }
    if chain.len() < checkpoints.len() {
        let text = format!(
            "{} of {} checkpoints of thread {thread} are not on the chain from its first one",
            checkpoints.len() - chain.len(),
            checkpoints.len()
        );
        verdict.violated("I3", Kind::Fork, None, text);
    }
    let places = chain.iter().filter_map(|checkpoint| {
        let run = rows.get(checkpoint.run_id.as_deref()?)?;
        Some((run.seq, run.id.as_str()))
    });
    let mut last = None;
    for (seq, run) in places {
        if last.is_some_and(|last| seq < last) {
            let text = format!("run {run} wrote a checkpoint upon one of a later run");
            verdict.violated("I3", Kind::Fork, Some(run), text);
        }
        last = Some(seq);
    }
    let shown = dump.states.get(thread).map(|state| &state.history);
    let newest_first: Vec<_> = chain
        .iter()
        .rev()
        .map(|checkpoint| checkpoint.id.clone())
        .collect();
    if shown.is_some_and(|shown| *shown != newest_first) {
        let text = format!("the history of thread {thread} is not its chain of checkpoints");
        verdict.violated("I3", Kind::Disagreeing, None, text);
    }
}

fn the_status_follows(thread: &ThreadRow, runs: &[&RunRow], dump: &Dump, verdict: &mut Verdict) {
    let id = &thread.id;
    if thread.status == "busy" || thread.held_run.is_some() {
        let text = format!(
            "thread {id} is {}, held for {:?}",
            thread.status, thread.held_run
        );
        verdict.violated("I9", Kind::Stuck, thread.held_run.as_deref(), text);
        return;
    }
    if runs.iter().any(|run| !is_terminal(&run.status)) {
        // Reported as a run that is stuck.
        return;
    }
    let expected = match (thread.failed, thread.unfinished) {
        (true, _) => "error",
        (false, true) => "interrupted",
        (false, false) => "idle",
    };
    if thread.status != expected {
        let text = format!("thread {id} is {} and should be {expected}", thread.status);
        verdict.violated("I9", Kind::Disagreeing, None, text);
    }
    // Several runs may have ended in one transaction.
    let last = runs.iter().map(|run| run.updated_at.as_str()).max();
    let ends: BTreeSet<_> = runs
        .iter()
        .filter(|run| Some(run.updated_at.as_str()) == last)
        .map(|run| matches!(run.status.as_str(), "error" | "timeout"))
        .collect();
    if !ends.is_empty() && !ends.contains(&thread.failed) {
        let text = format!(
            "thread {id} says failed: {}, its last run does not",
            thread.failed
        );
        verdict.violated("I9", Kind::Disagreeing, None, text);
    }
    if let Some(state) = dump.states.get(id)
        && (state.status != thread.status || state.has_next != thread.unfinished)
    {
        let text = format!(
            "thread {id} is stored as {} (unfinished: {}) and shown as {} (next: {})",
            thread.status, thread.unfinished, state.status, state.has_next
        );
        verdict.violated("I9", Kind::Disagreeing, None, text);
    }
}
