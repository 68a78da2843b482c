//! Storms: real gateways and workers on a real Postgres and a real NATS, all of them killed, stopped
//! and restarted by a seed while clients create, interrupt, roll back, cancel and stream. When all is
//! quiet again, a checker proves the invariants of ARCHITECTURE.md from what clients and graphs
//! wrote down and from what the database holds.
//!
//! `make chaos` makes ten minutes of storms; `make chaos SEED=7` one. The short one is part of
//! `make test`. A seed decides who is hit when and what the clients ask for; the rest is up to the
//! machine, so a seed repeats a storm, not a history.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod checker;
mod client;
mod dump;
mod faults;
mod fences;
mod history;
mod netns;
mod records;
mod report;
mod settings;
mod storm;
mod world;

use runloom_tests::process;
