//! What can go wrong, and what of it callers can do something about.

use std::path::PathBuf;

use runloom_core::database::DatabaseError;
use runloom_core::run::IllegalTransition;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A newer version of this program wrote it.
    #[error(
        "the database has schema {found}, this version of the program knows schemas up to {known}: \
         use the newer version that wrote it"
    )]
    NewerSchema {
        /// The schema of the file.
        found: i64,
        /// The newest one that is known here.
        known: i64,
    },
    /// The folder or a file in it cannot be made or opened.
    #[error("{}: {source}", .path.display())]
    Folder {
        /// What was to be opened.
        path: PathBuf,
        /// Why it was not.
        source: std::io::Error,
    },
    /// The database itself refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Why an operation ended early: for `?` inside of this crate.
#[derive(Debug)]
pub(crate) enum Error {
    /// The answer to the caller.
    Refused(DatabaseError),
    /// SQLite's own refusal.
    Sql(rusqlite::Error),
}

impl Error {
    /// What it is for callers.
    pub(crate) fn told(&self) -> DatabaseError {
        match self {
            Self::Refused(error) => shared(error),
            Self::Sql(error) => classify(error),
        }
    }
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl From<DatabaseError> for Error {
    fn from(error: DatabaseError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<IllegalTransition> for Error {
    fn from(error: IllegalTransition) -> Self {
        Self::Refused(DatabaseError::Internal(error.to_string()))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(DatabaseError::Internal(error.to_string()))
    }
}

impl From<Error> for DatabaseError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(error) => error,
            Error::Sql(error) => {
                let error = classify(&error);
                if matches!(error, Self::Internal(_)) {
                    tracing::error!(%error, "a statement failed");
                }
                error
            }
        }
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Database(error.into())
    }
}

/// SQLite's primary result codes that say something about the world rather than about us.
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const NO_MEMORY: i32 = 7;
    pub(super) const READ_ONLY: i32 = 8;
    pub(super) const IO: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANNOT_OPEN: i32 = 14;
    pub(super) const NOT_A_DATABASE: i32 = 26;
}

fn classify(error: &rusqlite::Error) -> DatabaseError {
    let unavailable = |text: &str| DatabaseError::Unavailable(text.to_owned());
    let code = error.sqlite_error().map(|error| error.extended_code & 0xff);
    match code {
        Some(code::BUSY | code::LOCKED) => unavailable("the database file is locked"),
        Some(code::NO_MEMORY) => unavailable("there is no memory left"),
        Some(code::READ_ONLY) => unavailable("the database file is read-only"),
        Some(code::FULL) => unavailable("the disk is full"),
        Some(code::CANNOT_OPEN) => unavailable("the database file cannot be opened"),
        Some(code::IO) => DatabaseError::Unavailable(format!(
            "the database file cannot be read or written: {error}"
        )),
        Some(code::CORRUPT | code::NOT_A_DATABASE) => {
            DatabaseError::Internal(format!("the database file is damaged: {error}"))
        }
        _ => DatabaseError::Internal(error.to_string()),
    }
}

/// The same error for somebody else whom it concerns.
pub(crate) fn shared(error: &DatabaseError) -> DatabaseError {
    match error {
        DatabaseError::Unavailable(text) => DatabaseError::Unavailable(text.clone()),
        DatabaseError::Internal(text) => DatabaseError::Internal(text.clone()),
        other => DatabaseError::Internal(other.to_string()),
    }
}
