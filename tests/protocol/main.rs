//! The coordination protocol as a model: every order in which claims, renewals, settlements,
//! signals, sweeps and faults can happen, for a few runs and workers, searched to the end.
//!
//! Where a rule is a pure function of the core, the model calls it. What drivers and workers do
//! around the rules is written down here once more, as small as possible; so a change of the
//! protocol is made here first. A rule that is left out (`Mutation`) must break an invariant, or it
//! is no rule.

mod actions;
mod database;
mod model;
mod mutations;
mod plans;
mod properties;
mod search;
mod state;
mod worker;
