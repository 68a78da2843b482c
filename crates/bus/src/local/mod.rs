//! The bus inside one process.

mod event_log;
mod notifier;
mod run_log;
mod wakes;

pub use event_log::LocalEventLog;
pub use notifier::LocalNotifier;
pub use run_log::Limits;
