//! What is searched: the small plans with every test run, the large ones by `make protocol`.

use runloom_core::run::MultitaskStrategy::{Enqueue, Interrupt};

use crate::model::{Planned, Protocol, Question};
use crate::search::{ANY, NONE, STOPPING, crowded, endless, holds, protocol, sees, short};
use crate::state::Budget;

/// One of each fault, one at a time.
fn single() -> Vec<(&'static str, Budget)> {
    vec![
        ("a crash", Budget { crashes: 1, ..NONE }),
        ("a pause", Budget { pauses: 1, ..NONE }),
        ("a lease that lapses", Budget { lapses: 1, ..NONE }),
        ("a drain", Budget { drains: 1, ..NONE }),
        ("a lost message", Budget { lost: 1, ..NONE }),
        ("a doubled wake-up", Budget { doubled: 1, ..NONE }),
        ("a hasty caller", Budget { hasty: 1, ..NONE }),
        ("a renewal at any time", Budget { beats: 1, ..NONE }),
        (
            "a restart of the database",
            Budget {
                restarts: 1,
                ..NONE
            },
        ),
        ("a late write", Budget { writes: 1, ..NONE }),
        ("a cancel", Budget { cancels: 1, ..NONE }),
    ]
}

fn one_stops_the_other(budget: Budget) -> Protocol {
    protocol(vec![endless(&[Enqueue]), short(STOPPING)], budget)
}

#[test]
fn any_three_runs_without_faults() {
    holds(
        "any three runs",
        protocol(vec![endless(&[Enqueue]), short(ANY), short(ANY)], NONE),
    );
    let silent = || Planned {
        input: false,
        ..short(ANY)
    };
    let script = vec![endless(&[Enqueue]), silent(), short(ANY)];
    holds("one of them without an input", protocol(script, NONE));
}

#[test]
fn two_runs_with_any_one_fault() {
    for (name, budget) in single() {
        holds(name, one_stops_the_other(budget));
    }
}

#[test]
fn a_run_with_one_attempt() {
    let crash = Budget { crashes: 1, ..NONE };
    let protocol = one_stops_the_other(crash);
    holds(
        "a crash in the only attempt",
        Protocol {
            max_attempts: 1,
            ..protocol
        },
    );
}

#[test]
fn two_threads_and_one_slot() {
    for claims_next in [true, false] {
        holds("two threads, one slot", crowded(NONE, claims_next));
        let crash = Budget { crashes: 1, ..NONE };
        holds(
            "two threads, one slot, a crash",
            crowded(crash, claims_next),
        );
        let lost = Budget { lost: 1, ..NONE };
        holds(
            "two threads, one slot, a lost message",
            crowded(lost, claims_next),
        );
    }
}

#[test]
fn from_every_moment_the_system_comes_to_rest_if_left_alone() {
    for (name, budget) in single() {
        // These have hundreds of thousands of moments; the large search has them.
        if budget.pauses + budget.lapses == 0 {
            let protocol = one_stops_the_other(budget);
            holds(
                &format!("rest after {name}"),
                Protocol {
                    question: Question::Rest,
                    ..protocol
                },
            );
        }
    }
}

#[test]
fn the_model_sees_what_it_must() {
    let crashed = Budget {
        crashes: 1,
        beats: 1,
        ..NONE
    };
    let script = vec![short(&[Enqueue]), short(&[Interrupt])];
    let mut seen = sees(&Protocol {
        max_attempts: 1,
        ..protocol(script.clone(), crashed)
    });
    for (_, budget) in single() {
        seen.extend(sees(&protocol(script.clone(), budget)));
    }
    let silent = Planned {
        input: false,
        ..endless(&[Enqueue])
    };
    let crashed = Budget { crashes: 1, ..NONE };
    seen.extend(sees(&protocol(vec![silent, short(STOPPING)], crashed)));
    for sighting in crate::properties::of(Question::Sightings) {
        assert!(seen.contains(&sighting.name), "never: {}", sighting.name);
    }
}

#[test]
#[ignore = "takes minutes: make protocol"]
fn large_any_three_runs_with_any_one_fault() {
    for (name, budget) in single() {
        let script = vec![endless(&[Enqueue]), short(ANY), short(ANY)];
        holds(&format!("any three runs, {name}"), protocol(script, budget));
    }
}

#[test]
#[ignore = "takes minutes: make protocol"]
fn large_two_runs_with_any_two_faults() {
    for (name, budget) in pairs() {
        holds(&name, one_stops_the_other(budget));
    }
}

#[test]
#[ignore = "takes a while: make protocol"]
fn large_from_every_moment_the_system_comes_to_rest_if_left_alone() {
    for (name, budget) in single() {
        let protocol = one_stops_the_other(budget);
        let name = format!("rest after {name}");
        holds(
            &name,
            Protocol {
                question: Question::Rest,
                ..protocol
            },
        );
    }
}

/// Two faults of different kinds, in any order; those that take longest come last.
fn pairs() -> Vec<(String, Budget)> {
    let mut pairs = Vec::new();
    let single = single();
    for (place, (one, first)) in single.iter().enumerate() {
        for (other, second) in &single[place + 1..] {
            pairs.push((format!("{one}, {other}"), first.and(*second)));
        }
    }
    pairs.sort_by_key(|(_, both)| both.pauses + both.lapses);
    pairs
}
