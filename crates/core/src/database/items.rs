//! Items in the database.

use async_trait::async_trait;

use super::DatabaseError;
use crate::item::{Item, ItemSearch, NamespaceSearch};
use crate::json::Json;

/// The long-term memory.
#[async_trait]
pub trait Items: Send + Sync + 'static {
    /// Puts an item, replacing what is there.
    async fn put_item(
        &self,
        namespace: &[String],
        key: &str,
        value: Json,
    ) -> Result<(), DatabaseError>;

    /// The item.
    async fn item(&self, namespace: &[String], key: &str) -> Result<Option<Item>, DatabaseError>;

    /// Deletes an item; deleting what is not there is fine.
    async fn delete_item(&self, namespace: &[String], key: &str) -> Result<(), DatabaseError>;

    /// Items that match, last changed first.
    async fn search_items(&self, search: &ItemSearch) -> Result<Vec<Item>, DatabaseError>;

    /// Namespaces that have items, in order.
    async fn namespaces(&self, search: &NamespaceSearch)
    -> Result<Vec<Vec<String>>, DatabaseError>;
}
