//! JSON on its way into the database.

use serde::Serialize;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

/// A parameter of type `json`. The driver's own wrapper declares its parameters as `jsonb`, from
/// which Postgres converts without a word where the column is `json`: the order of keys, the letters
/// of numbers and `\u0000` would be gone.
#[derive(Debug)]
pub(crate) struct AsJson<T>(pub(crate) T);

/// The number of the type `json`, the same on every server.
const JSON: Oid = Oid(114);

impl<T> Type<Postgres> for AsJson<T> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(JSON)
    }
}

impl<T: Serialize> Encode<'_, Postgres> for AsJson<T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        serde_json::to_writer(&mut **buffer, &self.0)?;
        Ok(IsNull::No)
    }
}

/// Documents, for a parameter that is a list of texts which a statement casts to `json`.
pub(crate) fn texts<T: Serialize>(
    documents: impl Iterator<Item = Option<T>>,
) -> serde_json::Result<Vec<Option<String>>> {
    let encode = |document: Option<T>| document.map(|it| serde_json::to_string(&it)).transpose();
    documents.map(encode).collect()
}
