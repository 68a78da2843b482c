//! Connections: one that writes, some that read, and the lock on the data folder.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::{OpenError, Result};

/// How long a statement waits for somebody outside of this process, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many prepared statements a connection keeps: more than there are.
const STATEMENTS: usize = 256;

/// The connection that writes to a database of its own in memory, and reads from it.
pub(crate) fn memory() -> Result<Connection> {
    let connection = Connection::open_in_memory()?;
    set_up(&connection)?;
    Ok(connection)
}

/// A connection that writes to the file `path`, which is made if it is not there.
pub(crate) fn writer(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    set_up(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    // In pages: the log is folded into the file, and the disk waited for, four times less often than
    // by default, for a log of some sixteen megabytes.
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    Ok(connection)
}

/// Connections that read from a file that was opened for writing. The write-ahead log lets each see
/// the last commit without waiting.
pub(crate) fn readers(path: &Path, count: u32) -> Result<Vec<Connection>> {
    let open = |_| {
        let connection = writer(path)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    };
    (0..count.max(1)).map(open).collect()
}

fn set_up(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
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
