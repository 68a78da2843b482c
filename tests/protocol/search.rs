//! Searches, each to the end.

use std::time::Instant;

use runloom_core::run::MultitaskStrategy::{self, Enqueue, Interrupt, Reject, Rollback};
use stateright::{Checker, HasDiscoveries, Model};

use crate::model::{Mutation, Planned, Protocol, Question};
use crate::state::Budget;

pub(crate) const ANY: &[MultitaskStrategy] = &[Reject, Enqueue, Interrupt, Rollback];
pub(crate) const STOPPING: &[MultitaskStrategy] = &[Interrupt, Rollback];

/// Nothing goes wrong.
pub(crate) const NONE: Budget = Budget {
    crashes: 0,
    pauses: 0,
    lapses: 0,
    drains: 0,
    lost: 0,
    doubled: 0,
    hasty: 0,
    beats: 0,
    restarts: 0,
    writes: 0,
    cancels: 0,
};

/// A run that comes to its end.
pub(crate) fn short(strategies: &'static [MultitaskStrategy]) -> Planned {
    Planned {
        thread: 0,
        strategies,
        input: true,
        endless: false,
    }
}

/// A run that ends only when it is asked to.
pub(crate) fn endless(strategies: &'static [MultitaskStrategy]) -> Planned {
    Planned {
        endless: true,
        ..short(strategies)
    }
}

/// The protocol with two workers and one thread.
pub(crate) fn protocol(script: Vec<Planned>, budget: Budget) -> Protocol {
    Protocol {
        script,
        threads: 1,
        processes: 2,
        slots: 1,
        claims_next: true,
        max_attempts: 2,
        budget,
        mutation: None,
        question: Question::Invariants,
    }
}

/// Two threads, and one worker with one slot.
pub(crate) fn crowded(budget: Budget, claims_next: bool) -> Protocol {
    let other = |planned| Planned {
        thread: 1,
        ..planned
    };
    let script = vec![short(&[Enqueue]), other(short(&[Enqueue])), short(ANY)];
    Protocol {
        threads: 2,
        processes: 1,
        claims_next,
        ..protocol(script, budget)
    }
}

/// Searches everything, says how much that was, and fails if an invariant does not hold.
#[expect(clippy::print_stdout, reason = "the table of `make protocol`")]
pub(crate) fn holds(name: &str, protocol: Protocol) {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = protocol.checker().threads(threads).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!(
        "{name:<44} {states:>12} {depth:>6} {:>9.1?}",
        began.elapsed()
    );
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        let actions = path.into_actions().into_iter();
        let actions: Vec<_> = actions.map(|action| format!("{action:?}")).collect();
        panic!("{name}: {property} after {actions:#?}");
    }
    assert!(checker.is_done(), "{name}: the search was cut short");
}

/// Fails unless each thing that the model must know is seen.
pub(crate) fn sees(protocol: &Protocol) -> Vec<&'static str> {
    let protocol = Protocol {
        question: Question::Sightings,
        ..protocol.clone()
    };
    let checker = protocol.checker().spawn_bfs().join();
    checker.discoveries().into_keys().collect()
}

/// The invariants that break without a rule; the search ends with the first that is in `expected`.
pub(crate) fn breaks(mutation: Mutation, expected: &'static str, protocol: Protocol) {
    /// The mutations that never come to rest would be searched for ever.
    const ENOUGH: usize = 3_000_000;
    let protocol = Protocol {
        mutation: Some(mutation),
        ..protocol
    };
    let found = HasDiscoveries::AnyOf([expected].into());
    let search = protocol
        .checker()
        .finish_when(found)
        .target_state_count(ENOUGH);
    let checker = search.spawn_bfs().join();
    let broken = checker.discoveries();
    assert!(
        broken.contains_key(expected),
        "{mutation:?} breaks only {:?}",
        broken.keys()
    );
}
