//! Graphs that come with the crate.

mod agent;
mod tools;

pub use agent::{Agent, agent};
