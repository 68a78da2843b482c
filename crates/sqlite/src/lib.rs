//! The database port on SQLite: the embedded default, one file in a data folder, or memory.
//!
//! Connections belong to threads: one that writes, and a few that read, which the write-ahead log
//! lets see the last commit without waiting. A method of the port is one job for one of them, so it
//! costs one hop there and one back, however many statements it takes. A change loads the rows it
//! concerns, lets the rules of [`runloom_core`] decide, and writes them back: no rule is repeated in
//! SQL, but the schema's constraints repeat what the rules promise.
//!
//! Changes that wait at the same time are committed together (`writer.rs`). Each is undone alone if
//! it fails, and none is answered before the commit. A caller that goes away before its change was
//! begun has changed nothing; later it cannot know, as with any database at the end of a wire.
//!
//! The clock is handed in at opening and read once for each change, after the transaction has its
//! lock; times are kept in microseconds.

mod assistants;
mod attempts;
mod census;
mod change;
mod checkpoints;
mod connections;
mod convert;
mod crew;
mod error;
mod items;
mod job;
mod mailbox;
mod migrations;
mod pruning;
mod queue;
mod reader;
mod retention;
mod rollback;
mod rows;
mod runs;
mod search;
mod statement;
mod stops;
#[cfg(test)]
mod tests;
mod threads;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use runloom_core::clock::Clock;
use runloom_core::database::DatabaseError;
use runloom_core::run::MAX_ATTEMPTS;
use rusqlite::Connection;

use crate::change::Change;
use crate::connections::FolderLock;
use crate::crew::Crew;
use crate::error::Result;
use crate::job::{Job, Look};
use crate::reader::Moment;
use crate::statement::execute;
use crate::writer::Rules;

pub use crate::error::OpenError;

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
    /// How many threads read beside the one that writes.
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
    // Before the writer, so that the connection that ends last can fold the log into the file.
    /// None in memory, where there is but one connection.
    readers: Option<Crew<Look>>,
    writer: Crew<Box<dyn Job>>,
    clock: Arc<dyn Clock>,
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
        let opened =
            tokio::task::spawn_blocking(move || Self::open_here(&location, clock, &config));
        let opened = opened.await;
        opened.map_err(|error| DatabaseError::Internal(error.to_string()))?
    }

    /// The same, while the thread waits.
    fn open_here(
        location: &Location,
        clock: Arc<dyn Clock>,
        config: &Config,
    ) -> Result<Self, OpenError> {
        let (lock, file) = match location {
            Location::Memory => (None, None),
            Location::Folder(folder) => {
                let lock = FolderLock::take(folder)?;
                (Some(lock), Some(folder.join("runloom.db")))
            }
        };
        let writer = match &file {
            Some(file) => connections::writer(file)?,
            None => connections::memory()?,
        };
        migrations::migrate(&writer)?;
        execute(&writer, "delete from workers", ())?;
        let readers = file.map(|file| connections::readers(&file, config.readers));
        let readers = readers.transpose()?;
        let rules = Rules {
            clock: clock.clone(),
            max_attempts: config.max_attempts,
            most_time: writer::MOST_TIME,
        };
        Ok(Self {
            readers: readers.map(start_readers).transpose()?,
            writer: start_writer(writer, rules)?,
            clock,
            _lock: lock,
        })
    }

    /// Ends all connections in order, when the changes that wait are made. Dropping the database
    /// instead loses nothing either, but blocks the thread meanwhile.
    pub async fn close(self) -> Result<(), OpenError> {
        if let Some(readers) = self.readers {
            readers.close().await?;
        }
        Ok(self.writer.close().await?)
    }
}

fn start_readers(connections: Vec<Connection>) -> Result<Crew<Look>> {
    Crew::start("sqlite-reader", connections, reader::serve)
}

fn start_writer(connection: Connection, rules: Rules) -> Result<Crew<Box<dyn Job>>> {
    let rules = Arc::new(rules);
    Crew::start(
        "sqlite-writer",
        vec![connection],
        move |connection, mailbox| {
            writer::serve(connection, mailbox, &rules);
        },
    )
}

impl Sqlite {
    /// Looks something up, at one moment.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let Some(readers) = &self.readers else {
            return self.change(0, move |change| work(change)).await;
        };
        let (look, answer) = job::look(|connection| {
            let _moment = Moment::of(connection)?;
            work(connection)
        });
        readers.put(look);
        answer.get().await
    }

    /// Makes a change that brings so many bytes, roughly; answers when it is durable.
    async fn change<T: Send + 'static>(
        &self,
        weight: usize,
        work: impl FnOnce(&Change<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (job, answer) = job::change(weight, work);
        self.writer.put(job);
        answer.get().await
    }
}
