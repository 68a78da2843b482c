//! What must hold when a world has come to rest: the invariants of ARCHITECTURE.md.

use runloom_core::ids::RunId;
use runloom_core::run::{MultitaskStrategy, Run};
use runloom_core::thread::{ThreadFacts, ThreadStatus};
use runloom_testkit::invariants::{self, Dump, ThreadDump, check_rest};
use serde_json::Value;

use crate::executor::{messages, unfinished};
use crate::world::{Accepted, World};

/// What a scenario allows beyond what always holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowed {
    /// Runs may have been cancelled by hand before they started: their input need not be there.
    pub(crate) cancelled: bool,
    /// Runs may start in another order than they were accepted in: some were delayed.
    pub(crate) reordered: bool,
    /// Code may go on beside its successor: a clock is worse than leases allow. Its writes may not.
    pub(crate) beside: bool,
}

/// Panics if anything does not hold.
pub(crate) async fn check(world: &World, allowed: Allowed) {
    if !allowed.beside {
        let overlaps = world.acts.overlaps(world.thread);
        assert_eq!(overlaps, [], "I2: attempts overlapped");
        let late = world.acts.late_writes(world.thread);
        assert_eq!(late, [], "I3: a write was accepted after its successor's");
    }
    let dump = Dump::of(world.database.as_ref(), &[world.thread]).await;
    let Some(mut dump) = dump.threads.get(&world.thread).cloned() else {
        return;
    };
    dump.runs.sort_by_key(|run| (run.created_at, run.seq));
    let accepted = world.accepted.lock().unwrap().clone();
    let is_there = |run: &&Accepted| dump.runs.iter().any(|found| found.id == run.id);
    let gone: Vec<_> = accepted
        .iter()
        .filter(|run| !is_there(run))
        .cloned()
        .collect();
    let said = dump
        .checkpoints
        .first()
        .map(|head| messages(head, true))
        .unwrap_or_default();

    let rolled_back = allowed.cancelled
        || accepted
            .iter()
            .any(|run| run.strategy == MultitaskStrategy::Rollback);
    let known: Vec<_> = accepted
        .iter()
        .map(|run| invariants::Accepted {
            id: run.id,
            may_be_gone: rolled_back,
            // Checked below, by what is said.
            keeps_input: false,
        })
        .collect();
    if let Err(violation) = check_rest(&dump, &known, &[]) {
        panic!("{violation}");
    }
    all_are_over(world, &dump.runs, allowed);
    if !allowed.reordered {
        started_in_order(&world.acts.order(world.thread), &dump.runs);
    }
    inputs_are_kept(&dump.runs, &said, allowed);
    what_is_gone_is_not_said(&gone, &said);
    the_status_follows(&dump, allowed);
}

/// I1, and a terminal status tells the truth.
fn all_are_over(world: &World, runs: &[Run], allowed: Allowed) {
    for run in runs {
        assert!(run.status.is_terminal(), "I1: {} is {}", run.id, run.status);
        let fine = run.error.is_none() || input(run, "temper") == "Angry";
        assert!(fine, "I1: {} failed: {:?}", run.id, run.error);
        let last = world.acts.last(run.id);
        let stopped = last.is_none_or(|last| last <= run.updated_at);
        assert!(
            stopped || allowed.beside,
            "{} acted after it read {}",
            run.id,
            run.status
        );
    }
}

/// I4.
fn started_in_order(started: &[RunId], runs: &[Run]) {
    let accepted: Vec<_> = runs.iter().map(|run| run.id).collect();
    let started: Vec<_> = started
        .iter()
        .filter(|id| accepted.contains(id))
        .copied()
        .collect();
    let expected: Vec<_> = accepted
        .into_iter()
        .filter(|id| started.contains(id))
        .collect();
    assert_eq!(started, expected, "I4: the order of starts");
}

/// I5: of what is gone nothing is said.
fn what_is_gone_is_not_said(gone: &[Accepted], said: &[Value]) {
    for run in gone {
        let times = count(said, &run.text);
        assert_eq!(times, 0, "I5: {} is gone and its input is there", run.id);
    }
}

/// I7: what a user said is there, once, in the order in which it was accepted.
fn inputs_are_kept(runs: &[Run], said: &[Value], allowed: Allowed) {
    let mut place = 0;
    for run in runs {
        let text = input(run, "text");
        match count(said, &text) {
            1 => {}
            0 if allowed.cancelled => continue,
            times => panic!("I7: the input of {} is there {times} times", run.id),
        }
        let at = said
            .iter()
            .position(|message| message["content"] == *text)
            .expect("counted");
        assert!(
            allowed.reordered || at >= place,
            "I7: the input of {} is out of order",
            run.id
        );
        place = at;
    }
}

/// I9.
fn the_status_follows(dump: &ThreadDump, allowed: Allowed) {
    let last = dump.runs.iter().max_by_key(|run| run.updated_at);
    let facts = ThreadFacts {
        in_flight: false,
        failed: last.is_some_and(|run| run.error.is_some()),
        unfinished: dump.checkpoints.first().is_some_and(unfinished),
    };
    assert_ne!(
        dump.thread.status,
        ThreadStatus::Busy,
        "I9: nothing is in flight"
    );
    // A run that was cancelled before it started is the last to change without being the last to run.
    assert!(
        allowed.cancelled || dump.thread.status == facts.status(),
        "I9: {facts:?}"
    );
}

fn count(said: &[Value], text: &str) -> usize {
    said.iter()
        .filter(|message| message["content"] == *text)
        .count()
}

/// A field of a run's input.
fn input(run: &Run, field: &str) -> String {
    let input = run
        .kwargs
        .input
        .as_ref()
        .expect("runs have inputs here")
        .to_value();
    input[field].as_str().unwrap_or_default().to_owned()
}
