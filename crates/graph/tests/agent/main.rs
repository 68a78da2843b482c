//! The tool-calling agent on the engine, in paused time.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod stage;
mod tools;
mod turns;
