//! The bus: hints and history between gateways and workers.
//!
//! [`local`] carries both inside one process, [`nats`] between machines. The first promises no more
//! than the second can: callers must not come to rely on what only a single process gives.

pub mod local;
pub mod nats;

pub use local::{LocalEventLog, LocalNotifier};
