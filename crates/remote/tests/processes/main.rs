//! Real processes that speak the protocol, start, misbehave and end.

#![expect(clippy::unwrap_used, reason = "what does not hold fails the test")]

mod outlive;
mod pool;
mod process;
mod start;
mod storm;
mod support;
