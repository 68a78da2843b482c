//! The least that a durable server has to commit for a run: that it was accepted, and how it ended. Two
//! statements, each a transaction of its own, on tables with the keys and indexes that order runs;
//! no checkpoints, no lease, no outbox, no foreign keys.

use std::time::{Duration, Instant};

use anyhow::ensure;
use sqlx::postgres::PgConnection;
use sqlx::types::Uuid;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::task::JoinSet;

use super::gather;
use crate::results::Round;

const TABLES: &str = "
    create table threads (
        id uuid primary key, created_at timestamptz not null, updated_at timestamptz not null,
        metadata json not null, config json not null, status text not null,
        next_seq bigint not null, epoch bigint not null, claim uuid
    ) with (fillfactor = 70);
    create index threads_waiting on threads (updated_at) where claim is null and status = 'busy';
    create table thread_values (thread_id uuid primary key, \"values\" json not null);
    create table runs (
        id uuid primary key, thread_id uuid not null, assistant_id uuid not null,
        graph_id text not null, seq bigint not null, created_at timestamptz not null,
        updated_at timestamptz not null, status text not null, metadata json not null,
        kwargs json not null, output json, unique (thread_id, seq)
    ) with (fillfactor = 70);
    create unique index runs_one_running on runs (thread_id) where status = 'running';
    create index runs_in_flight on runs (thread_id, created_at, seq)
        where status in ('pending', 'running');";

/// The thread and the run, as they are accepted.
const ACCEPT: &str = "
    with thread as (
        insert into threads values ($1, now(), now(), '{}', '{}', 'busy', 2, 0, null)
    )
    insert into runs values ($2, $1, $2, 'echo', 1, now(), now(), 'pending', $3::json, $4::json)";

/// The run claimed and ended, the thread at rest with its values.
const FINISH: &str = "
    with run as (
        update runs set status = 'success', updated_at = now(), output = $2::json
        where id = $1 and status = 'pending' returning thread_id
    ), value as (
        insert into thread_values select thread_id, $2::json from run
    )
    update threads set status = 'idle', updated_at = now(), epoch = epoch + 1
    where id = (select thread_id from run)";

const METADATA: &str = r#"{"created_by":"system","graph_id":"echo",
    "assistant_id":"046b5dc7-2108-582c-9c6c-31d556d138f0"}"#;
const KWARGS: &str = r#"{"input":{"messages":[{"role":"human","content":"hello"}]},"command":null,
    "config":{"configurable":{"graph_id":"echo","user_id":"",
    "assistant_id":"046b5dc7-2108-582c-9c6c-31d556d138f0"},"metadata":{"created_by":"system"}},
    "context":{},"stream_mode":["values"],"durability":"async"}"#;
const OUTPUT: &str = r#"{"messages":[
    {"content":"hello","type":"human","id":"2c1b6f7a-93dc-4f78-8da8-081ee4f75c84"},
    {"content":"echo: hello","type":"ai","id":"e775e590-8e07-4bea-bab1-d57e88d23355"}]}"#;

/// A schema of its own in a database.
pub(crate) struct Ground {
    url: String,
    schema: String,
    connection: PgConnection,
}

/// How large a database is, in bytes.
pub(crate) async fn size(url: &str) -> anyhow::Result<i64> {
    let mut connection = PgConnection::connect(url).await?;
    let query = sqlx::query_scalar("select pg_database_size(current_database())");
    Ok(query.fetch_one(&mut connection).await?)
}

impl Ground {
    pub(crate) async fn prepare(url: &str) -> anyhow::Result<Self> {
        let schema = format!("runloom_floor_{}", std::process::id());
        let mut connection = PgConnection::connect(url).await?;
        let create = format!("create schema {schema}; set search_path to {schema}; {TABLES}");
        connection.execute(AssertSqlSafe(create)).await?;
        Ok(Self {
            url: url.to_owned(),
            schema,
            connection,
        })
    }

    /// What the figures depend on.
    pub(crate) async fn settings(&mut self) -> anyhow::Result<Vec<(String, String)>> {
        let query = "select name, setting from pg_settings
            where name in ('synchronous_commit', 'fsync', 'full_page_writes', 'server_version')";
        let rows: Vec<(String, String)> = sqlx::query_as(query)
            .fetch_all(&mut self.connection)
            .await?;
        let named = rows.into_iter().map(|(name, value)| match name.as_str() {
            "server_version" => ("postgres".to_owned(), value),
            _ => (name, value),
        });
        Ok(named.collect())
    }

    /// Removes all that was made.
    pub(crate) async fn remove(mut self) -> anyhow::Result<()> {
        let drop = format!("drop schema {} cascade", self.schema);
        self.connection.execute(AssertSqlSafe(drop)).await?;
        Ok(())
    }

    /// So many connections, each carrying runs one after the other.
    pub(crate) async fn round(&self, connections: usize, span: Duration) -> anyhow::Result<Round> {
        let mut ready = Vec::new();
        for _ in 0..connections {
            let mut connection = PgConnection::connect(&self.url).await?;
            let path = format!("set search_path to {}", self.schema);
            connection.execute(AssertSqlSafe(path)).await?;
            carry(&mut connection).await?;
            ready.push(connection);
        }
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for mut connection in ready {
            tasks.spawn(async move {
                let mut samples = Vec::new();
                while began.elapsed() < span {
                    let asked = Instant::now();
                    carry(&mut connection).await?;
                    samples.push(asked.elapsed());
                }
                connection.close().await?;
                anyhow::Ok(samples)
            });
        }
        gather(tasks, began, "runs_per_s").await
    }
}

/// One run from its acceptance to its end.
async fn carry(connection: &mut PgConnection) -> anyhow::Result<()> {
    let (thread, run) = (Uuid::from_u128(random()), Uuid::from_u128(random()));
    let accept = sqlx::query(ACCEPT)
        .bind(thread)
        .bind(run)
        .bind(METADATA)
        .bind(KWARGS);
    accept.execute(&mut *connection).await?;
    let finish = sqlx::query(FINISH).bind(run).bind(OUTPUT);
    let finished = finish.execute(&mut *connection).await?;
    ensure!(finished.rows_affected() == 1, "a run was not finished");
    Ok(())
}

/// An id that sorts by time, as those of a server do, so that indexes stay warm.
fn random() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let noise = STATE.hash_one(count);
    (u128::from(count) << 64) | u128::from(noise)
}
