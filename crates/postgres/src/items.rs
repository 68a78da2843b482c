//! The long-term memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use runloom_core::database::{DatabaseError, Items};
use runloom_core::item::{Item, ItemSearch, NamespaceSearch};
use runloom_core::json::{Json as RawJson, JsonMap};
use serde_json::Value;
use sqlx::types::Json;

use crate::Postgres;
use crate::error::{Error, Result};
use crate::json::AsJson;
use crate::search::{is_plain, is_plain_value};
use crate::session::Session;
use runloom_core::namespace::{self, Range};

#[async_trait]
impl Items for Postgres {
    async fn put_item(
        &self,
        namespace: &[String],
        key: &str,
        value: RawJson,
    ) -> Result<(), DatabaseError> {
        let mut session = self.server.statement().await?;
        put(&mut session, namespace, key, &value, self.server.set_time()).await?;
        Ok(session.commit().await?)
    }

    async fn item(&self, namespace: &[String], key: &str) -> Result<Option<Item>, DatabaseError> {
        let mut reader = self.server.reader().await?;
        Ok(load(&mut reader, namespace, key).await?)
    }

    async fn delete_item(&self, namespace: &[String], key: &str) -> Result<(), DatabaseError> {
        let mut session = self.server.statement().await?;
        remove(&mut session, namespace, key).await?;
        Ok(session.commit().await?)
    }

    async fn search_items(&self, search: &ItemSearch) -> Result<Vec<Item>, DatabaseError> {
        let mut reader = self.server.reader().await?;
        Ok(find(&mut reader, search).await?)
    }

    async fn namespaces(
        &self,
        search: &NamespaceSearch,
    ) -> Result<Vec<Vec<String>>, DatabaseError> {
        let mut reader = self.server.reader().await?;
        let depth = search.max_depth.unwrap_or(usize::MAX);
        let all = namespaces(&mut reader, &search.prefix).await?;
        let found = all.into_iter().filter(|labels| search.matches(labels));
        let cut: BTreeSet<_> = found
            .map(|mut labels| {
                labels.truncate(depth);
                labels
            })
            .collect();
        let cut = cut.into_iter().skip(search.offset as usize);
        Ok(cut.take(search.limit as usize).collect())
    }
}

/// The columns of `items`.
struct ItemColumns {
    namespace: Vec<u8>,
    key: Vec<u8>,
    value: Json<RawJson>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<ItemColumns> for Item {
    fn from(columns: ItemColumns) -> Self {
        Self {
            namespace: namespace::labels(&columns.namespace),
            key: String::from_utf8_lossy(&columns.key).into_owned(),
            value: columns.value.0,
            created_at: columns.created_at,
            updated_at: columns.updated_at,
        }
    }
}

async fn put(
    session: &mut Session,
    namespace: &[String],
    key: &str,
    value: &RawJson,
    now: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query!(
        "insert into items (namespace, key, value, created_at, updated_at)
        select $1, $2, $3, moment, moment from coalesce($4, clock_timestamp()) as moment
        on conflict (namespace, key) do update set
            value = excluded.value, updated_at = excluded.updated_at",
        namespace::bytes(namespace),
        key.as_bytes(),
        AsJson(value) as _,
        now
    )
    .execute(session)
    .await?;
    Ok(())
}

async fn load(db: &mut Session, namespace: &[String], key: &str) -> Result<Option<Item>> {
    let row = sqlx::query_as!(
        ItemColumns,
        "select * from items where namespace = $1 and key = $2",
        namespace::bytes(namespace),
        key.as_bytes()
    );
    Ok(row.fetch_optional(db).await?.map(Item::from))
}

async fn remove(session: &mut Session, namespace: &[String], key: &str) -> Result<()> {
    sqlx::query!(
        "delete from items where namespace = $1 and key = $2",
        namespace::bytes(namespace),
        key.as_bytes()
    )
    .execute(session)
    .await?;
    Ok(())
}

/// How many items are looked at before more are asked for, at least.
const PAGE: i64 = 256;

/// What is on the page. Postgres orders and narrows down, conditions on values are judged here: if
/// too few items meet them among those looked at, more are looked at, from the start, so that the
/// answer is of one moment.
async fn find(db: &mut Session, search: &ItemSearch) -> Result<Vec<Item>> {
    let limit = search.limit as usize;
    let equal = plainly_equal(&search.filter);
    let mut looked_at = PAGE.max(i64::from(search.offset) + i64::from(search.limit));
    loop {
        let (mut found, mut skip, mut seen) = (Vec::new(), search.offset, 0);
        let range = Range::below(&search.prefix);
        let mut rows = sqlx::query_as!(
            ItemColumns,
            "select * from items where namespace >= $1 and namespace < $2
                and ($3::jsonb is null or coalesce(searchable(value) @> $3, true))
            order by updated_at desc, namespace, key limit $4",
            range.from,
            range.to,
            equal,
            looked_at
        )
        .fetch(&mut *db);
        while let Some(row) = rows.try_next().await? {
            seen += 1;
            let item = Item::from(row);
            match (matches(search, &item), skip) {
                (true, 0) if found.len() < limit => found.push(item),
                (true, 1..) => skip -= 1,
                _ => {}
            }
        }
        if found.len() == limit || seen < looked_at {
            return Ok(found);
        }
        looked_at = looked_at.saturating_mul(4);
    }
}

/// What values must have among other things to meet the conditions; none if nothing can be said.
fn plainly_equal(filter: &JsonMap) -> Option<Value> {
    let conditions = filter.iter();
    let equal = conditions.filter(|(key, value)| is_plain(key) && is_plain_value(value));
    let equal: JsonMap = equal
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!equal.is_empty()).then_some(Value::Object(equal))
}

fn matches(search: &ItemSearch, item: &Item) -> bool {
    if search.filter.is_empty() {
        return true;
    }
    // Half of a surrogate pair is JSON, but no text: nothing can be asked about it.
    let value = item.value.parse::<Value>();
    value.is_ok_and(|value| search.matches(&item.namespace, &value))
}

/// The namespaces that have items and begin with the labels of `prefix` before its first star.
async fn namespaces(db: &mut Session, prefix: &[String]) -> Result<Vec<Vec<String>>> {
    let exact = prefix.iter().take_while(|label| *label != "*");
    let range = Range::below(&exact.cloned().collect::<Vec<_>>());
    let rows = sqlx::query_scalar!(
        "select distinct namespace from items where namespace >= $1 and namespace < $2",
        range.from,
        range.to
    );
    let rows = rows.fetch_all(db).await.map_err(Error::from)?;
    Ok(rows.iter().map(|bytes| namespace::labels(bytes)).collect())
}
