//! What can go wrong, and what of it callers can do something about.

use runloom_core::database::DatabaseError;
use runloom_core::run::IllegalTransition;

use crate::session::{IDLED, READ_ONLY, STALE};

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is not one of a Postgres database.
    #[error("the database's address is not understood: {0}")]
    Address(String),
    /// A newer version of this program has migrated it.
    #[error(
        "the database has schema {found}, this version of the program knows schemas up to {known}: \
         use the newer version that migrated it"
    )]
    NewerSchema {
        /// The schema of the database.
        found: i64,
        /// The newest one that is known here.
        known: i64,
    },
    /// It has not been migrated to what this program needs.
    #[error(
        "the database has schema {found}, this version of the program needs schema {known}: \
         run `runloom migrate`"
    )]
    OlderSchema {
        /// The schema of the database; 0 if it has none.
        found: i64,
        /// The newest one that is known here.
        known: i64,
    },
    /// Its schema was made by something else than this program.
    #[error(
        "schema {version} of the database is not the one that this program makes: use a database \
         of its own, or restore a backup"
    )]
    ForeignSchema {
        /// The first schema that differs.
        version: i64,
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
    /// Postgres' own refusal.
    Sql(sqlx::Error),
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether Postgres refused because of the constraint `name`.
    pub(crate) fn violates(&self, name: &str) -> bool {
        let Self::Sql(sqlx::Error::Database(refusal)) = self else {
            return false;
        };
        refusal.constraint() == Some(name)
    }
}

impl From<DatabaseError> for Error {
    fn from(error: DatabaseError) -> Self {
        Self::Refused(error)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
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

/// Whether another try may end better although nobody repairs the statement, by the class of the
/// code (its first two letters) or the code.
fn is_passing(code: &str) -> bool {
    const CLASSES: [&str; 5] = [
        "08", // connections
        "40", // deadlocks, serialization
        "53", // no connection, memory or disk left
        "57", // shutdowns, cancelled statements
        "58", // the system below the server
    ];
    const CODES: [&str; 5] = [
        STALE, READ_ONLY, IDLED, "55P03", // a lock was not to be had in time
        "28000", // not let in, or not yet
    ];
    CLASSES.iter().any(|class| code.starts_with(class)) || CODES.contains(&code)
}

fn classify(error: &sqlx::Error) -> DatabaseError {
    let unavailable = |text: &str| DatabaseError::Unavailable(text.to_owned());
    match error {
        sqlx::Error::Database(refusal) => {
            let text = refusal.to_string();
            match refusal.code() {
                Some(code) if is_passing(&code) => DatabaseError::Unavailable(text),
                _ => DatabaseError::Internal(text),
            }
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
            DatabaseError::Unavailable(error.to_string())
        }
        sqlx::Error::PoolTimedOut => unavailable("no connection to it was to be had in time"),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
            unavailable("the connections to it are closed")
        }
        other => DatabaseError::Internal(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_passing;

    #[test]
    fn what_the_world_did_is_worth_another_try_and_what_we_did_is_not() {
        let passing = [
            "08006", "40P01", "40001", "53300", "53100", "57P01", "57P03", "57014", "25006",
            "55P03",
        ];
        assert!(passing.iter().all(|code| is_passing(code)));
        let ours = ["23505", "23503", "42P01", "42703", "22P02", "22021"];
        assert!(!ours.iter().any(|code| is_passing(code)));
    }
}
