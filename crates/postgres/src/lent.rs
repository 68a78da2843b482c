//! Connections that are lent, and those at hand for the next who asks.
//!
//! The pool asks the server after each use whether the connection is still good, which costs a round
//! trip as the statement itself did. So a connection that came back from an answered statement stays at
//! hand here. The last one goes first: it is warm on both sides. Once in a while each goes through the
//! pool, which closes what is too old or not needed any more.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Histogram, Unit, describe_histogram, histogram};
use runloom_core::database::ConnectionUse;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// How long a connection stays away from the pool, in use or not.
const AWAY: Duration = Duration::from_secs(30);

/// How long whoever asks for a connection waits for it.
const WAIT: &str = "runloom_database_wait_seconds";

/// Says what the numbers of a database mean to whoever collects them.
pub fn describe_metrics() {
    describe_histogram!(
        WAIT,
        Unit::Seconds,
        "from asking for a connection to having it"
    );
}

/// Lends connections of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Lender {
    pool: PgPool,
    waits: Histogram,
    /// As many as the pool has connections, so that whoever has one finds a connection here or there.
    permits: Arc<Semaphore>,
    patience: Duration,
    at_hand: Arc<AtHand>,
}

#[derive(Debug)]
struct AtHand {
    state: Mutex<State>,
    /// How long the server may take to say that a connection is good.
    answer: Duration,
}

#[derive(Debug, Default)]
struct State {
    idle: VecDeque<Kept>,
    is_closed: bool,
}

#[derive(Debug)]
struct Kept {
    connection: PoolConnection<Postgres>,
    /// When it left the pool.
    left: Instant,
}

impl Drop for AtHand {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut self.lock().idle);
        self.go_to_pool(idle);
    }
}

impl Lender {
    /// Lends the connections of `pool`; who asks waits for `patience` at most, and the server may take as
    /// long as `answer` before a connection counts as broken.
    pub(crate) fn new(pool: PgPool, patience: Duration, answer: Duration) -> Self {
        let connections = pool.options().get_max_connections();
        Self {
            pool,
            waits: histogram!(WAIT),
            permits: Arc::new(Semaphore::new(
                usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            patience,
            at_hand: Arc::new(AtHand {
                state: Mutex::default(),
                answer,
            }),
        }
    }

    /// A connection, for as long as it is not dropped.
    pub(crate) async fn lend(&self) -> sqlx::Result<Lent> {
        let asked = Instant::now();
        let permit = timeout(self.patience, self.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_elapsed| sqlx::Error::PoolTimedOut)?;
        let permit = permit.map_err(|_closed| sqlx::Error::PoolClosed)?;
        let at_hand = self.at_hand.lock().idle.pop_back();
        let kept = match at_hand {
            Some(kept) => kept,
            None => Kept {
                connection: self.pool.acquire().await?,
                left: Instant::now(),
            },
        };
        self.waits.record(asked.elapsed());
        Ok(Lent {
            kept: Some(kept),
            fate: Fate::Questionable,
            at_hand: self.at_hand.clone(),
            _permit: permit,
        })
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How the connections are used.
    pub(crate) fn usage(&self) -> ConnectionUse {
        let max = self.pool.options().get_max_connections();
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(max);
        let busy = max.saturating_sub(free);
        ConnectionUse {
            // Whoever has a permit may still wait for the connection to be made.
            idle: self.pool.size().saturating_sub(busy),
            busy,
            max,
        }
    }

    /// Ends all connections in order, when those that are lent have come back.
    pub(crate) async fn close(&self) {
        let idle = {
            let mut state = self.at_hand.lock();
            state.is_closed = true;
            std::mem::take(&mut state.idle)
        };
        self.at_hand.go_to_pool(idle);
        self.pool.close().await;
    }
}

impl AtHand {
    /// The state stays whole even if a holder panicked: each change to it is a single call.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the connection for the next who asks. Answers with the one that goes to the pool instead.
    fn keep(&self, kept: Kept) -> Option<Kept> {
        let is_old = |kept: &Kept| kept.left.elapsed() >= AWAY;
        let mut state = self.lock();
        if state.is_closed || is_old(&kept) {
            return Some(kept);
        }
        state.idle.push_back(kept);
        // Nobody has asked for the one that waits longest.
        state.idle.pop_front_if(|first| is_old(first))
    }

    /// Gives connections to the pool, which asks the server whether they are good. The pool itself would wait
    /// for ever: where somebody in between has fallen silent, no connection would be left for anybody.
    /// Without a runtime nothing can be asked, and they end at once.
    fn go_to_pool(&self, connections: impl IntoIterator<Item = Kept>) {
        let runtime = Handle::try_current();
        for mut kept in connections {
            match &runtime {
                Ok(runtime) => {
                    runtime.spawn(timeout(self.answer, kept.connection.return_to_pool()));
                }
                Err(_) => drop(kept.connection.leak()),
            }
        }
    }
}

/// A connection that was lent.
#[derive(Debug)]
pub(crate) struct Lent {
    /// There until it is given back.
    kept: Option<Kept>,
    fate: Fate,
    at_hand: Arc<AtHand>,
    /// Given back last, when the connection is where the next one looks.
    _permit: OwnedSemaphorePermit,
}

/// What becomes of a connection that is given back.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The next who asks has it.
    Kept,
    /// The pool asks the server whether it is good.
    Questionable,
    /// It ends.
    Spoiled,
}

impl Lent {
    /// The next who asks can have it as it is: what was asked on it was answered, and no transaction is
    /// open. Without this it goes to the pool.
    pub(crate) fn keep(&mut self) {
        self.fate = Fate::Kept;
    }

    /// Nobody should use it any more.
    pub(crate) fn spoil(&mut self) {
        self.fate = Fate::Spoiled;
        if let Some(kept) = &mut self.kept {
            kept.connection.close_on_drop();
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(kept) = self.kept.take() else {
            return;
        };
        match self.fate {
            Fate::Kept => self.at_hand.go_to_pool(self.at_hand.keep(kept)),
            Fate::Questionable => self.at_hand.go_to_pool([kept]),
            Fate::Spoiled => drop(kept),
        }
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self
            .kept
            .as_ref()
            .expect("it is here until it is dropped")
            .connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self
            .kept
            .as_mut()
            .expect("it is here until it is dropped")
            .connection
    }
}
