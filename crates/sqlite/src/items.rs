//! The long-term memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use runloom_core::database::{DatabaseError, Items};
use runloom_core::item::{Item, ItemSearch, NamespaceSearch};
use runloom_core::json::Json as RawJson;
use runloom_core::namespace::{self, Range};
use rusqlite::{Connection, params};

use crate::Sqlite;
use crate::change::Change;
use crate::convert::{micros, time};
use crate::error::Result;
use crate::statement::{Json, all, columns, execute, first};

#[async_trait]
impl Items for Sqlite {
    async fn put_item(
        &self,
        namespace: &[String],
        key: &str,
        value: RawJson,
    ) -> Result<(), DatabaseError> {
        let place = Place::of(namespace, key);
        let weight = value.as_str().len();
        self.change(weight, move |change| put(change, &place, &value))
            .await
    }

    async fn item(&self, namespace: &[String], key: &str) -> Result<Option<Item>, DatabaseError> {
        let place = Place::of(namespace, key);
        self.read(move |db| load(db, &place)).await
    }

    async fn delete_item(&self, namespace: &[String], key: &str) -> Result<(), DatabaseError> {
        let place = Place::of(namespace, key);
        self.change(0, move |change| remove(change, &place)).await
    }

    async fn search_items(&self, search: &ItemSearch) -> Result<Vec<Item>, DatabaseError> {
        let search = search.clone();
        self.read(move |db| find(db, &search)).await
    }

    async fn namespaces(
        &self,
        search: &NamespaceSearch,
    ) -> Result<Vec<Vec<String>>, DatabaseError> {
        let prefix = search.prefix.clone();
        let all = self.read(move |db| namespaces(db, &prefix)).await?;
        let depth = search.max_depth.unwrap_or(usize::MAX);
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

/// Where an item is.
struct Place {
    namespace: Vec<u8>,
    key: String,
}

impl Place {
    fn of(namespace: &[String], key: &str) -> Self {
        Self {
            namespace: namespace::bytes(namespace),
            key: key.to_owned(),
        }
    }
}

columns! {
    /// The columns of `items`.
    struct ItemColumns {
        namespace: Vec<u8>,
        key: String,
        value: Json<RawJson>,
        created_at: i64,
        updated_at: i64,
    }
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

fn put(change: &Change<'_>, place: &Place, value: &RawJson) -> Result<()> {
    execute(
        change,
        "insert into items (namespace, key, value, created_at, updated_at)
        values (?1, ?2, ?3, ?4, ?4)
        on conflict (namespace, key) do update set
            value = excluded.value, updated_at = excluded.updated_at",
        params![
            place.namespace,
            place.key,
            value.as_str(),
            micros(change.now)
        ],
    )?;
    Ok(())
}

fn load(db: &Connection, place: &Place) -> Result<Option<Item>> {
    let row: Option<ItemColumns> = first(
        db,
        "select * from items where namespace = ? and key = ?",
        params![place.namespace, place.key],
    )?;
    Ok(row.map(Item::from))
}

fn remove(change: &Change<'_>, place: &Place) -> Result<()> {
    execute(
        change,
        "delete from items where namespace = ? and key = ?",
        params![place.namespace, place.key],
    )?;
    Ok(())
}

/// How many items are looked at in one go.
const PAGE: u32 = 256;

fn find(db: &Connection, search: &ItemSearch) -> Result<Vec<Item>> {
    let (mut found, mut skip, mut looked_at) = (Vec::new(), search.offset, 0);
    while found.len() < search.limit as usize {
        let rows = page(db, &search.prefix, looked_at)?;
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
fn page(db: &Connection, prefix: &[String], offset: u32) -> Result<Vec<ItemColumns>> {
    let range = Range::below(prefix);
    all(
        db,
        "select * from items where namespace >= ? and namespace < ?
        order by updated_at desc, namespace, key limit ? offset ?",
        params![range.from, range.to, PAGE, offset],
    )
}

/// The namespaces that have items and begin with the labels of `prefix` before its first star.
fn namespaces(db: &Connection, prefix: &[String]) -> Result<Vec<Vec<String>>> {
    let exact = prefix.iter().take_while(|label| *label != "*");
    let range = Range::below(&exact.cloned().collect::<Vec<_>>());
    let rows: Vec<(Vec<u8>,)> = all(
        db,
        "select distinct namespace from items where namespace >= ? and namespace < ?",
        params![range.from, range.to],
    )?;
    Ok(rows
        .iter()
        .map(|(bytes,)| namespace::labels(bytes))
        .collect())
}
