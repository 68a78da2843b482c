//! A change under way.

use std::ops::Deref;

use chrono::{DateTime, Utc};
use rusqlite::Connection;

/// A change under way: the connection, which holds the write lock, and the time it happens at. What
/// it has done is undone if it fails, and answered once it is committed.
pub(crate) struct Change<'a> {
    pub(crate) connection: &'a Connection,
    /// When it happens, by the database's clock.
    pub(crate) now: DateTime<Utc>,
    /// How many attempts a run gets before it fails.
    pub(crate) max_attempts: u32,
}

impl Deref for Change<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}
