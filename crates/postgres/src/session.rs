//! What statements go through: a connection or a transaction, with or without prepared statements.

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgArguments, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres,
};
use sqlx::{Either, Execute, Executor, SqlStr, Transaction};

use crate::error::Result;

/// What statements go through.
#[derive(Debug)]
pub(crate) struct Session {
    channel: Channel,
    /// Whether the connection remembers the statements it has prepared, by names. A pooler that
    /// lends a connection for a transaction at a time must know them, or there may be none.
    prepared: bool,
}

#[derive(Debug)]
enum Channel {
    Single(PoolConnection<Postgres>),
    Transaction(Transaction<'static, Postgres>),
}

impl Session {
    /// Single statements, each a transaction of its own.
    pub(crate) fn single(connection: PoolConnection<Postgres>) -> Self {
        Self {
            channel: Channel::Single(connection),
            prepared: true,
        }
    }

    /// Statements of one transaction.
    pub(crate) fn transaction(transaction: Transaction<'static, Postgres>, prepared: bool) -> Self {
        Self {
            channel: Channel::Transaction(transaction),
            prepared,
        }
    }

    /// Makes the transaction durable and visible. Single statements are already.
    pub(crate) async fn commit(self) -> Result<()> {
        if let Channel::Transaction(transaction) = self.channel {
            transaction.commit().await?;
        }
        Ok(())
    }

    fn connection(&mut self) -> &mut PgConnection {
        match &mut self.channel {
            Channel::Single(connection) => connection,
            Channel::Transaction(transaction) => transaction,
        }
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
        if self.prepared {
            self.connection().fetch_many(query)
        } else {
            self.connection().fetch_many(Unnamed(query))
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.prepared {
            self.connection().fetch_optional(query)
        } else {
            self.connection().fetch_optional(Unnamed(query))
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        self.connection().prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<sqlx::Describe<Postgres>>>
    where
        'c: 'e,
    {
        self.connection().describe(sql)
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
