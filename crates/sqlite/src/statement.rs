//! Statements, their variables and their rows. Each statement is prepared once for each connection.

use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::error::Result;

/// Carries a statement out. Answers with how many rows it changed.
pub(crate) fn execute(db: &Connection, sql: &'static str, values: impl Params) -> Result<usize> {
    Ok(db.prepare_cached(sql)?.execute(values)?)
}

/// The first row that a statement finds.
pub(crate) fn first<T>(db: &Connection, sql: &'static str, values: impl Params) -> Result<Option<T>>
where
    T: for<'row> TryFrom<&'row Row<'row>, Error = rusqlite::Error>,
{
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    Ok(rows.next()?.map(T::try_from).transpose()?)
}

/// All rows that a statement finds.
pub(crate) fn all<T>(db: &Connection, sql: &'static str, values: impl Params) -> Result<Vec<T>>
where
    T: for<'row> TryFrom<&'row Row<'row>, Error = rusqlite::Error>,
{
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map(values, |row| T::try_from(row))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Whether a statement finds anything.
pub(crate) fn is_any(db: &Connection, sql: &'static str, values: impl Params) -> Result<bool> {
    Ok(db.prepare_cached(sql)?.exists(values)?)
}

/// A row of one column, an id.
pub(crate) struct Id(pub(crate) Uuid);

impl TryFrom<&Row<'_>> for Id {
    type Error = rusqlite::Error;

    fn try_from(row: &Row<'_>) -> rusqlite::Result<Self> {
        row.get(0).map(Self)
    }
}

/// A struct that a row is read into: its fields are the row's columns, in their order.
macro_rules! columns {
    (
        $(#[$doc:meta])*
        $visibility:vis struct $name:ident { $($column:ident: $type:ty,)* }
    ) => {
        $(#[$doc])*
        $visibility struct $name {
            $(pub(crate) $column: $type,)*
        }

        impl TryFrom<&rusqlite::Row<'_>> for $name {
            type Error = rusqlite::Error;

            fn try_from(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
                let mut place = 0;
                Ok(Self {
                    $($column: $crate::statement::next(row, &mut place, stringify!($column))?,)*
                })
            }
        }
    };
}

pub(crate) use columns;

/// The value at a place of a row, which is then that of the next one. Columns are read by their
/// places, which is several times faster than by their names; that the names fit is for the tests.
pub(crate) fn next<T: FromSql>(
    row: &Row<'_>,
    place: &mut usize,
    name: &'static str,
) -> rusqlite::Result<T> {
    let at = *place;
    debug_assert_eq!(row.as_ref().column_name(at)?, name, "column {at}");
    *place += 1;
    row.get(at)
}

/// A value that a column holds as JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(&self.0);
        let text = text.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(text.into())
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = serde_json::from_str(value.as_str()?);
        value.map(Self).map_err(FromSqlError::other)
    }
}

/// A word of a fixed list.
pub(crate) struct Word<T>(pub(crate) T);

impl<T: Copy + Into<&'static str>> ToSql for Word<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into().into())
    }
}

impl<T: FromStr<Err: std::error::Error + Send + Sync + 'static>> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = value.as_str()?.parse();
        value.map(Self).map_err(FromSqlError::other)
    }
}
