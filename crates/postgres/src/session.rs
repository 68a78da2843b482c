//! What statements go through: a connection or a transaction on it, with or without prepared
//! statements, for as long as the server answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream};
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgArguments, PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres,
};
use sqlx::{Database, Either, Execute, Executor, SqlSafeStr, SqlStr};
use sqlx_core::transaction::TransactionManager;
use tokio::time::{Sleep, sleep, timeout};

use crate::error::Result;

type Transactions = <Postgres as Database>::TransactionManager;

/// What statements go through.
#[derive(Debug)]
pub(crate) struct Session {
    connection: PoolConnection<Postgres>,
    /// Whether a transaction is open. Dropped then, it never was.
    is_open: bool,
    /// Whether the connection remembers the statements it has prepared, by names. A pooler that
    /// lends a connection for a transaction at a time must know them, or there may be none.
    prepared: bool,
    /// How long the server may take to answer.
    patience: Duration,
    /// Whether nobody should use the connection any more.
    is_spoiled: bool,
}

impl Session {
    /// Single statements, each a transaction of its own.
    pub(crate) async fn single(pool: &PgPool, patience: Duration) -> Result<Self> {
        Ok(Self {
            connection: pool.acquire().await?,
            is_open: false,
            prepared: true,
            patience,
            is_spoiled: false,
        })
    }

    /// Statements of one transaction, which `statement` begins.
    pub(crate) async fn begin(
        pool: &PgPool,
        statement: &'static str,
        (prepared, patience): (bool, Duration),
    ) -> Result<Self> {
        let mut session = Self::single(pool, patience).await?;
        session.prepared = prepared;
        // If nobody waits for the answer any more, the library does not know of the transaction, and
        // whatever came next on this connection would be part of it: acknowledged, not committed.
        session.is_spoiled = true;
        let begun = Transactions::begin(&mut session.connection, Some(statement.into_sql_str()));
        let begun = timeout(patience, begun).await;
        session.is_spoiled = false;
        session.judge(begun.unwrap_or_else(|_| Err(silence())))?;
        session.is_open = true;
        Ok(session)
    }

    /// Makes the transaction durable and visible. Single statements are already.
    pub(crate) async fn commit(mut self) -> Result<()> {
        if self.is_open {
            let committed =
                timeout(self.patience, Transactions::commit(&mut self.connection)).await;
            self.judge(committed.unwrap_or_else(|_| Err(silence())))?;
            self.is_open = false;
        }
        Ok(())
    }

    /// Gives a connection up on which something went wrong that would go wrong again.
    fn judge<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        self.is_spoiled |= result.as_ref().err().is_some_and(spoils);
        result
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_open {
            Transactions::start_rollback(&mut self.connection);
        }
        if self.is_spoiled {
            self.connection.close_on_drop();
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
    is_spoiled: &'e mut bool,
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
        if let Some(Err(error)) = &answer {
            *self.is_spoiled |= spoils(error);
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
        let connection = &mut *self.connection;
        let answers = if self.prepared {
            connection.fetch_many(query)
        } else {
            connection.fetch_many(Unnamed(query))
        };
        Box::pin(Patient {
            answers,
            patience: Box::pin(sleep(self.patience)),
            is_spoiled: &mut self.is_spoiled,
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connection = &mut *self.connection;
        let answer = if self.prepared {
            connection.fetch_optional(query)
        } else {
            connection.fetch_optional(Unnamed(query))
        };
        let (is_spoiled, patience) = (&mut self.is_spoiled, self.patience);
        Box::pin(async move {
            let answer = timeout(patience, answer).await;
            let answer = answer.unwrap_or_else(|_| Err(silence()));
            *is_spoiled |= answer.as_ref().err().is_some_and(spoils);
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
        self.connection.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<sqlx::Describe<Postgres>>>
    where
        'c: 'e,
    {
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
