//! The bus: hints and history between gateways and workers.
//!
//! [`local`] carries both inside one process. It promises no more than a bus between machines can:
//! callers must not come to rely on what only a single process gives.

pub mod local;

pub use local::{LocalEventLog, LocalNotifier};
