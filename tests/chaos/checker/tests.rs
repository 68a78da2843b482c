//! The checker must be able to fail: a sound history, and one for each way to violate it.

use super::{Kind, check};
use crate::dump::{CheckpointRow, Dump, Message, RunRow, State, ThreadRow, Trace};
use crate::history::{
    Answer, Cancel, Creation, End, History, Join, Pause, Reading, Received, Sighting, Step,
    Strategy,
};

/// One thread, `t`. Run `a` took two steps, the second in another process after the first was killed;
/// run `c` came after it and succeeded, too. Run `b`, between them, was rolled back by `c`.
fn sound() -> (History, Dump) {
    let mut history = History {
        creations: vec![
            creation("a", Strategy::Enqueue, 1.0),
            creation("b", Strategy::Enqueue, 1.2),
            creation("c", Strategy::Rollback, 4.0),
        ],
        steps: vec![
            step("a", 1, "1", 1.5, 10),
            step("a", 2, "2", 3.0, 11),
            step("a", 2, "last", 3.3, 11),
            step("c", 1, "1", 5.0, 11),
            step("c", 1, "2", 5.3, 11),
            step("c", 1, "last", 5.6, 11),
        ],
        ..History::default()
    };
    let ends: Vec<_> = history
        .steps
        .iter()
        .map(|step| Step {
            begins: false,
            at: step.at + 0.2,
            ..step.clone()
        })
        .collect();
    history.steps.extend(ends);
    history.sightings = vec![
        sighting("a", 1.6, Some("running")),
        sighting("a", 2.5, Some("pending")),
        sighting("a", 4.5, Some("success")),
        sighting("b", 4.6, None),
    ];
    history.joins = vec![Join {
        run: "a".into(),
        answered: 4.4,
    }];
    history.readings = vec![Reading {
        run: "a".into(),
        received: vec![
            event(100, 0, "metadata"),
            custom(101, 1, 1, "1"),
            Received::Resumed,
            event(200, 0, "metadata"),
            custom(201, 1, 2, "2"),
            event(202, 2, "updates"),
        ],
        resumed: 1,
        end: Some(End {
            status: Some("success".into()),
        }),
        ended: 4.2,
        given_up: None,
    }];
    let dump = Dump {
        threads: vec![ThreadRow {
            id: "t".into(),
            status: "idle".into(),
            failed: false,
            unfinished: false,
            held_run: None,
        }],
        runs: vec![run("a", 1, 2), run("c", 3, 1)],
        checkpoints: vec![
            checkpoint("1", None, "a"),
            checkpoint("2", Some("1"), "a"),
            checkpoint("3", Some("2"), "c"),
        ],
        traces: [trace("a"), trace("c")].into(),
        states: [(
            "t".into(),
            State {
                status: "idle".into(),
                has_next: false,
                messages: vec![
                    human("a"),
                    ai("a", 1, "1"),
                    ai("a", 2, "2"),
                    ai("a", 2, "last"),
                    human("c"),
                    ai("c", 1, "1"),
                    ai("c", 1, "2"),
                    ai("c", 1, "last"),
                ],
                history: ["3", "2", "1"].map(str::to_owned).into(),
            },
        )]
        .into(),
    };
    (history, dump)
}

fn creation(run: &str, strategy: Strategy, asked: f64) -> Creation {
    Creation {
        thread: "t".into(),
        mark: mark(run),
        strategy,
        steps: 2,
        asked,
        answered: asked + 0.1,
        answer: Answer::Accepted(run.into()),
    }
}

fn mark(run: &str) -> String {
    format!("mark-{run}")
}

fn step(run: &str, attempt: u64, step: &str, at: f64, pid: u32) -> Step {
    Step {
        run: run.into(),
        thread: "t".into(),
        attempt,
        step: step.into(),
        begins: true,
        at,
        pid,
    }
}

fn sighting(run: &str, at: f64, status: Option<&str>) -> Sighting {
    Sighting {
        run: run.into(),
        asked: at,
        answered: at + 0.01,
        status: status.map(str::to_owned),
    }
}

fn event(millis: u64, number: u64, name: &str) -> Received {
    Received::Event {
        millis,
        number,
        name: name.into(),
        step: None,
    }
}

fn custom(millis: u64, number: u64, attempt: u64, step: &str) -> Received {
    Received::Event {
        millis,
        number,
        name: "custom".into(),
        step: Some((attempt, step.into())),
    }
}

