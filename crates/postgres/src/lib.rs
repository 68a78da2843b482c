//! The database port on Postgres 15 and later: for any number of gateways and workers.
//!
//! Every change is one transaction. It locks the rows of its threads first (several of them in the
//! order of their ids), and rows of runs only under the lock of their thread, so nothing waits in a
//! circle. Under the lock it loads the rows it concerns, lets the rules of [`runloom_core`] decide,
//! and writes them back: no rule is repeated in SQL, but the schema's constraints repeat what the
//! rules promise. Isolation is `read committed`: each statement after the lock sees what was
//! committed before the lock was granted.
//!
//! What happens with every run is one statement in the usual case, and what comes at the same time from
//! one process is one statement for all of it (`together.rs`).
//!
//! The time is the database's own, read once the lock is held, in whole microseconds.
//!
//! Nothing is kept in a connection beyond a transaction, so a pooler may stand in between. One that
//! lends connections for a transaction at a time (`PgBouncer` in `transaction` mode) must know
//! prepared statements, or be told apart with [`Config::prepared`].

mod assistants;
mod attempts;
mod census;
mod checkpoints;
mod checkup;
mod claims;
mod connections;
mod convert;
mod error;
mod items;
mod json;
mod lent;
mod outbox;
mod pruning;
mod puts;
mod queue;
mod retention;
mod rollback;
mod rows;
mod runs;
mod schema;
mod search;
mod server;
mod session;
mod settle;
mod shelf;
mod stops;
mod submit;
mod sweep;
mod threads;
mod together;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use runloom_core::clock::Clock;
use runloom_core::run::MAX_ATTEMPTS;
use sqlx::postgres::PgConnectOptions;
use tokio_util::task::TaskTracker;

use crate::assistants::ReadAssistant;
use crate::checkpoints::ReadCheckpoint;
use crate::claims::Claim;
use crate::connections::Connections;
use crate::puts::Put;
use crate::runs::ReadRun;
use crate::server::Server;
use crate::settle::Settle;
use crate::submit::{Grounds, Submit};
use crate::threads::MakeThread;
use crate::together::Together;

pub use crate::census::TABLES;
pub use crate::error::OpenError;
pub use crate::lent::describe_metrics;

/// How often something is tried that others can overtake.
const TRIES: u32 = 8;

/// What can be chosen about a database.
#[derive(Clone)]
pub struct Config {
    /// How many attempts a run gets before it fails.
    pub max_attempts: u32,
    /// How many connections there are at most.
    pub connections: u32,
    /// Whether connections remember the statements they have prepared, which makes most operations
    /// one round trip. `PgBouncer` in transaction mode can do that since 1.21 if
    /// `max_prepared_statements` is set; behind an older one say false.
    pub prepared: bool,
    /// How long the server may take to answer a statement before it counts as unavailable, because it
    /// is paused or cut off. More than the ten seconds after which the server itself gives up.
    pub patience: Duration,
    /// Whether an operation that happens often first tries to do with one round trip. Only tests say
    /// false, to see that it makes no difference.
    pub one_trip: bool,
    /// Replaces the database's clock. Only for tests, which need one that they can move.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_attempts: MAX_ATTEMPTS,
            connections: 16,
            prepared: true,
            patience: Duration::from_secs(15),
            one_trip: true,
            clock: None,
        }
    }
}

/// A database on a Postgres server.
pub struct Postgres {
    server: Server,
    grounds: Grounds,
    submissions: Together<Submit>,
    claims: Together<Claim>,
    puts: Together<Put>,
    settlements: Together<Settle>,
    runs: Together<ReadRun>,
    checkpoints: Together<ReadCheckpoint>,
    assistants: Together<ReadAssistant>,
    threads: Together<MakeThread>,
}

impl Postgres {
    /// The database at `url` (`postgres://user:password@host:port/database?sslmode=...`).
    /// Connects when it is first used, so it can be made before the server is there.
    pub fn connect(url: &str, config: Config) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url);
        let options = options.map_err(|error| OpenError::Address(error.to_string()))?;
        // Poolers refuse settings at the start of a connection that they do not know.
        let mut options = options.extra_float_digits(None);
        if options.get_application_name().is_none() {
            options = options.application_name("runloom");
        }
        Ok(Self {
            server: Server {
                connections: Connections::lazy(options, &config),
                config,
                tasks: TaskTracker::new(),
            },
            grounds: Grounds::default(),
            submissions: Together::default(),
            claims: Together::default(),
            puts: Together::default(),
            settlements: Together::default(),
            runs: Together::default(),
            checkpoints: Together::default(),
            assistants: Together::default(),
            threads: Together::default(),
        })
    }

    /// Ends all connections in order.
    pub async fn close(&self) {
        self.server.tasks.close();
        self.server.tasks.wait().await;
        self.server.connections.close().await;
    }
}
