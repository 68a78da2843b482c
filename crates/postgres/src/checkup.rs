//! What an operator should know about a database: whether it can be used, and how safely.

use chrono::{DateTime, Utc};
use runloom_core::checkup::Finding;
use runloom_core::clock::Clock;

use crate::Postgres;
use crate::error::Result;
use crate::session::Session;

/// The oldest Postgres that is tested.
const OLDEST: i32 = 150_000;

/// How far the clocks may be apart before it is worth a word, in milliseconds.
const SKEW: i64 = 1_000;

/// Connections that are left to others when one process' share is judged.
const SHARES: i64 = 4;

impl Postgres {
    /// Looks at everything that decides whether, and how safely, this database can be used. `clock`
    /// is that of this machine.
    pub async fn check(&self, clock: &dyn Clock) -> Vec<Finding> {
        let mut session = match self.server.moment().await {
            Ok(session) => session,
            Err(error) => {
                let error = crate::OpenError::from(error);
                return vec![Finding::fail(
                    format!("cannot reach the database: {error}"),
                    "check the address, that the server runs, and that this user may connect",
                )];
            }
        };
        let mut findings = vec![Finding::ok("the database answers")];
        match self.look(&mut session, clock).await {
            Ok(found) => findings.extend(found),
            Err(error) => {
                let error = crate::OpenError::from(error);
                findings.push(Finding::fail(
                    format!("cannot look at the server's settings: {error}"),
                    "give this user the usual rights to read settings",
                ));
            }
        }
        findings.push(match self.check_schema().await {
            Ok(()) => Finding::ok("the schema is the one that this version needs"),
            Err(error) => Finding::fail(error.to_string(), "see the message"),
        });
        findings
    }

    async fn look(&self, session: &mut Session, clock: &dyn Clock) -> Result<Vec<Finding>> {
        let number: i32 =
            scalar(session, "select current_setting('server_version_num')::int").await?;
        let name: String = scalar(session, "select current_setting('server_version')").await?;
        let before = clock.now();
        let theirs = scalar(session, "select clock_timestamp()").await?;
        let after = clock.now();
        let commit: String =
            scalar(session, "select current_setting('synchronous_commit')").await?;
        let names = "select current_setting('synchronous_standby_names')";
        let names: String = scalar(session, names).await?;
        let standbys: i64 = scalar(session, "select count(*) from pg_stat_replication").await?;
        let most = "select current_setting('max_connections')::bigint";
        let most: i64 = scalar(session, most).await?;
        let port = "select coalesce(inet_server_port(), 0)";
        let port: i32 = scalar(session, port).await?;
        Ok(vec![
            version(number, &name),
            skew(before, theirs, after),
            durability(&commit, &names, standbys),
            share(self.server.config.connections.into(), most),
            between(
                self.server.connections.port().into(),
                port,
                self.server.config.prepared,
            ),
        ])
    }
}

async fn scalar<T>(session: &mut Session, statement: &'static str) -> Result<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    Ok(sqlx::query_scalar(statement).fetch_one(session).await?)
}

fn version(number: i32, name: &str) -> Finding {
    if number < OLDEST {
        return Finding::fail(
            format!("Postgres {name} is too old"),
            "use Postgres 15 or newer",
        );
    }
    Finding::ok(format!("Postgres {name}"))
}

/// The clocks are compared with the middle of the time that the answer took.
fn skew(before: DateTime<Utc>, theirs: DateTime<Utc>, after: DateTime<Utc>) -> Finding {
    let ours = before + (after - before) / 2;
    let apart = (theirs - ours).num_milliseconds();
    let what = format!("the database's clock is {apart:+} ms from this machine's");
    if apart.abs() > SKEW {
        return Finding::warn(
            what,
            "synchronise both clocks: runs are timed by the database's, logs by this machine's",
        );
    }
    Finding::ok(what)
}

fn durability(commit: &str, names: &str, standbys: i64) -> Finding {
    if commit == "off" {
        return Finding::warn(
            "synchronous_commit is off: a crash of the server may lose runs that were accepted",
            "set synchronous_commit to on for this database",
        );
    }
    if standbys > 0 && (names.is_empty() || commit == "local") {
        return Finding::warn(
            format!("{standbys} standby(s), but commits do not wait for any"),
            "set synchronous_standby_names, or a failover may lose runs that were accepted",
        );
    }
    if names.is_empty() {
        return Finding::ok(format!(
            "synchronous_commit is {commit}; no standby is seen"
        ));
    }
    Finding::ok(format!("synchronous_commit is {commit}, for {names}"))
}

fn share(pool: i64, most: i64) -> Finding {
    let what = format!("this process may open {pool} of {most} connections");
    if pool * SHARES > most {
        return Finding::warn(
            what,
            "add up the processes: lower --database-pool, raise max_connections, or use a pooler",
        );
    }
    Finding::ok(what)
}

/// A pooler shows in the port: the server sees the pooler's connection, not ours. Zero stands for a
/// socket in the file system.
fn between(ours: i32, theirs: i32, prepared: bool) -> Finding {
    if theirs == 0 || ours == theirs {
        return Finding::ok("no pooler is seen");
    }
    let what = format!("a pooler or a forwarded port: asked on {ours}, answered from {theirs}");
    if prepared {
        return Finding::warn(
            what,
            "PgBouncer in transaction mode needs max_prepared_statements > 0, or \
             --database-prepared false here",
        );
    }
    Finding::ok(what)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use runloom_core::checkup::Grade;

    use super::*;

    #[test]
    fn old_servers_are_refused() {
        assert_eq!(version(140_011, "14.11").grade, Grade::Fail);
        assert_eq!(version(150_000, "15.0").grade, Grade::Ok);
    }

    #[test]
    fn clocks_are_compared_with_the_middle_of_the_question() {
        let at = |millis| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis);
        assert_eq!(skew(at(0), at(2_000), at(4_000)).grade, Grade::Ok);
        assert_eq!(skew(at(0), at(2_000), at(100)).grade, Grade::Warn);
        assert_eq!(skew(at(5_000), at(0), at(5_000)).grade, Grade::Warn);
    }

    #[test]
    fn settings_that_may_lose_accepted_runs_are_named() {
        let grade = |commit, names, standbys| durability(commit, names, standbys).grade;
        assert_eq!(grade("off", "", 0), Grade::Warn);
        assert_eq!(grade("on", "", 1), Grade::Warn);
        assert_eq!(grade("local", "a", 1), Grade::Warn);
        assert_eq!(grade("on", "a", 1), Grade::Ok);
        assert_eq!(grade("on", "", 0), Grade::Ok);
    }

    #[test]
    fn a_pool_that_takes_most_of_the_server_is_named() {
        assert_eq!(share(16, 100).grade, Grade::Ok);
        assert_eq!(share(50, 100).grade, Grade::Warn);
    }

    #[test]
    fn a_pooler_shows_in_the_port() {
        assert_eq!(between(5432, 5432, true).grade, Grade::Ok);
        assert_eq!(between(5432, 0, true).grade, Grade::Ok);
        assert_eq!(between(6432, 5432, true).grade, Grade::Warn);
        assert_eq!(between(6432, 5432, false).grade, Grade::Ok);
    }
}
