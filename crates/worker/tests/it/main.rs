//! The worker on the model of the database, in simulated time: every race that one process can play.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod checked_log;
mod drains;
mod interrupts;
mod leases;
mod lifecycle;
mod link;
mod odd;
mod relay;
mod retention;
mod storage;
mod stubborn;
mod support;
mod visits;