fn run(id: &str, seq: i64, attempt: u64) -> RunRow {
    RunRow {
        id: id.into(),
        thread_id: "t".into(),
        seq,
        created_at: format!("2026-01-01T00:00:0{seq}"),
        updated_at: format!("2026-01-01T00:00:1{seq}"),
        status: "success".into(),
        attempt,
        superseded_by: None,
        mark: Some(mark(id)),
    }
}

fn checkpoint(id: &str, parent: Option<&str>, run: &str) -> CheckpointRow {
    CheckpointRow {
        thread_id: "t".into(),
        id: id.into(),
        parent: parent.map(str::to_owned),
        run_id: Some(run.into()),
    }
}

fn trace(run: &str) -> Trace {
    Trace {
        table: "checkpoints".into(),
        thread_id: "t".into(),
        run_id: run.into(),
    }
}

fn human(run: &str) -> Message {
    Message::Human(mark(run))
}

fn ai(run: &str, attempt: u64, step: &str) -> Message {
    Message::Ai {
        run: run.into(),
        attempt: Some(attempt),
        step: Some(step.into()),
    }
}

/// What the checker finds when the sound history is changed so.
fn found(change: impl FnOnce(&mut History, &mut Dump)) -> Vec<(&'static str, Kind)> {
    let (mut history, mut dump) = sound();
    change(&mut history, &mut dump);
    let verdict = check(&history, &dump);
    let violations = verdict.violations.into_iter();
    violations
        .map(|found| (found.invariant, found.kind))
        .collect()
}

fn state(dump: &mut Dump) -> &mut State {
    dump.states.get_mut("t").expect("the thread")
}

fn cancel(run: &str, action: Strategy, at: f64) -> Cancel {
    Cancel {
        run: run.into(),
        action,
        asked: at,
        answered: at + 0.01,
        code: Some(202),
    }
}

#[test]
fn a_sound_history_violates_nothing() {
    let (history, dump) = sound();
    let verdict = check(&history, &dump);
    assert!(verdict.violations.is_empty(), "{:?}", verdict.violations);
    let figures = verdict.figures;
    assert_eq!((figures.accepted, figures.rolled_back), (3, 1));
    assert_eq!((figures.attempts, figures.resumed), (3, 1));
    assert!((figures.interrupt_to_start[0] - 0.9).abs() < 1e-9);
}

#[test]
fn i1_an_accepted_run_that_is_gone_is_lost() {
    // Nobody rolls back any more, so `b` has no excuse.
    let lost = found(|history, _| history.creations[2].strategy = Strategy::Interrupt);
    assert_eq!(lost, [("I1", Kind::Lost)]);
    // A rollback that was answered before the run was asked for is none either.
    let lost = found(|history, _| history.creations[1].asked = 9.0);
    assert_eq!(lost, [("I1", Kind::Lost)]);
    // A cancel that was refused is none, one whose answer was lost may be.
    let cancelled = |code| {
        found(move |history, _| {
            history.creations[2].strategy = Strategy::Interrupt;
            let cancel = cancel("b", Strategy::Rollback, 2.0);
            history.cancels.push(Cancel { code, ..cancel });
        })
    };
    assert_eq!(cancelled(Some(404)), [("I1", Kind::Lost)]);
    assert_eq!(cancelled(None), []);
}

#[test]
fn i1_runs_that_nobody_asked_for_are_found() {
    let twice = found(|history, dump| {
        dump.runs.push(RunRow {
            id: "d".into(),
            seq: 4,
            ..run("c", 4, 1)
        });
        history.creations[1].answer = Answer::Unknown("lost".into());
    });
    assert!(twice.contains(&("I1", Kind::Unasked)), "{twice:?}");
    let refused = found(|history, _| history.creations[0].answer = Answer::Refused(409));
    assert!(refused.contains(&("I1", Kind::Unasked)), "{refused:?}");
    let unknown = found(|_, dump| dump.runs[0].mark = None);
    assert!(unknown.contains(&("I1", Kind::Unasked)), "{unknown:?}");
}

#[test]
fn i1_a_run_that_does_not_end_is_stuck() {
    let stuck = found(|history, dump| {
        dump.runs[1].status = "pending".into();
        dump.threads[0].status = "busy".into();
        state(dump).status = "busy".into();
        history.sightings.clear();
    });
    assert_eq!(stuck, [("I1", Kind::Stuck), ("I9", Kind::Stuck)]);
}

