//! The schema: what there is of it, and how it becomes the newest.

use sqlx::migrate::Migrator;
use sqlx::raw_sql;

use crate::Postgres;
use crate::error::{Error, OpenError, Result};
use crate::session::Session;

/// The schemas, oldest first; forward only. A step leaves those working that know only the schemas
/// before it, so that the database is migrated first and the processes are replaced afterwards.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Whoever migrates has this lock.
const LOCK: i64 = 0x7275_6e6c_6f6f_6d00;

/// What was applied; of the shape that the migration library's own tools know.
const TABLE: &str = "create table if not exists _sqlx_migrations (
    version bigint primary key,
    description text not null,
    installed_on timestamptz not null default now(),
    success boolean not null,
    checksum bytea not null,
    execution_time bigint not null
)";

impl Postgres {
    /// Brings the database to the newest schema, all or nothing. Where several do it at once, one
    /// does and the others wait for it.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        let mut session = self.server.connections.migration().await?;
        // The migration library itself takes a lock that would outlive the transaction, which a
        // pooler does not allow.
        sqlx::query!("select pg_advisory_xact_lock($1)", LOCK)
            .execute(&mut session)
            .await
            .map_err(Error::from)?;
        let applied = applied(&mut session).await?;
        judge(&applied)?;
        if applied.is_empty() {
            let made = raw_sql(TABLE).execute(&mut session).await;
            made.map_err(Error::from)?;
        }
        for step in MIGRATIONS.iter().skip(applied.len()) {
            apply(&mut session, step).await?;
        }
        Ok(session.commit().await?)
    }

    /// Refuses a database whose schema is not the one that this program makes.
    pub async fn check_schema(&self) -> Result<(), OpenError> {
        let mut session = self.server.moment().await?;
        let applied = applied(&mut session).await?;
        judge(&applied)?;
        let newest = |steps: &[i64]| steps.last().copied().unwrap_or(0);
        let known: Vec<_> = MIGRATIONS.iter().map(|step| step.version).collect();
        let applied: Vec<_> = applied.iter().map(|(version, _)| *version).collect();
        if applied.len() < known.len() {
            return Err(OpenError::OlderSchema {
                found: newest(&applied),
                known: newest(&known),
            });
        }
        Ok(())
    }
}

/// The version and the checksum of each step that was applied, oldest first.
async fn applied(session: &mut Session) -> Result<Vec<(i64, Vec<u8>)>> {
    let exists =
        sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "exists!""#);
    if !exists.fetch_one(&mut *session).await? {
        return Ok(Vec::new());
    }
    let applied = sqlx::query_as(
        "select version, checksum from _sqlx_migrations where success order by version",
    );
    Ok(applied.fetch_all(session).await?)
}

/// Refuses what was applied if it does not begin like the steps that are known here.
fn judge(applied: &[(i64, Vec<u8>)]) -> Result<(), OpenError> {
    let mut known = MIGRATIONS.iter();
    let mut newest = 0;
    for (version, checksum) in applied {
        match known.next() {
            Some(step) if step.version == *version && *step.checksum == **checksum => {
                newest = step.version;
            }
            None => {
                return Err(OpenError::NewerSchema {
                    found: *version,
                    known: newest,
                });
            }
            Some(_) => return Err(OpenError::ForeignSchema { version: *version }),
        }
    }
    Ok(())
}

async fn apply(session: &mut Session, step: &sqlx::migrate::Migration) -> Result<()> {
    raw_sql(step.sql.clone()).execute(&mut *session).await?;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values ($1, $2, true, $3, -1)",
    )
    .bind(step.version)
    .bind(&*step.description)
    .bind(&*step.checksum)
    .execute(session)
    .await?;
    Ok(())
}
