//! Runs through the gateway, on the model of the database and the bus within one process. A worker
//! is played by hand, so that a test decides when what happens.

#![expect(clippy::unwrap_used, reason = "what does not hold fails the test")]
#![expect(
    clippy::needless_pass_by_value,
    reason = "JSON is written where it is passed"
)]

mod support;

mod cancel;
mod create;
mod crowd;
mod disconnect;
mod faults;
mod frames;
mod join;
mod read;
mod resume;
mod service;
mod stall;
mod wait;
