//! The words, the rules and the ports of Runloom.
//!
//! Everything else points down to this crate. It does no I/O and never reads a clock: rules are pure
//! functions ([`admission`], [`run::RunStatus::after`], [`thread::ThreadFacts::status`]), what must
//! be stored or sent goes through a port ([`database`], [`bus`], [`executor`]).

pub mod admission;
pub mod assistant;
pub mod bus;
pub mod checkpoint;
pub mod checkup;
pub mod clock;
pub mod compose;
pub mod database;
pub mod effects;
pub mod event;
pub mod executor;
pub mod health;
pub mod ids;
pub mod item;
pub mod json;
pub mod lease;
pub mod lifecycle;
pub mod message;
pub mod namespace;
pub mod partial;
pub mod projection;
pub mod pruning;
pub mod registry;
pub mod run;
pub mod search;
pub mod service;
pub mod state;
pub mod thread;
pub mod trace;
