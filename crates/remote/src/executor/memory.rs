//! The long-term memory, for graphs.

use runloom_core::database::{DatabaseError, Items};
use runloom_core::item::{Item, ItemSearch, NamespaceSearch};
use serde::Serialize;

use super::convert::{document, json, object, time_text};
use super::errors::refusal_of_items;
use crate::protocol::{RemoteError, StoreOp, StoredItem};

/// The answer to one operation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// Of `put` and `delete`.
    Done(()),
    /// Of `get`.
    Item(Option<StoredItem>),
    /// Of `search`.
    Items(Vec<StoredItem>),
    /// Of `namespaces`.
    Namespaces(Vec<Vec<String>>),
}

/// Carries out one operation.
pub(super) async fn carry_out(items: &dyn Items, op: StoreOp) -> Result<Answer, RemoteError> {
    let refused = |error: DatabaseError| refusal_of_items(&error);
    match op {
        StoreOp::Get { ns, key } => {
            let found = items.item(&ns, &key).await.map_err(refused)?;
            Ok(Answer::Item(found.map(stored)))
        }
        StoreOp::Put { ns, key, value } => {
            let value = json(&value, "a value of the store")?;
            let put = items.put_item(&ns, &key, value).await;
            put.map(Answer::Done).map_err(refused)
        }
        StoreOp::Delete { ns, key } => {
            let deleted = items.delete_item(&ns, &key).await;
            deleted.map(Answer::Done).map_err(refused)
        }
        StoreOp::Search {
            prefix,
            filter,
            limit,
            offset,
        } => {
            let search = ItemSearch {
                prefix,
                filter: object(&filter, "a filter of items")?,
                limit,
                offset,
            };
            let found = items.search_items(&search).await.map_err(refused)?;
            Ok(Answer::Items(found.into_iter().map(stored).collect()))
        }
        StoreOp::Namespaces {
            prefix,
            suffix,
            max_depth,
            limit,
            offset,
        } => {
            let search = NamespaceSearch {
                prefix,
                suffix,
                max_depth: max_depth.map(|depth| depth as usize),
                limit,
                offset,
            };
            let found = items.namespaces(&search).await;
            found.map(Answer::Namespaces).map_err(refused)
        }
    }
}

fn stored(item: Item) -> StoredItem {
    StoredItem(
        item.namespace,
        item.key,
        document(&item.value),
        time_text(item.created_at),
        time_text(item.updated_at),
    )
}
