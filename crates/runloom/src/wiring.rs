//! Which backend stands behind which port: the one place that names them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use runloom_bus::{LocalEventLog, LocalNotifier, local::Limits};
use runloom_core::bus::{EventLog, Notifier};
use runloom_core::clock::{Clock, SystemClock};
use runloom_core::database::Database;
use runloom_sqlite::{Config, Location, Sqlite};

use crate::cli::Dev;

/// Everything that the roles share.
pub(crate) struct Backends {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) notifier: Arc<dyn Notifier>,
    pub(crate) events: Arc<dyn EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The embedded backends: SQLite, and a bus inside this process.
pub(crate) async fn embedded(dev: &Dev) -> anyhow::Result<Backends> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let location = if dev.memory {
        Location::Memory
    } else {
        Location::Folder(dev.data.clone())
    };
    let config = Config {
        max_attempts: dev.worker.max_attempts.get(),
        ..Config::default()
    };
    let database = Sqlite::open(location, clock.clone(), config);
    let database = database.await.context("cannot open the database")?;
    Ok(Backends {
        database: Arc::new(database),
        notifier: Arc::new(LocalNotifier::new()),
        events: Arc::new(event_log(dev.gateway.stream_ttl)),
        clock,
    })
}

fn event_log(after_end: Duration) -> LocalEventLog {
    LocalEventLog::new(Limits {
        after_end,
        ..Limits::default()
    })
}
