//! A database for each test, on the server that all tests share.

#![allow(dead_code, reason = "no test needs everything")]

use std::sync::Arc;

use runloom_postgres::{Config, Postgres};
use runloom_testkit::conformance::database::Fixture;
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::services::shared;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Whoever makes the template has this lock.
const LOCK: i64 = 0x7275_6e6c_6f6f_6d01;

/// A migrated database that goes when it is dropped.
pub(crate) struct Fresh {
    name: String,
    /// Its address.
    pub(crate) url: String,
}

impl Fresh {
    /// A copy of a database that is migrated once for all tests.
    pub(crate) async fn new() -> Self {
        let mut admin = admin().await;
        let template = template(&mut admin).await;
        let name = format!("test_{}", runloom_core::ids::RunId::new().0.simple());
        execute(
            &mut admin,
            &format!("create database {name} template {template}"),
        )
        .await;
        Self {
            url: url_of(&name),
            name,
        }
    }

    /// The crate's view of it.
    pub(crate) fn open(&self, config: Config) -> Postgres {
        Postgres::connect(&self.url, config).unwrap()
    }

    /// A connection behind the crate's back.
    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        // The test's own runtime cannot be waited for here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let mut admin = admin().await;
                execute(&mut admin, &format!("drop database {name} with (force)")).await;
            });
        });
        if !std::thread::panicking() {
            dropped.join().unwrap();
        }
    }
}

/// An empty database and the clock that it goes by.
pub(crate) async fn fixture(config: Config) -> Fixture {
    let (fresh, clock) = (Fresh::new().await, ManualClock::new());
    let config = Config {
        clock: Some(clock.clone()),
        ..config
    };
    Fixture::new(Arc::new(fresh.open(config)), clock).keeping(fresh)
}

pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(connection).await.unwrap();
}

async fn admin() -> PgConnection {
    PgConnection::connect(&shared::database_url())
        .await
        .unwrap()
}

/// The address of the database `name` on the shared server.
fn url_of(name: &str) -> String {
    let url = shared::database_url();
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// The name of the database that has this version's schema; made by whichever test comes first.
async fn template(admin: &mut PgConnection) -> String {
    let steps = sqlx::migrate!("./migrations");
    let newest = steps.iter().next_back().unwrap();
    let mark = u64::from_be_bytes(newest.checksum[..8].try_into().unwrap());
    let name = format!("template_{mark:x}");
    if is_ready(admin, &name).await {
        return name;
    }
    execute(admin, &format!("select pg_advisory_lock({LOCK})")).await;
    if !is_ready(admin, &name).await {
        execute(
            admin,
            &format!("drop database if exists {name} with (force)"),
        )
        .await;
        execute(admin, &format!("create database {name}")).await;
        let database = Postgres::connect(&url_of(&name), Config::default()).unwrap();
        database.migrate().await.unwrap();
        database.close().await;
        execute(admin, &format!("alter database {name} is_template true")).await;
    }
    execute(admin, &format!("select pg_advisory_unlock({LOCK})")).await;
    name
}

async fn is_ready(admin: &mut PgConnection, name: &str) -> bool {
    let found = sqlx::query("select 1 from pg_database where datname = $1 and datistemplate");
    found
        .bind(name)
        .fetch_optional(admin)
        .await
        .unwrap()
        .is_some()
}
