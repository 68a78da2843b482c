//! What must hold when a world has come to rest: the invariants of ARCHITECTURE.md.

use runloom_core::checkpoint::CheckpointQuery;
use runloom_core::run::{MultitaskStrategy, Run};
use runloom_core::thread::{ThreadFacts, ThreadStatus};
use serde_json::Value;

use crate::executor::{messages, unfinished};
use crate::world::World;

/// What a scenario allows beyond what always holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowed {
    /// Runs may have been cancelled by hand before they started: their input need not be there.
    pub(crate) cancelled: bool,
    /// Runs may have failed for good: a killed worker can use up attempts.
    pub(crate) failed: bool,
    /// Runs may start in another order than they were accepted in: some were delayed.
    pub(crate) reordered: bool,
}

/// Panics if anything does not hold.
pub(crate) async fn check(world: &World, allowed: Allowed) {
    assert_eq!(
        world.acts.overlaps(world.thread),
        [],
        "I2, I3: attempts overlapped"
    );
    let Some(thread) = world
        .database
        .thread(world.thread)
        .await
        .expect("an answer")
    else {
        return;
    };
    let accepted = world.accepted.lock().unwrap().clone();
    let mut runs: Vec<Run> = Vec::new();
    let mut discarded = Vec::new();
    for run in &accepted {
        match world
            .database
            .run(Some(world.thread), run.id)
            .await
            .expect("an answer")
        {
            Some(found) => runs.push(found),
            None => discarded.push(run.id),
        }
    }

    for run in &runs {
        assert!(run.status.is_terminal(), "I1: {} is {}", run.id, run.status);
        let fine = allowed.failed || run.error.is_none() || temper(run) == "Angry";
        assert!(fine, "I1: {} failed: {:?}", run.id, run.error);
        if let Some(last) = world.acts.last(run.id) {
            assert!(
                last <= run.updated_at,
                "{} acted after it read {}",
                run.id,
                run.status
            );
        }
    }

    runs.sort_by_key(|run| (run.created_at, run.seq));
    let started: Vec<_> = world.acts.order(world.thread);
    let started: Vec<_> = started
        .iter()
        .filter(|id| runs.iter().any(|run| run.id == **id))
        .collect();
    let expected: Vec<_> = runs
        .iter()
        .map(|run| &run.id)
        .filter(|id| started.contains(id))
        .collect();
    assert!(
        allowed.reordered || started == expected,
        "I4: {started:?}, not {expected:?}"
    );

    let everything = CheckpointQuery::default();
    let checkpoints = world
        .database
        .checkpoints(world.thread, everything)
        .await
        .expect("an answer");
    for pair in checkpoints.windows(2) {
        let (newer, older) = (&pair[0].checkpoint, &pair[1].checkpoint);
        assert_eq!(
            newer.parent.as_ref(),
            Some(&older.id),
            "I3: the chain forks at {}",
            newer.id
        );
    }
    for tuple in &checkpoints {
        let run = tuple.checkpoint.run_id.expect("runs write here");
        assert!(
            !discarded.contains(&run),
            "I5: {run} was discarded and left {}",
            tuple.checkpoint.id
        );
    }

    let said = checkpoints
        .first()
        .map(|head| messages(head, true))
        .unwrap_or_default();
    inputs_are_kept(&runs, &said, allowed);
    for run in &discarded {
        let text = &accepted
            .iter()
            .find(|known| known.id == *run)
            .expect("accepted")
            .text;
        assert_eq!(
            count(&said, text),
            0,
            "I5: {run} was discarded and its input is there"
        );
        let rolled_back = accepted
            .iter()
            .any(|run| run.strategy == MultitaskStrategy::Rollback);
        assert!(rolled_back || allowed.cancelled, "I1: {run} was lost");
    }

    let unfinished = checkpoints.first().is_some_and(unfinished);
    let last = runs.iter().max_by_key(|run| run.updated_at);
    let failed = last.is_some_and(|run| run.error.is_some());
    let facts = ThreadFacts {
        in_flight: false,
        failed,
        unfinished,
    };
    if !allowed.cancelled {
        assert_eq!(thread.status, facts.status(), "I9");
    }
    assert_ne!(
        thread.status,
        ThreadStatus::Busy,
        "I9: nothing is in flight"
    );
}

/// I7: what a user said is there, once, in the order in which it was accepted.
fn inputs_are_kept(runs: &[Run], said: &[Value], allowed: Allowed) {
    let mut place = 0;
    for run in runs {
        let text = text(run);
        match count(said, &text) {
            1 => {}
            0 if allowed.cancelled || (allowed.failed && run.error.is_some()) => continue,
            times => panic!("I7: the input of {} is there {times} times", run.id),
        }
        let at = said
            .iter()
            .position(|message| message["content"] == text)
            .expect("counted");
        assert!(
            allowed.reordered || at >= place,
            "I7: the input of {} is out of order",
            run.id
        );
        place = at;
    }
}

fn count(said: &[Value], text: &str) -> usize {
    said.iter()
        .filter(|message| message["content"] == text)
        .count()
}

fn text(run: &Run) -> String {
    input(run)["text"].as_str().unwrap_or_default().to_owned()
}

fn temper(run: &Run) -> String {
    input(run)["temper"].as_str().unwrap_or_default().to_owned()
}

fn input(run: &Run) -> Value {
    run.kwargs
        .input
        .as_ref()
        .expect("runs have inputs here")
        .to_value()
}
