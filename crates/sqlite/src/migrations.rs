//! The schemas, oldest first; forward only. Which of them a file has is noted in it, in the way of
//! sqlx, which wrote the first files.

use runloom_core::database::DatabaseError;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha384};

use crate::error::{Error, OpenError, Result};
use crate::statement::all;

/// One step from a schema to the next.
struct Migration {
    version: i64,
    description: &'static str,
    sql: &'static str,
}

/// All steps, by their files in `migrations/`.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        description: "init",
        sql: include_str!("../migrations/0001_init.sql"),
    },
    Migration {
        version: 2,
        description: "retention",
        sql: include_str!("../migrations/0002_retention.sql"),
    },
];

const APPLIED: &str = "create table if not exists _sqlx_migrations (
    version bigint primary key,
    description text not null,
    installed_on timestamp not null default current_timestamp,
    success boolean not null,
    checksum blob not null,
    execution_time bigint not null
)";

/// Brings the database to the newest schema. Refuses one that is newer, or other than it was.
pub(crate) fn migrate(connection: &Connection) -> Result<(), OpenError> {
    connection.execute_batch(APPLIED).map_err(Error::from)?;
    let applied: Vec<(i64, bool, Vec<u8>)> = all(
        connection,
        "select version, success, checksum from _sqlx_migrations order by version",
        (),
    )?;
    for (version, success, checksum) in &applied {
        judge(*version, *success, checksum)?;
    }
    for step in MIGRATIONS {
        if !applied.iter().any(|(version, ..)| *version == step.version) {
            apply(connection, step)?;
        }
    }
    Ok(())
}

/// Whether a step that was applied is one of ours, and was applied whole.
fn judge(version: i64, success: bool, checksum: &[u8]) -> Result<(), OpenError> {
    let known = MIGRATIONS
        .iter()
        .map(|step| step.version)
        .max()
        .unwrap_or(0);
    let step = MIGRATIONS.iter().find(|step| step.version == version);
    let trouble = match step {
        None if version > known => {
            return Err(OpenError::NewerSchema {
                found: version,
                known,
            });
        }
        None => "is not known here",
        Some(_) if !success => "was applied only in part",
        Some(step) if self::checksum(step) != checksum => "was another when it was applied",
        Some(_) => return Ok(()),
    };
    Err(DatabaseError::Internal(format!("migration {version} {trouble}")).into())
}

/// Takes one step, and notes it: all or nothing.
fn apply(connection: &Connection, step: &Migration) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(step.sql)?;
    // Nobody has read how long it took.
    transaction.execute(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (?, ?, true, ?, 0)",
        params![step.version, step.description, checksum(step)],
    )?;
    Ok(transaction.commit()?)
}

fn checksum(step: &Migration) -> Vec<u8> {
    Sha384::digest(step.sql).to_vec()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::MIGRATIONS;

    #[test]
    fn every_file_is_a_step() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let files = std::fs::read_dir(folder).unwrap();
        let name = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name();
        let mut names: Vec<_> = files
            .map(|file| name(file).into_string().unwrap())
            .collect();
        names.sort();
        let steps = MIGRATIONS.iter().map(|step| {
            let words = step.description.replace(' ', "_");
            format!("{:04}_{words}.sql", step.version)
        });
        assert_eq!(names, steps.collect::<Vec<_>>());
    }
}
