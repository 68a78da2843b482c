//! The engine against a host that records, in paused time.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::needless_pass_by_value,
    reason = "`json!(…)` reads better without a `&`"
)]

mod begin;
mod bench;
mod breakpoints;
mod cancel;
mod cut;
mod durability;
mod interrupts;
mod messages;
mod nodes;
mod order;
mod property;
mod retries;
mod state;
mod subgraphs;
mod supersteps;
mod update;
