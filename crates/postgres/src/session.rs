//! What statements go through: a connection or a transaction on it, with or without prepared
//! statements, for as long as the server answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres};
use sqlx::{Database, Either, Execute, Executor, SqlSafeStr, SqlStr};
use sqlx_core::transaction::TransactionManager;
use tokio::time::{Sleep, sleep, timeout};

use crate::error::Result;
use crate::lent::{Lender, Lent};

type Transactions = <Postgres as Database>::TransactionManager;

/// What statements go through.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Lent,
    /// Whether a transaction is open. Dropped then, it never was.
    is_open: bool,
    /// Whether the connection remembers the statements it has prepared, by names. A pooler that
    /// lends a connection for a transaction at a time must know them, or there may be none.
    prepared: bool,
    /// How long the server may take to answer.
    patience: Duration,
    health: Health,
}

/// What is known of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// Everything that was asked was answered, and without an error.
    Well,
    /// Something may still have to be answered.
    Asked,
    /// Nobody should use it any more.
    Spoiled,
}

impl Health {
    /// Something is asked.
    fn ask(&mut self) {
        self.set(Self::Asked);
    }

    /// It was answered.
    fn answer<T>(&mut self, result: &sqlx::Result<T>) {
        match result {
            Ok(_) => self.set(Self::Well),
            Err(error) if spoils(error) => *self = Self::Spoiled,
            Err(_) => {}
        }
    }

    /// A part of it was answered.
    fn answer_in_part<T>(&mut self, result: &sqlx::Result<T>) {
        if result.is_err() {
            self.answer(result);
        }
    }

    /// What is spoiled stays so.
    fn set(&mut self, health: Self) {
        if *self != Self::Spoiled {
            *self = health;
        }
    }
}

impl Session {
    /// Single statements, each a transaction of its own.
    pub(crate) async fn single(lender: &Lender, patience: Duration) -> Result<Self> {
        Ok(Self {
            connection: lender.lend().await?,
            is_open: false,
            prepared: true,
            patience,
            health: Health::Well,
        })
    }

    /// Statements of one transaction, which `statement` begins.
    pub(crate) async fn begin(
        lender: &Lender,
        statement: &'static str,
        (prepared, patience): (bool, Duration),
    ) -> Result<Self> {
        let mut session = Self::single(lender, patience).await?;
        session.prepared = prepared;
        // If nobody waits for the answer any more, the library does not know of the transaction, and
        // whatever came next on this connection would be part of it: acknowledged, not committed.
        session.health = Health::Spoiled;
        let begun = Transactions::begin(&mut session.connection, Some(statement.into_sql_str()));
        let begun = timeout(patience, begun).await;
        session.health = Health::Asked;
        session.judge(begun.unwrap_or_else(|_| Err(silence())))?;
        session.is_open = true;
        Ok(session)
    }

    /// From now on the server may take that long to answer.
    pub(crate) fn wait_for(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Makes the transaction durable and visible. Single statements are already.
    pub(crate) async fn commit(mut self) -> Result<()> {
        if self.is_open {
            self.health.ask();
            let committed =
                timeout(self.patience, Transactions::commit(&mut self.connection)).await;
            self.judge(committed.unwrap_or_else(|_| Err(silence())))?;
            self.is_open = false;
        }
        Ok(())
    }

    /// Gives a connection up on which something went wrong that would go wrong again.
    fn judge<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        self.health.answer(&result);
        result
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_open {
            // It is sent when the pool asks whether the connection is good.
            Transactions::start_rollback(&mut self.connection);
        }
        match self.health {
            Health::Well if !self.is_open => self.connection.keep(),
            Health::Well | Health::Asked => {}
            Health::Spoiled => self.connection.spoil(),
        }
    }
}

/// The server has not answered in time.
fn silence() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the server does not answer").into()
}

/// Whether the connection is no good after this: the answer may still come, a statement was prepared
/// for a schema that has changed since, or the server stops or is the primary no more.
fn spoils(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(refusal) => refusal.code().is_some_and(|code| {
            [STALE, READ_ONLY, IDLED].contains(&&*code) || code.starts_with(SHUTDOWNS)
        }),
        _ => false,
    }
}

/// The code of "cached plan must not change result type".
pub(crate) const STALE: &str = "0A000";

/// The code of a write where there is no primary, or no more.
pub(crate) const READ_ONLY: &str = "25006";

/// The code of a transaction that was idle for too long: we were paused or cut off.
pub(crate) const IDLED: &str = "25P03";

/// What the codes of shutdowns begin with.
const SHUTDOWNS: &str = "57P";

/// What a statement answers, for as long as it may take.
struct Patient<'e, T> {
    answers: BoxStream<'e, sqlx::Result<T>>,
    patience: Pin<Box<Sleep>>,
    health: &'e mut Health,
}

impl<T> Stream for Patient<'_, T> {
    type Item = sqlx::Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answer = match self.answers.as_mut().poll_next(context) {
            Poll::Pending => match self.patience.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => Some(Err(silence())),
            },
            Poll::Ready(answer) => answer,
        };
        match &answer {
            None => self.health.set(Health::Well),
            Some(answer) => self.health.answer_in_part(answer),
        }
        Poll::Ready(answer)
    }
}

impl<'c> Executor<'c> for &'c mut Session {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.health.ask();
        let connection = &mut *self.connection;
        let answers = if self.prepared {
            connection.fetch_many(query)
        } else {
            connection.fetch_many(Unnamed(query))
        };
        Box::pin(Patient {
            answers,
            patience: Box::pin(sleep(self.patience)),
            health: &mut self.health,
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.health.ask();
        let connection = &mut *self.connection;
        let answer = if self.prepared {
            connection.fetch_optional(query)
        } else {
            connection.fetch_optional(Unnamed(query))
        };
        let (health, patience) = (&mut self.health, self.patience);
        Box::pin(async move {
            let answer = timeout(patience, answer).await;
            let answer = answer.unwrap_or_else(|_| Err(silence()));
            health.answer(&answer);
            answer
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        self.health.ask();
        self.connection.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<sqlx::Describe<Postgres>>>
    where
        'c: 'e,
    {
        self.health.ask();
        self.connection.describe(sql)
    }
}

/// A query that is prepared under no name, and so forgotten with the next one.
struct Unnamed<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unnamed<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> std::result::Result<Option<PgArguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}
