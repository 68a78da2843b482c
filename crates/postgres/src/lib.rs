//! The database port on Postgres 15 and later: for any number of gateways and workers.
//!
//! Every change is one transaction. It locks the rows of its threads first (several of them in the
//! order of their ids), and rows of runs only under the lock of their thread, so nothing waits in a
//! circle. Under the lock it loads the rows it concerns, lets the rules of [`runloom_core`] decide,
//! and writes them back: no rule is repeated in SQL, but the schema's constraints repeat what the
//! rules promise. Isolation is `read committed`: each statement after the lock sees what was
//! committed before the lock was granted.
//!
//! The time is the database's own, read once the lock is held, in whole microseconds.
//!
//! Nothing is kept in a connection beyond a transaction, so a pooler may stand in between. One that
//! lends connections for a transaction at a time (`PgBouncer` in `transaction` mode) must know
//! prepared statements, or be told apart with [`Config::prepared`].

mod assistants;
mod attempts;
mod checkpoints;
mod checkup;
mod claims;
mod connections;
mod convert;
mod error;
mod items;
mod json;
mod outbox;
mod pruning;
mod queue;
mod rollback;
mod rows;
mod runs;
mod schema;
mod search;
mod session;
mod settle;
mod shelf;
mod stops;
mod submit;
mod sweep;
mod threads;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use runloom_core::clock::Clock;
use runloom_core::run::MAX_ATTEMPTS;
use sqlx::postgres::PgConnectOptions;

use crate::claims::Claims;
use crate::connections::{Change, Connections};
use crate::error::Result;
use crate::session::Session;
use crate::submit::Grounds;

pub use crate::error::OpenError;

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
    connections: Connections,
    claims: Claims,
    grounds: Grounds,
    config: Config,
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
            connections: Connections::lazy(options, &config),
            claims: Claims::default(),
            grounds: Grounds::default(),
            config,
        })
    }

    /// Ends all connections in order.
    pub async fn close(&self) {
        self.connections.close().await;
    }
}

impl Postgres {
    /// A connection to read from, for single statements.
    async fn reader(&self) -> Result<Session> {
        self.connections.single().await
    }

    /// A connection to read several things from as they are at one moment.
    async fn moment(&self) -> Result<Session> {
        self.connections.moment().await
    }

    /// A session for a single statement that changes something, to be committed.
    async fn statement(&self) -> Result<Session> {
        if self.config.prepared {
            return self.connections.single().await;
        }
        self.connections.change().await
    }

    /// The time by the clock that was handed in; none where statements ask the database's own.
    fn set_time(&self) -> Option<DateTime<Utc>> {
        let clock = self.config.clock.as_ref();
        clock.map(|clock| convert::whole_micros(clock.now()))
    }

    /// Begins a change. It happens now; where it concerns a thread, when the thread is locked.
    async fn change(&self) -> Result<Change> {
        let session = self.connections.change().await?;
        Change::new(session, self.config.clock.clone(), self.config.max_attempts).await
    }
}
