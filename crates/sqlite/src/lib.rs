//! The database port on SQLite: the embedded default, one file in a data folder, or memory.
//!
//! Every change is one `begin immediate` transaction on the only connection that writes; reads go
//! to a few connections of their own, which the write-ahead log lets see the last commit without
//! waiting. A change loads the rows it concerns, lets the rules of [`runloom_core`] decide, and
//! writes them back: no rule is repeated in SQL, but the schema's constraints repeat what the rules
//! promise.
//!
//! The clock is handed in at opening and read once per transaction, after the transaction has its
//! lock; times are kept in microseconds.

mod assistants;
mod attempts;
mod checkpoints;
mod connections;
mod convert;
mod error;
mod items;
mod pruning;
mod queue;
mod rollback;
mod rows;
mod runs;
mod search;
mod stops;
#[cfg(test)]
mod tests;
mod threads;

use std::path::PathBuf;
use std::sync::Arc;

use runloom_core::clock::Clock;
use runloom_core::run::MAX_ATTEMPTS;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::MutexGuard;

use crate::connections::{Change, Connections, FolderLock, Reader};
use crate::convert::{micros, time};
use crate::error::{Result, of_migration};

pub use crate::error::OpenError;

/// The schemas, oldest first; forward only.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a folder, which is made if need be. One process at a time.
    Folder(PathBuf),
    /// Nowhere but in memory; gone when it is dropped.
    Memory,
}

/// What can be chosen about a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many attempts a run gets before it fails.
    pub max_attempts: u32,
    /// How many connections read beside the one that writes.
    pub readers: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_attempts: MAX_ATTEMPTS,
            readers: 4,
        }
    }
}

/// A database in a file or in memory.
pub struct Sqlite {
    connections: Connections,
    clock: Arc<dyn Clock>,
    config: Config,
    _lock: Option<FolderLock>,
}

impl Sqlite {
    /// Opens the database at `location`, brought to the newest schema.
    ///
    /// Nobody else has it open, so whoever held a lease is gone: the next sweep frees what they
    /// held, without waiting for their leases to run out.
    pub async fn open(
        location: Location,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Result<Self, OpenError> {
        let (connections, lock) = match &location {
            Location::Memory => (Connections::memory().await?, None),
            Location::Folder(folder) => {
                let lock = FolderLock::take(folder)?;
                let file = folder.join("runloom.db");
                (Connections::file(&file, config.readers).await?, Some(lock))
            }
        };
        let database = Self {
            connections,
            clock,
            config,
            _lock: lock,
        };
        database.prepare().await?;
        Ok(database)
    }

    async fn prepare(&self) -> Result<(), OpenError> {
        let mut writer = self.connections.writer().await?;
        let known = MIGRATIONS
            .iter()
            .map(|step| step.version)
            .max()
            .unwrap_or(0);
        let migrated = MIGRATIONS.run(&mut *writer).await;
        migrated.map_err(|error| of_migration(error, known))?;
        let forgotten = sqlx::query!("delete from workers")
            .execute(&mut *writer)
            .await;
        forgotten.map_err(error::Error::from)?;
        Ok(())
    }

    /// Ends all connections in order. Dropping the database instead loses nothing, but leaves more
    /// to do for the next opening.
    pub async fn close(self) -> Result<(), OpenError> {
        Ok(self.connections.close().await?)
    }
}

impl Sqlite {
    /// A connection to read from.
    async fn reader(&self) -> Result<Reader<'_>> {
        self.connections.reader().await
    }

    /// The connection that writes.
    async fn writer(&self) -> Result<MutexGuard<'_, SqliteConnection>> {
        self.connections.writer().await
    }

    /// Begins a change. The time is read once the lock is held, so that changes are ordered by it.
    async fn change<'a>(&self, writer: &'a mut SqliteConnection) -> Result<Change<'a>> {
        let transaction = writer.begin_with("begin immediate").await?;
        // As precise as the columns: what is answered now is what is read later.
        let now = time(micros(self.clock.now()));
        Ok(Change::new(transaction, now, self.config.max_attempts))
    }
}
