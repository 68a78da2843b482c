//! The races of double texting, played thousands of times with different interleavings.
//!
//! A seed decides everything: how long each step of a run takes, how long each call to the database
//! takes, which hints are lost or doubled, when whom is killed or paused. On the model the clock
//! is simulated, so a seed is a history: a failing one is printed and plays again with
//! `make races SEED=…`. On SQLite the same scenarios run in real time.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod acts;
mod chaos;
mod check;
mod clocks;
mod executor;
mod gateway;
mod play;
mod scenarios;
mod slow;
mod world;
