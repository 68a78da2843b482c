//! A thread that reads.

use rusqlite::Connection;

use crate::error::Result;
use crate::job::Look;
use crate::mailbox::Mailbox;
use crate::statement::execute;

/// Looks up what is asked for, until nothing more will be.
pub(crate) fn serve(connection: &Connection, mailbox: &Mailbox<Look>) {
    while let Some(look) = mailbox.take() {
        look(connection);
    }
}

/// A moment of the database that several statements see.
pub(crate) struct Moment<'a>(&'a Connection);

impl<'a> Moment<'a> {
    /// The moment of the first statement from here on.
    pub(crate) fn of(connection: &'a Connection) -> Result<Self> {
        execute(connection, "begin", ())?;
        Ok(Self(connection))
    }
}

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        if let Err(error) = execute(self.0, "commit", ()) {
            tracing::error!(?error, "a reader is stuck");
        }
    }
}
