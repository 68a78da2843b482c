//! Real processes that speak the protocol, start, misbehave and end.

mod outlive;
mod pool;
mod process;
mod start;
mod support;
