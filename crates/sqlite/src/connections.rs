//! Connections: one that writes, some that read, and the lock on the data folder.

use std::fs::{File, TryLockError};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, MutexGuard};

use crate::error::{OpenError, Result};

/// How long a statement waits for somebody outside of this process, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// All connections to one database.
pub(crate) struct Connections {
    writer: Mutex<SqliteConnection>,
    /// None in memory, where there is but one connection.
    file: Option<DatabaseFile>,
}

/// How to get more connections to a file.
struct DatabaseFile {
    options: SqliteConnectOptions,
    readers: SqlitePool,
}

impl Connections {
    /// A database of its own in memory.
    pub(crate) async fn memory() -> Result<Self> {
        let options = SqliteConnectOptions::new();
        let writer = SqliteConnection::connect_with(&options).await?;
        Ok(Self {
            writer: Mutex::new(writer),
            file: None,
        })
    }

    /// The database in the file `path`, which is made if it is not there.
    pub(crate) async fn file(path: &Path, readers: u32) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            // In pages: the log is folded into the file, and the disk waited for, four times less
            // often than by default, for a log of some sixteen megabytes.
            .pragma("wal_autocheckpoint", "4000");
        let writer = SqliteConnection::connect_with(&options).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(readers.max(1))
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.clone().pragma("query_only", "on"));
        Ok(Self {
            writer: Mutex::new(writer),
            file: Some(DatabaseFile { options, readers }),
        })
    }

    /// The connection that writes, for as long as the guard lives.
    pub(crate) async fn writer(&self) -> Result<MutexGuard<'_, SqliteConnection>> {
        let mut writer = self.writer.lock().await;
        if writer.is_in_transaction() {
            self.mend(&mut writer).await?;
        }
        Ok(writer)
    }

    /// Makes the connection usable after a change that was dropped. Where SQLite itself has ended
    /// the transaction, as it may when the disk is full, the driver still counts it as open and
    /// would never begin another: then the connection is replaced.
    async fn mend(&self, writer: &mut SqliteConnection) -> Result<()> {
        // A rollback may still be on its way; a ping comes back after it.
        writer.ping().await?;
        if let Some(file) = self.file.as_ref().filter(|_| writer.is_in_transaction()) {
            *writer = SqliteConnection::connect_with(&file.options).await?;
        }
        Ok(())
    }

    /// A connection to read from.
    pub(crate) async fn reader(&self) -> Result<Reader<'_>> {
        Ok(match &self.file {
            Some(file) => Reader::Own(file.readers.acquire().await?),
            None => Reader::Shared(self.writer().await?),
        })
    }

    /// Ends all connections in order, so that the write-ahead log is folded into the file.
    pub(crate) async fn close(self) -> Result<()> {
        if let Some(file) = self.file {
            file.readers.close().await;
        }
        Ok(self.writer.into_inner().close().await?)
    }
}

/// A connection to read from.
pub(crate) enum Reader<'a> {
    Own(PoolConnection<Sqlite>),
    Shared(MutexGuard<'a, SqliteConnection>),
}

impl Deref for Reader<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Own(connection) => connection,
            Self::Shared(connection) => connection,
        }
    }
}

impl DerefMut for Reader<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Own(connection) => connection,
            Self::Shared(connection) => connection,
        }
    }
}

/// A change under way: a transaction that holds the write lock, and the time it happens at.
/// Dropped before it is committed, it never was.
pub(crate) struct Change<'a> {
    transaction: Transaction<'a, Sqlite>,
    /// When it happens, by the database's clock.
    pub(crate) now: DateTime<Utc>,
    /// How many attempts a run gets before it fails.
    pub(crate) max_attempts: u32,
}

impl<'a> Change<'a> {
    pub(crate) fn new(
        transaction: Transaction<'a, Sqlite>,
        now: DateTime<Utc>,
        max_attempts: u32,
    ) -> Self {
        Self {
            transaction,
            now,
            max_attempts,
        }
    }

    /// Makes it durable and visible.
    pub(crate) async fn commit(self) -> Result<()> {
        Ok(self.transaction.commit().await?)
    }
}

impl Deref for Change<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

/// Keeps other processes out of a data folder. The kernel lets go of it however the process ends.
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock of `folder`, which is made if it is not there.
    pub(crate) fn take(folder: &Path) -> Result<Self, OpenError> {
        let failed = |path: &Path, source| OpenError::Folder {
            path: path.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let path: PathBuf = folder.join("runloom.lock");
        let file = File::create(&path).map_err(|error| failed(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(&path, error)),
        }
    }
}
