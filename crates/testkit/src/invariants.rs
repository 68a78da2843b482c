//! What must hold of a database, whatever was done to it: I1 to I9 of the architecture.
//!
//! [`check_step`] compares what can be read before and after any operations. [`check_rest`] looks
//! at a thread on which nothing is in flight any more, together with what was accepted and what
//! was executed.

use std::collections::{BTreeMap, BTreeSet};

use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple};
use runloom_core::database::{Database, Tally};
use runloom_core::event::Event;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::{Run, RunStatus};
use runloom_core::search::{Page, RunFilter};
use runloom_core::thread::{Thread, ThreadFacts, ThreadStatus};

use crate::history::Execution;

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Violation {
    /// Which invariant, by its number in the architecture.
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
}

fn violation(invariant: &'static str, what: impl Into<String>) -> Violation {
    let what = what.into();
    Violation { invariant, what }
}

/// What can be read of one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadDump {
    /// The thread.
    pub thread: Thread,
    /// Its runs, newest first.
    pub runs: Vec<Run>,
    /// Its checkpoints of all namespaces, newest first.
    pub checkpoints: Vec<CheckpointTuple>,
}

/// What can be read of some threads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dump {
    /// Those of the threads that exist.
    pub threads: BTreeMap<ThreadId, ThreadDump>,
    /// How much there is in the whole database, apart from what is still to be told.
    pub tally: Option<Tally>,
}

impl Dump {
    /// Reads everything about `threads`.
    pub async fn of(db: &dyn Database, threads: &[ThreadId]) -> Self {
        const ALL: Page = Page {
            limit: 100_000,
            offset: 0,
        };
        let mut dump = Self::default();
        for id in threads {
            let thread = db.thread(*id).await.expect("the database answers");
            let runs = db.runs(*id, RunFilter::default(), ALL).await;
            let checkpoints = db.checkpoints(*id, CheckpointQuery::default()).await;
            if let Some(thread) = thread {
                let read = ThreadDump {
                    thread,
                    runs: runs.expect("the database answers"),
                    checkpoints: checkpoints.expect("the database answers"),
                };
                dump.threads.insert(*id, read);
            }
        }
        let tally = db.tally().await.expect("the database answers");
        dump.tally = Some(Tally {
            untold: None,
            ..tally
        });
        dump
    }
}

/// Checks what must hold at every moment, and between two of them.
pub fn check_step(before: &Dump, after: &Dump) -> Result<(), Violation> {
    for (id, dump) in &after.threads {
        let in_flight = dump.runs.iter().filter(|run| !run.status.is_terminal());
        let busy = dump.thread.status == ThreadStatus::Busy;
        if busy != (in_flight.count() > 0) {
            return Err(violation("I9", format!("{:?}", dump.thread)));
        }
        let running = dump
            .runs
            .iter()
            .filter(|run| run.status == RunStatus::Running);
        if running.clone().count() > 1 {
            return Err(violation("I2", format!("two runs of {id} are running")));
        }
        for run in &dump.runs {
            if (run.status == RunStatus::Running) != run.worker_id.is_some() {
                return Err(violation("I2", format!("{run:?}")));
            }
        }
        let Some(before) = before.threads.get(id) else {
            continue;
        };
        for old in before.runs.iter().filter(|run| run.status.is_terminal()) {
            let new = dump.runs.iter().find(|run| run.id == old.id);
            if new.is_some_and(|new| new != old) {
                return Err(violation("I1", format!("{old:?} became {new:?}")));
            }
        }
        for old in &before.runs {
            let new = dump.runs.iter().find(|run| run.id == old.id);
            if new.is_some_and(|new| new.seq != old.seq || new.cancel < old.cancel) {
                return Err(violation("I6", format!("{old:?} became {new:?}")));
            }
        }
    }
    Ok(())
}

/// A run that the database accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The run.
    pub id: RunId,
    /// Whether somebody asked to roll it back, so that it may be gone.
    pub may_be_gone: bool,
    /// Whether its input must be in the thread: it had one that nobody asked to drop.
    pub keeps_input: bool,
}

/// Checks a thread that has come to rest: no run is in flight, no code executes.
///
/// `accepted` are all runs that were ever accepted on it, in the order of their turns, and
/// `executions` what was executed on it.
pub fn check_rest(
    dump: &ThreadDump,
    accepted: &[Accepted],
    executions: &[Execution],
) -> Result<(), Violation> {
    every_run_ended(dump, accepted)?;
    nothing_overlapped(executions)?;
    turns_were_kept(dump, accepted, executions)?;
    the_chain_is_whole(dump)?;
    nothing_is_left_of_the_discarded(dump, accepted)?;
    inputs_are_there(dump, accepted)?;
    the_status_follows(dump)
}

fn every_run_ended(dump: &ThreadDump, accepted: &[Accepted]) -> Result<(), Violation> {
    for accepted in accepted {
        match dump.runs.iter().find(|run| run.id == accepted.id) {
            Some(run) if !run.status.is_terminal() => {
                let invariant = if run.cancel.is_some() { "I6" } else { "I1" };
                return Err(violation(
                    invariant,
                    format!("{} is {}", run.id, run.status),
                ));
            }
            None if !accepted.may_be_gone => {
                return Err(violation("I1", format!("{} is lost", accepted.id)));
            }
            _ => {}
        }
    }
    Ok(())
}

