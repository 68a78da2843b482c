//! Connections: what statements go through, and the transactions that changes are.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use runloom_core::clock::Clock;
use runloom_core::database::ConnectionUse;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::Config;
use crate::convert::whole_micros;
use crate::error::Result;
use crate::lent::Lender;
use crate::session::Session;

/// How long to wait for a connection before the database counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a step of a migration may take, such as an index of a table with very many rows. Whoever
/// gives up earlier begins again, with everything locked once more.
const MIGRATION: Duration = Duration::from_hours(24);

/// Begins a change. The limits hold for its transaction only, so a pooler may lend the connection to
/// somebody else right after it. Whoever stops in the middle, paused or cut off, lets go of its locks
/// when the server has waited long enough.
const BEGIN: &str = "begin; set local lock_timeout = '5s'; set local statement_timeout = '10s'; \
    set local idle_in_transaction_session_timeout = '5s'";

/// Begins to read several things as they are at one moment.
const BEGIN_READING: &str = "begin isolation level repeatable read read only; \
    set local statement_timeout = '10s'; set local idle_in_transaction_session_timeout = '5s'";

/// All connections to one database.
#[derive(Clone)]
pub(crate) struct Connections {
    lender: Lender,
    prepared: bool,
    patience: Duration,
}

impl Connections {
    /// Connections that are made when they are needed.
    pub(crate) fn lazy(options: PgConnectOptions, config: &Config) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(config.connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A connection that broke while it was idle fails one statement, which is tried again.
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Self {
            lender: Lender::new(pool, ACQUIRE_TIMEOUT, config.patience),
            prepared: config.prepared,
            patience: config.patience,
        }
    }

    /// A connection for single statements, each of which is a transaction of its own.
    pub(crate) async fn single(&self) -> Result<Session> {
        if self.prepared {
            return Session::single(&self.lender, self.patience).await;
        }
        // Only within a transaction does a pooler keep a client on one server connection from the
        // preparation of a statement to its execution.
        self.begin(BEGIN_READING).await
    }

    /// A transaction that sees everything as it is now, whatever is committed meanwhile.
    pub(crate) async fn moment(&self) -> Result<Session> {
        self.begin(BEGIN_READING).await
    }

    /// A transaction that changes something.
    pub(crate) async fn change(&self) -> Result<Session> {
        self.begin(BEGIN).await
    }

    /// A transaction that may take as long as it needs.
    pub(crate) async fn migration(&self) -> Result<Session> {
        let mut session = self.begin("begin").await?;
        session.wait_for(MIGRATION);
        Ok(session)
    }

    async fn begin(&self, statement: &'static str) -> Result<Session> {
        Session::begin(&self.lender, statement, (self.prepared, self.patience)).await
    }

    /// The port that the server, or who stands before it, is asked on.
    pub(crate) fn port(&self) -> u16 {
        self.lender.pool().connect_options().get_port()
    }

    /// How they are used.
    pub(crate) fn usage(&self) -> ConnectionUse {
        self.lender.usage()
    }

    /// Ends all connections in order.
    pub(crate) async fn close(&self) {
        self.lender.close().await;
    }
}

/// A change under way: a transaction, and the time it happens at. Dropped before it is committed, it
/// never was.
pub(crate) struct Change {
    session: Session,
    clock: Option<Arc<dyn Clock>>,
    /// When it happens, by the database's clock: read again when a thread is locked, so that changes
    /// of one thread are ordered by it.
    pub(crate) now: DateTime<Utc>,
    /// How many attempts a run gets before it fails.
    pub(crate) max_attempts: u32,
}

impl Change {
    /// The change that the transaction `session` is.
    pub(crate) async fn new(
        session: Session,
        clock: Option<Arc<dyn Clock>>,
        max_attempts: u32,
    ) -> Result<Self> {
        let mut change = Self {
            session,
            clock,
            now: DateTime::UNIX_EPOCH,
            max_attempts,
        };
        change.read_clock().await?;
        Ok(change)
    }

    /// Reads the clock: from now on the change happens now.
    pub(crate) async fn read_clock(&mut self) -> Result<()> {
        self.now = match &self.clock {
            Some(clock) => whole_micros(clock.now()),
            None => {
                sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#)
                    .fetch_one(&mut self.session)
                    .await?
            }
        };
        Ok(())
    }

    /// Whether it happens by a clock that was handed in.
    pub(crate) fn has_own_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Makes it durable and visible.
    pub(crate) async fn commit(self) -> Result<()> {
        self.session.commit().await
    }
}

impl Deref for Change {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Change {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}
