//! Each rule left out, and the invariant that then breaks.

use runloom_core::run::MultitaskStrategy::{Enqueue, Interrupt};

use crate::model::Mutation;
use crate::properties::{ALONE, ENDS, FENCED, HELD, INNOCENT, KEPT, NOTHING_LEFT, STOPS};
use crate::search::{NONE, STOPPING, breaks, endless, protocol, short};
use crate::state::Budget;

fn one_after_the_other(budget: Budget) -> crate::model::Protocol {
    protocol(vec![short(&[Enqueue]), short(&[Enqueue])], budget)
}

fn one_stops_the_other(budget: Budget) -> crate::model::Protocol {
    protocol(vec![endless(&[Enqueue]), short(STOPPING)], budget)
}

#[test]
fn without_the_fence_a_late_write_lands() {
    let late = Budget { writes: 1, ..NONE };
    breaks(Mutation::NoFence, FENCED, one_stops_the_other(late));
    breaks(Mutation::NoFence, NOTHING_LEFT, one_stops_the_other(late));
}

#[test]
fn without_the_fence_a_late_settlement_frees_a_thread_that_is_held() {
    let paused = Budget { pauses: 1, ..NONE };
    breaks(Mutation::NoFence, ALONE, one_after_the_other(paused));
}

#[test]
fn a_reconciliation_that_forgets_claims_in_flight_starts_a_run_twice() {
    breaks(
        Mutation::ReconcileForgetsClaims,
        ALONE,
        one_stops_the_other(NONE),
    );
}

#[test]
fn without_a_reconciliation_a_claim_whose_answer_is_lost_holds_its_thread_for_ever() {
    let hasty = Budget { hasty: 1, ..NONE };
    breaks(Mutation::NoReconcile, ENDS, one_after_the_other(hasty));
}

#[test]
fn a_paused_worker_that_does_not_look_at_its_clock_executes_beside_its_successor() {
    let paused = Budget { pauses: 1, ..NONE };
    breaks(
        Mutation::ResumeWithoutClock,
        ALONE,
        one_after_the_other(paused),
    );
}

#[test]
fn a_signal_that_names_no_claim_stops_an_innocent_run() {
    let script = vec![short(&[Enqueue]), short(&[Interrupt]), short(&[Enqueue])];
    breaks(
        Mutation::SignalWithoutClaim,
        INNOCENT,
        protocol(script, NONE),
    );
}

#[test]
fn without_a_second_hint_a_lost_one_leaves_its_run_waiting() {
    let lost = Budget { lost: 1, ..NONE };
    breaks(Mutation::NoRehint, ENDS, one_after_the_other(lost));
}

#[test]
fn an_edge_triggered_sweep_misses_a_claim_that_came_late() {
    let crashed = Budget { crashes: 1, ..NONE };
    breaks(
        Mutation::EdgeTriggeredSweep,
        ENDS,
        one_after_the_other(crashed),
    );
}

#[test]
fn without_the_cancel_in_a_renewal_a_lost_signal_is_a_lost_interrupt() {
    let lost = Budget { lost: 1, ..NONE };
    breaks(
        Mutation::RenewalWithoutCancel,
        STOPS,
        one_stops_the_other(lost),
    );
}

#[test]
fn a_claim_without_the_lock_gives_one_thread_to_two_workers() {
    let doubled = Budget { doubled: 1, ..NONE };
    breaks(
        Mutation::ClaimWithoutLock,
        ALONE,
        one_after_the_other(doubled),
    );
    breaks(
        Mutation::ClaimWithoutLock,
        HELD,
        one_after_the_other(doubled),
    );
}

#[test]
fn without_visits_the_input_of_a_superseded_run_is_lost() {
    breaks(Mutation::NoVisit, KEPT, one_stops_the_other(NONE));
}
