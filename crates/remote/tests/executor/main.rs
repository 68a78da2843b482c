//! Graphs in Python behind the executor port, in real processes.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod questions;
mod reloads;
mod runs;
mod stops;
mod support;