fn nothing_overlapped(executions: &[Execution]) -> Result<(), Violation> {
    for pair in executions.windows(2) {
        if pair[0].ended.is_none_or(|ended| ended > pair[1].began) {
            return Err(violation(
                "I2",
                format!("{:?} overlaps {:?}", pair[0], pair[1]),
            ));
        }
    }
    match executions.last() {
        Some(last) if last.ended.is_none() => {
            Err(violation("I2", format!("{last:?} still executes")))
        }
        _ => Ok(()),
    }
}

fn turns_were_kept(
    dump: &ThreadDump,
    accepted: &[Accepted],
    executions: &[Execution],
) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    let started: Vec<_> = executions
        .iter()
        .map(|execution| execution.run_id)
        .filter(|run| seen.insert(*run))
        .collect();
    let expected: Vec<_> = accepted
        .iter()
        .map(|accepted| accepted.id)
        .filter(|run| seen.contains(run))
        .collect();
    if started != expected {
        let thread = dump.thread.id;
        let what = format!("on {thread} started {started:?}, not {expected:?}");
        return Err(violation("I4", what));
    }
    Ok(())
}

/// No checkpoint of the root namespace has two children, and runs don't interleave.
fn the_chain_is_whole(dump: &ThreadDump) -> Result<(), Violation> {
    let root = dump.checkpoints.iter().map(|tuple| &tuple.checkpoint);
    let root: Vec<_> = root.filter(|checkpoint| checkpoint.ns.is_empty()).collect();
    for pair in root.windows(2) {
        if pair[0].parent.as_ref() != Some(&pair[1].id) {
            return Err(violation(
                "I3",
                format!("the chain forks at {}", pair[0].id),
            ));
        }
    }
    let mut writers: Vec<_> = root.iter().map(|checkpoint| checkpoint.run_id).collect();
    writers.dedup();
    let stretches = writers.len();
    writers.sort_unstable();
    writers.dedup();
    if writers.len() < stretches {
        let what = "a run went on after its successor had written";
        return Err(violation("I3", what));
    }
    Ok(())
}

fn nothing_is_left_of_the_discarded(
    dump: &ThreadDump,
    accepted: &[Accepted],
) -> Result<(), Violation> {
    let exists = |id: RunId| dump.runs.iter().any(|run| run.id == id);
    let gone = accepted.iter().map(|accepted| accepted.id);
    let gone: BTreeSet<_> = gone.filter(|id| !exists(*id)).collect();
    let left = dump.checkpoints.iter().find(|tuple| {
        let writer = tuple.checkpoint.run_id;
        writer.is_some_and(|run| gone.contains(&run))
    });
    match left {
        Some(tuple) => Err(violation("I5", format!("{:?} was left", tuple.checkpoint))),
        None => Ok(()),
    }
}

fn inputs_are_there(dump: &ThreadDump, accepted: &[Accepted]) -> Result<(), Violation> {
    for accepted in accepted.iter().filter(|accepted| accepted.keeps_input) {
        if !dump.runs.iter().any(|run| run.id == accepted.id) {
            continue;
        }
        let inputs = dump.checkpoints.iter().filter(|tuple| {
            tuple.checkpoint.run_id == Some(accepted.id)
                && tuple
                    .checkpoint
                    .metadata
                    .get("source")
                    .is_some_and(|source| source == "input")
        });
        let times = inputs.count();
        if times != 1 {
            let what = format!("the input of {} was applied {times} times", accepted.id);
            return Err(violation("I7", what));
        }
    }
    Ok(())
}

fn the_status_follows(dump: &ThreadDump) -> Result<(), Violation> {
    let started = dump.runs.iter().filter(|run| run.attempt > 0);
    let last = started.max_by_key(|run| (run.updated_at, run.seq));
    let failed =
        last.is_some_and(|run| matches!(run.status, RunStatus::Error | RunStatus::Timeout));
    let facts = |unfinished| ThreadFacts {
        in_flight: false,
        failed,
        unfinished,
    };
    // Only the graph knows whether it is finished; both are possible here.
    let possible = [facts(false).status(), facts(true).status()];
    if possible.contains(&dump.thread.status) {
        return Ok(());
    }
    Err(violation("I9", format!("{:?} after {last:?}", dump.thread)))
}

/// Checks that a stream which was resumed after one of its events has the rest of them: `whole` is
/// what a reader got that never left.
pub fn check_resumed(whole: &[Event], after: &Event, resumed: &[Event]) -> Result<(), Violation> {
    let place = whole.iter().position(|event| event == after);
    let rest = place.map_or(whole, |place| &whole[place + 1..]);
    if rest == resumed {
        return Ok(());
    }
    let ids = |events: &[Event]| {
        events
            .iter()
            .map(|event| event.id.to_string())
            .collect::<Vec<_>>()
    };
    let what = format!(
        "after {} came {:?}, not {:?}",
        after.id,
        ids(resumed),
        ids(rest)
    );
    Err(violation("I8", what))
}
