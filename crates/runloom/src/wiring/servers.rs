//! Postgres and NATS.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backon::{BackoffBuilder, ExponentialBuilder};
use runloom_bus::nats::{self, Nats};
use runloom_core::checkup::{Finding, Grade};
use runloom_core::clock::SystemClock;
use runloom_core::database::DatabaseError;
use runloom_core::health::{BusHealth, Health};
use runloom_postgres::{Config, OpenError, Postgres};
use tokio::time::sleep;

use super::{Backends, Integration};
use crate::cli::{DatabaseArgs, NatsArgs, Secret, ServerArgs, Storage, WorkerArgs};

/// The backends of a role for many machines. Waits for the database; without NATS it goes on, as NATS
/// comes back by itself.
pub(crate) async fn servers(
    args: &ServerArgs,
    worker: Option<&WorkerArgs>,
    health: &Health,
) -> anyhow::Result<Backends> {
    let database = postgres(&args.database, worker)?;
    if args.migrate.migrate {
        patiently(|| database.migrate()).await?;
    }
    patiently(|| database.check_schema()).await?;
    let bus = Nats::connect(options(&args.nats)).await?;
    if let nats::State::Down(why) | nats::State::Degraded(why) = &*bus.state().borrow() {
        tracing::warn!(
            why,
            "NATS is out of reach; going on without, which is slower"
        );
    }
    let state = bus.state();
    health.ask_bus(move || match &*state.borrow() {
        nats::State::Connected => BusHealth::Ok,
        nats::State::Degraded(_) => BusHealth::Degraded,
        nats::State::Down(_) => BusHealth::Disconnected,
    });
    let database = Arc::new(database);
    Ok(Backends {
        integration: Some(Integration {
            outbox: database.clone(),
            feed: bus.lifecycle(),
            host: bus.service_host(),
        }),
        notifier: bus.notifier(),
        events: bus.events(),
        clock: Arc::new(SystemClock),
        place: format!(
            "{}, {}",
            without_password(&args.database.database_url),
            urls(&args.nats)
                .map(without_password)
                .collect::<Vec<_>>()
                .join(", ")
        ),
        database,
    })
}

/// Brings the schema to the version of this binary.
pub(crate) async fn migrate(args: &DatabaseArgs) -> anyhow::Result<()> {
    let database = postgres(args, None)?;
    patiently(|| database.migrate()).await?;
    database.close().await;
    tracing::info!("the schema is the one that this version needs");
    Ok(())
}

/// What the servers say about themselves.
pub(crate) async fn check(
    database: &DatabaseArgs,
    nats: &NatsArgs,
) -> anyhow::Result<Vec<Finding>> {
    let database = postgres(database, None)?;
    let mut findings = database.check(&SystemClock).await;
    findings.extend(check_nats(options(nats)).await);
    Ok(findings)
}

async fn check_nats(options: nats::Options) -> Vec<Finding> {
    let bus = match Nats::connect(options).await {
        Ok(bus) => bus,
        Err(error) => return vec![Finding::fail(error.to_string(), "see the message")],
    };
    let found = bus.doctor().await.into_iter();
    found
        .map(|found| Finding {
            grade: match found.level {
                nats::Level::Good => Grade::Ok,
                nats::Level::Warning => Grade::Warn,
                nats::Level::Problem => Grade::Fail,
            },
            what: found.what,
            advice: found.advice.unwrap_or_default(),
        })
        .collect()
}

fn postgres(args: &DatabaseArgs, worker: Option<&WorkerArgs>) -> anyhow::Result<Postgres> {
    let defaults = Config::default();
    let config = Config {
        connections: args.database_pool.get(),
        prepared: args.database_prepared,
        max_attempts: worker.map_or(defaults.max_attempts, |worker| worker.max_attempts.get()),
        ..defaults
    };
    Postgres::connect(args.database_url.reveal(), config).context("--database-url")
}

fn options(args: &NatsArgs) -> nats::Options {
    let reveal = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.reveal().to_owned());
    nats::Options {
        prefix: args.nats_prefix.clone(),
        inbox_prefix: args.nats_inbox_prefix.clone(),
        name: args.nats_name.clone(),
        domain: args.nats_domain.clone(),
        api_prefix: args.nats_api_prefix.clone(),
        auth: nats::Auth {
            creds: args.nats_creds.clone(),
            nkey: args.nats_nkey.clone(),
            user: args.nats_user.clone(),
            password: reveal(&args.nats_password),
            token: reveal(&args.nats_token),
        },
        tls: nats::Tls {
            ca: args.nats_tls_ca.clone(),
            cert: args.nats_tls_cert.clone(),
            key: args.nats_tls_key.clone(),
            require: args.nats_require_tls,
            first: args.nats_tls_first,
        },
        manage_streams: args.nats_manage_streams,
        replicas: args.nats_replicas.get(),
        storage: match args.nats_storage {
            Storage::File => nats::Storage::File,
            Storage::Memory => nats::Storage::Memory,
        },
        event_shards: args.nats_event_shards.get().into(),
        event_bytes: u64::from(args.nats_max_bytes.get()) << 20,
        event_age: args.nats_event_age,
        lifecycle_age: args.nats_lifecycle_age,
        ..nats::Options::new(urls(args).map(Secret::reveal))
    }
}

fn urls(args: &NatsArgs) -> impl Iterator<Item = &Secret> {
    args.nats_url.iter()
}

/// Does what needs the database, again and again while it is out of reach.
async fn patiently<F>(operation: impl Fn() -> F) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), OpenError>>,
{
    let mut delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build();
    loop {
        match operation().await {
            Err(OpenError::Database(DatabaseError::Unavailable(why))) => {
                let delay = delays.next().unwrap_or_default();
                tracing::warn!(why, again_in = ?delay, "waiting for the database");
                sleep(delay).await;
            }
            done => return Ok(done?),
        }
    }
}

/// An address as people may see it.
fn without_password(url: &Secret) -> String {
    // Passwords may hide in the options, too.
    let url = url.reveal().split('?').next().unwrap_or_default();
    let place = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    match url.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://{place}"),
        None => place.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_who_and_with_what_password() {
        let shown = |url: &str| without_password(&url.parse().expect("any text"));
        let shown_url = shown("postgres://me:hidden@db:5432/runs?password=hidden");
        assert_eq!(shown_url, "postgres://db:5432/runs");
        assert_eq!(shown("nats://token@a:4222"), "nats://a:4222");
        assert_eq!(shown("a:4222"), "a:4222");
        assert_eq!(shown("postgres://me:p@ss/w@rd@db/x"), "postgres://db/x");
    }

    #[tokio::test(start_paused = true)]
    async fn the_database_is_waited_for_but_a_wrong_schema_is_refused() {
        let tries = std::sync::atomic::AtomicU32::new(0);
        let refused = patiently(async || {
            if tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3 {
                let away = DatabaseError::Unavailable("away".to_owned());
                return Err(OpenError::Database(away));
            }
            Err(OpenError::OlderSchema { found: 1, known: 2 })
        });
        let refused = refused.await.expect_err("refused").to_string();
        assert!(refused.contains("runloom migrate"), "{refused}");
        assert_eq!(tries.into_inner(), 4);
    }
}
