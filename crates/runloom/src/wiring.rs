//! Which backend stands behind which port: the one place that names them.

mod servers;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use runloom_bus::{LocalEventLog, LocalNotifier, local::Limits};
use runloom_core::bus::{EventLog, Notifier};
use runloom_core::clock::{Clock, SystemClock};
use runloom_core::database::{Database, Outbox};
use runloom_core::lifecycle::LifecycleFeed;
use runloom_core::service::ServiceHost;
use runloom_sqlite::{Config, Location, Sqlite};

use crate::cli::{EmbeddedArgs, WorkerArgs};

/// Everything that the roles share.
pub(crate) struct Backends {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) notifier: Arc<dyn Notifier>,
    pub(crate) events: Arc<dyn EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) integration: Option<Integration>,
    /// Where everything is kept, for people.
    pub(crate) place: String,
}

/// How other systems hear of runs and call the API without HTTP.
pub(crate) struct Integration {
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) feed: Arc<dyn LifecycleFeed>,
    pub(crate) host: Arc<dyn ServiceHost>,
}

/// The embedded backends: SQLite, and a bus inside this process.
pub(crate) async fn embedded(
    store: &EmbeddedArgs,
    worker: &WorkerArgs,
) -> anyhow::Result<Backends> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (location, place) = if store.memory {
        (Location::Memory, "in memory, gone at the end".to_owned())
    } else {
        let folder = std::path::absolute(&store.data).unwrap_or_else(|_| store.data.clone());
        let place = folder.display().to_string();
        (Location::Folder(store.data.clone()), place)
    };
    let config = Config {
        max_attempts: worker.max_attempts.get(),
        ..Config::default()
    };
    let database = Sqlite::open(location, clock.clone(), config);
    let database = database.await.context("cannot open the database")?;
    Ok(Backends {
        database: Arc::new(database),
        notifier: Arc::new(LocalNotifier::new()),
        events: Arc::new(event_log(store.stream_ttl)),
        clock,
        // Nobody else could be there to listen or to call.
        integration: None,
        place,
    })
}

pub(crate) use servers::{check, migrate, servers};

fn event_log(after_end: Duration) -> LocalEventLog {
    LocalEventLog::new(Limits {
        after_end,
        ..Limits::default()
    })
}