#[test]
fn i1_an_end_that_was_seen_does_not_change() {
    let stored = found(|history, _| {
        history
            .sightings
            .push(sighting("c", 7.0, Some("interrupted")));
    });
    assert_eq!(stored, [("I1", Kind::Changed)]);
    let seen = found(|history, _| history.sightings.push(sighting("a", 5.0, Some("running"))));
    assert!(seen.contains(&("I1", Kind::Changed)), "{seen:?}");
    let waited = found(|history, _| history.joins[0].answered = 2.0);
    assert_eq!(waited, [("I1", Kind::Changed)]);
}

#[test]
fn i2_two_attempts_at_once_are_found() {
    // The first attempt goes on after the second has begun.
    let overlap = found(|history, _| history.steps.push(step("a", 1, "2", 3.1, 10)));
    assert_eq!(overlap, [("I2", Kind::Overlapping)]);
    // Another run begins before this one has ended.
    let overlap = found(|history, _| history.steps.push(step("c", 1, "x", 3.4, 11)));
    assert!(overlap.contains(&("I2", Kind::Overlapping)), "{overlap:?}");
}

#[test]
fn i2_only_the_step_in_hand_of_a_paused_process_is_excused() {
    let late = |pid, at: f64, steps: usize| {
        found(move |history, _| {
            history.pauses.push(Pause {
                pid,
                from: 1.6,
                to: 3.05,
            });
            for number in 0..steps {
                history
                    .steps
                    .push(step("a", 1, &format!("late{number}"), at, 10));
            }
        })
    };
    assert_eq!(late(10, 3.1, 1), []);
    let overlap = [("I2", Kind::Overlapping)];
    assert_eq!(late(12, 3.1, 1), overlap, "another process was paused");
    assert_eq!(late(10, 3.7, 1), overlap, "it went on for too long");
    assert_eq!(
        late(10, 3.1, 2),
        overlap,
        "it began one step after the other"
    );
    let before = found(|history, _| {
        history.pauses.push(Pause {
            pid: 10,
            from: 3.02,
            to: 3.05,
        });
        history.steps.push(step("a", 1, "2", 3.1, 10));
    });
    assert_eq!(before, overlap, "it was taken over before it was paused");
}

#[test]
fn i2_a_step_is_begun_once_by_an_attempt_and_an_attempt_has_one_process() {
    let twice = found(|history, _| history.steps.push(step("c", 1, "1", 5.25, 11)));
    assert_eq!(twice, [("I2", Kind::Repeated)]);
    let two = found(|history, _| history.steps.push(step("c", 1, "x", 5.9, 12)));
    assert_eq!(two, [("I2", Kind::Repeated)]);
}

#[test]
fn i3_a_chain_that_forks_or_breaks_is_found() {
    let fork = found(|_, dump| dump.checkpoints.push(checkpoint("4", Some("2"), "c")));
    assert!(fork.contains(&("I3", Kind::Fork)), "{fork:?}");
    let broken = found(|_, dump| dump.checkpoints[2].parent = Some("9".into()));
    assert!(broken.contains(&("I3", Kind::Fork)), "{broken:?}");
    let mixed = found(|_, dump| {
        dump.checkpoints.push(checkpoint("4", Some("3"), "a"));
        state(dump).history.insert(0, "4".into());
    });
    assert_eq!(mixed, [("I3", Kind::Fork)]);
    let shown = found(|_, dump| {
        state(dump).history.pop();
    });
    assert_eq!(shown, [("I3", Kind::Disagreeing)]);
}

#[test]
fn i3_what_a_fenced_attempt_wrote_after_its_successor_began_is_found() {
    // The second step is in the thread as the first attempt's, though the second did it again.
    let landed = found(|_, dump| state(dump).messages[2] = ai("a", 1, "2"));
    assert_eq!(landed, [("I3", Kind::Fork)]);
    let doubled = found(|_, dump| state(dump).messages.insert(2, ai("a", 2, "1")));
    assert!(doubled.contains(&("I3", Kind::Repeated)), "{doubled:?}");
    let missing = found(|_, dump| {
        state(dump).messages.remove(2);
    });
    assert_eq!(missing, [("I3", Kind::Repeated)]);
}

