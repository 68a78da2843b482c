//! A database for each test, on the server that all tests share.

#![allow(dead_code, reason = "no test needs everything")]

pub(crate) mod proxy;
pub(crate) mod scene;

use std::sync::Arc;
use std::time::Duration;

use runloom_postgres::{Config, Postgres};
use runloom_testkit::conformance::database::Fixture;
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::services::shared;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use self::proxy::Proxy;

/// Whoever makes the template has this lock.
const LOCK: i64 = 0x7275_6e6c_6f6f_6d01;

/// The first of the locks that tests take on databases, one each.
const FIRST_DATABASE: i64 = 0x7275_6e6c_6f6f_7000;

/// A migrated, empty database that is the test's own until it is dropped. The next test takes it
/// over: making and dropping one takes much longer than emptying it.
pub(crate) struct Fresh {
    /// Its address.
    pub(crate) url: String,
    /// Holds the lock that says whose it is.
    _owner: PgConnection,
}

impl Fresh {
    pub(crate) async fn new() -> Self {
        let mut owner = admin().await;
        let template = template(&mut owner).await;
        let mut number = FIRST_DATABASE;
        while !try_lock(&mut owner, number).await {
            number += 1;
        }
        let name = format!("{template}_{}", number - FIRST_DATABASE);
        let url = url_of(&name);
        if exists(&mut owner, &name).await {
            empty(&url).await;
        } else {
            execute(
                &mut owner,
                &format!("create database {name} template {template}"),
            )
            .await;
        }
        Self { url, _owner: owner }
    }

    /// The crate's view of it.
    pub(crate) fn open(&self, config: Config) -> Postgres {
        Postgres::connect(&self.url, config).unwrap()
    }

    /// The crate's view of it, by a clock of the test's own.
    pub(crate) fn open_by(&self, clock: &Arc<ManualClock>, mut config: Config) -> Postgres {
        config.clock = Some(clock.clone());
        self.open(config)
    }

    /// The crate's view of it, with somebody between it and the server.
    pub(crate) async fn open_behind_proxy(&self, config: Config) -> (Proxy, Postgres) {
        let proxy = Proxy::start(&self.url).await;
        let db = Postgres::connect(&proxy.url(&self.url), config).unwrap();
        (proxy, db)
    }

    /// A connection behind the crate's back.
    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }
}

async fn try_lock(owner: &mut PgConnection, number: i64) -> bool {
    let locked = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(number);
    locked.fetch_one(owner).await.unwrap()
}

async fn exists(admin: &mut PgConnection, name: &str) -> bool {
    let found = sqlx::query("select 1 from pg_database where datname = $1").bind(name);
    found.fetch_optional(admin).await.unwrap().is_some()
}

/// Empties all tables, once whatever the test before has left running there is ended.
async fn empty(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = "
        select pg_terminate_backend(pid, 10000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid();
        do $$
        begin
            execute (
                select 'truncate ' || string_agg(quote_ident(tablename), ', ') || ' cascade'
                from pg_tables where schemaname = 'public'
                    and tablename not in ('_sqlx_migrations', 'outbox_relay')
            );
        end $$;
        update outbox_relay set holder = null, until = '-infinity'";
    execute(&mut connection, sql).await;
}

/// An empty database and the clock that it goes by.
pub(crate) async fn fixture(config: Config) -> Fixture {
    let (fresh, clock) = (Fresh::new().await, ManualClock::new());
    let db = fresh.open_by(&clock, config);
    Fixture::new(Arc::new(db), clock).keeping(fresh)
}

pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(connection).await.unwrap();
}

/// Waits until nobody else is connected to the database.
pub(crate) async fn until_alone(connection: &mut PgConnection) {
    let others = "select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
            and backend_type = 'client backend'";
    while sqlx::query_scalar::<_, i64>(others)
        .fetch_one(&mut *connection)
        .await
        .unwrap()
        > 0
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
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
    let mark = steps.iter().fold(0, |mark, step| {
        mark ^ u64::from_be_bytes(step.checksum[..8].try_into().unwrap())
    });
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
    let found = found.bind(name).fetch_optional(admin).await;
    found.unwrap().is_some()
}
