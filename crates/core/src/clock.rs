//! Time, handed in.

use chrono::{DateTime, Utc};

/// Where a component takes the time from.
///
/// There is one authority for everything that is stored or compared (leases, due times, order of
/// acceptance): the clock of the database. Embedded databases are given one of these; a database
/// server uses its own. Nothing else compares stored times.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everybody is handed"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}
