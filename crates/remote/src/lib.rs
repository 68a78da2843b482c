//! Runs graphs of other languages: a pool of supervised child processes, each of which holds the graphs
//! of one project (`langgraph.json`) and executes many runs at once.
//!
//! The contract with the child is `docs/executor.md`; its other half is the Python package in
//! `python/`, which this crate carries.

pub mod executor;
pub mod frame;
mod logs;
mod measures;
pub mod peer;
pub mod pool;
pub mod process;
pub mod project;
pub mod protocol;
pub mod python;

pub use measures::describe_metrics;
