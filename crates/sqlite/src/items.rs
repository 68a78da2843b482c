//! The long-term memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use runloom_core::database::{DatabaseError, Items};
use runloom_core::item::{Item, ItemSearch, NamespaceSearch};
use runloom_core::json::Json as RawJson;
use sqlx::SqliteConnection;
use sqlx::types::Json;

use crate::Sqlite;
use crate::connections::Change;
use crate::convert::{micros, time};
use crate::error::Result;
use runloom_core::namespace::{self, Range};

#[async_trait]
impl Items for Sqlite {
    async fn put_item(
        &self,
        namespace: &[String],
        key: &str,
        value: RawJson,
    ) -> Result<(), DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        put(&mut change, namespace, key, &value).await?;
        Ok(change.commit().await?)
    }

    async fn item(&self, namespace: &[String], key: &str) -> Result<Option<Item>, DatabaseError> {
        let mut reader = self.reader().await?;
        Ok(load(&mut reader, namespace, key).await?)
    }

    async fn delete_item(&self, namespace: &[String], key: &str) -> Result<(), DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        remove(&mut change, namespace, key).await?;
        Ok(change.commit().await?)
    }

    async fn search_items(&self, search: &ItemSearch) -> Result<Vec<Item>, DatabaseError> {
        let mut reader = self.reader().await?;
        Ok(find(&mut reader, search).await?)
    }

    async fn namespaces(
        &self,
        search: &NamespaceSearch,
    ) -> Result<Vec<Vec<String>>, DatabaseError> {
        let mut reader = self.reader().await?;
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
    key: String,
    value: Json<RawJson>,
    created_at: i64,
    updated_at: i64,
}

impl From<ItemColumns> for Item {
    fn from(columns: ItemColumns) -> Self {
        Self {
            namespace: namespace::labels(&columns.namespace),
            key: columns.key,
            value: columns.value.0,
            created_at: time(columns.created_at),
            updated_at: time(columns.updated_at),
        }
    }
}

async fn put(
    change: &mut Change<'_>,
    namespace: &[String],
    key: &str,
    value: &RawJson,
) -> Result<()> {
    sqlx::query!(
        "insert into items (namespace, key, value, created_at, updated_at)
        values (?1, ?2, ?3, ?4, ?4)
        on conflict (namespace, key) do update set
            value = excluded.value, updated_at = excluded.updated_at",
        namespace::bytes(namespace),
        key,
        value.as_str(),
        micros(change.now)
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

async fn load(db: &mut SqliteConnection, namespace: &[String], key: &str) -> Result<Option<Item>> {
    let row = sqlx::query_as!(
        ItemColumns,
        "select * from items where namespace = ? and key = ?",
        namespace::bytes(namespace),
        key
    );
    Ok(row.fetch_optional(db).await?.map(Item::from))
}

async fn remove(change: &mut Change<'_>, namespace: &[String], key: &str) -> Result<()> {
    sqlx::query!(
        "delete from items where namespace = ? and key = ?",
        namespace::bytes(namespace),
        key
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// How many items are looked at in one go.
const PAGE: u32 = 256;

async fn find(db: &mut SqliteConnection, search: &ItemSearch) -> Result<Vec<Item>> {
    let (mut found, mut skip, mut looked_at) = (Vec::new(), search.offset, 0);
    while found.len() < search.limit as usize {
        let rows = page(db, &search.prefix, looked_at).await?;
        let is_last = rows.len() < PAGE as usize;
        for item in rows.into_iter().map(Item::from) {
            let matches = search.matches(&item.namespace, &item.value.to_value());
            match (matches, skip) {
                (false, _) => {}
                (true, 0) => found.push(item),
                (true, _) => skip -= 1,
            }
        }
        if is_last {
            break;
        }
        looked_at += PAGE;
    }
    found.truncate(search.limit as usize);
    Ok(found)
}

/// Items below a namespace, last changed first.
async fn page(
    db: &mut SqliteConnection,
    prefix: &[String],
    offset: u32,
) -> Result<Vec<ItemColumns>> {
    let range = Range::below(prefix);
    let rows = sqlx::query_as!(
        ItemColumns,
        "select * from items where namespace >= ? and namespace < ?
        order by updated_at desc, namespace, key limit ? offset ?",
        range.from,
        range.to,
        PAGE,
        offset
    );
    Ok(rows.fetch_all(db).await?)
}

/// The namespaces that have items and begin with the labels of `prefix` before its first star.
async fn namespaces(db: &mut SqliteConnection, prefix: &[String]) -> Result<Vec<Vec<String>>> {
    let exact = prefix.iter().take_while(|label| *label != "*");
    let range = Range::below(&exact.cloned().collect::<Vec<_>>());
    let rows = sqlx::query_scalar!(
        "select distinct namespace from items where namespace >= ? and namespace < ?",
        range.from,
        range.to
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.iter().map(|bytes| namespace::labels(bytes)).collect())
}