#[test]
fn i4_runs_out_of_order_are_found() {
    // `c` was asked for after `a` was accepted.
    let accepted = found(|_, dump| dump.runs[1].seq = 0);
    assert!(accepted.contains(&("I4", Kind::OutOfOrder)), "{accepted:?}");
    let times = found(|_, dump| dump.runs[0].created_at = "2027".into());
    assert_eq!(times, [("I4", Kind::OutOfOrder)]);
    let started = found(|history, _| history.steps.push(step("b", 1, "1", 0.5, 10)));
    assert_eq!(started, [("I4", Kind::OutOfOrder)]);
    let said = found(|_, dump| state(dump).messages.rotate_left(4));
    assert_eq!(said, [("I4", Kind::OutOfOrder)]);
}

#[test]
fn i5_what_a_rolled_back_run_left_is_found() {
    let rows = found(|_, dump| {
        dump.traces.insert(trace("b"));
    });
    assert_eq!(rows, [("I5", Kind::Residue)]);
    let words = found(|_, dump| state(dump).messages.push(human("b")));
    assert_eq!(words, [("I5", Kind::Residue)]);
}

#[test]
fn i6_a_forgotten_stop_is_found() {
    let forgotten =
        |at| found(move |history, _| history.cancels.push(cancel("c", Strategy::Interrupt, at)));
    assert_eq!(forgotten(4.5), []);
    assert_eq!(forgotten(-11.0), [("I6", Kind::Forgotten); 3]);
}

#[test]
fn i7_an_input_is_there_once_unless_somebody_cancelled_it() {
    let missing = |status: &'static str, cancelled: bool| {
        found(move |history, dump| {
            state(dump).messages.truncate(4);
            dump.runs[1].status = status.into();
            if cancelled {
                history.cancels.push(cancel("c", Strategy::Interrupt, 4.5));
            }
        })
    };
    assert_eq!(missing("success", false), [("I7", Kind::Lost)]);
    assert_eq!(missing("interrupted", false), [("I7", Kind::Lost)]);
    assert_eq!(missing("interrupted", true), []);
    let twice = found(|_, dump| state(dump).messages.push(human("c")));
    assert_eq!(twice, [("I7", Kind::Repeated)]);
    let foreign = found(|_, dump| state(dump).messages.push(ai("a", 2, "x")));
    assert!(foreign.contains(&("I2", Kind::Overlapping)), "{foreign:?}");
}

#[test]
fn i8_gaps_doubles_and_wrong_ends_are_found() {
    let gap = [("I8", Kind::Gap)];
    let with = |change: fn(&mut Reading)| found(move |history, _| change(&mut history.readings[0]));
    assert_eq!(with(|read| drop(read.received.remove(0))), gap);
    assert_eq!(
        with(|read| read.received.push(event(203, 4, "updates"))),
        gap
    );
    assert_eq!(
        with(|read| read.received.insert(2, custom(101, 1, 1, "1"))),
        [gap[0]; 2]
    );
    // An attempt that begins without its first event.
    assert_eq!(with(|read| drop(read.received.remove(3))), gap);
    // A step that was done and not told, though the numbers go on.
    assert_eq!(
        with(|read| read.received[4] = event(201, 1, "updates")),
        gap
    );
    let announced = with(|read| {
        read.received[4] = Received::Announced("earlier events are no longer kept".into());
    });
    assert_eq!(announced, []);
    assert_eq!(with(|read| read.end = None), [("I8", Kind::Stuck)]);
    assert_eq!(
        with(|read| read.end = Some(End { status: None })),
        [("I8", Kind::Changed)]
    );
    assert_eq!(with(|read| read.ended = 3.1), [("I8", Kind::Changed)]);
}

#[test]
fn i9_a_status_that_does_not_follow_is_found() {
    let stored = found(|_, dump| dump.threads[0].status = "error".into());
    assert!(stored.contains(&("I9", Kind::Disagreeing)), "{stored:?}");
    let facts = found(|_, dump| {
        dump.threads[0].failed = true;
        dump.threads[0].status = "error".into();
        state(dump).status = "error".into();
    });
    assert_eq!(facts, [("I9", Kind::Disagreeing)]);
    let shown = found(|_, dump| state(dump).has_next = true);
    assert_eq!(shown, [("I9", Kind::Disagreeing)]);
    let held = found(|_, dump| dump.threads[0].held_run = Some("a".into()));
    assert_eq!(held, [("I9", Kind::Stuck)]);
}
