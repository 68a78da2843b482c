//! The long-term memory as nodes see it: shut as soon as the run is being stopped.

use std::sync::Arc;

use async_trait::async_trait;
use runloom_core::database::{DatabaseError, Items};
use runloom_core::item::{Item, ItemSearch, NamespaceSearch};
use runloom_core::json::Json;
use tokio_util::sync::CancellationToken;

use super::NodeContext;

impl NodeContext {
    /// The long-term memory, shared by all threads.
    pub fn items(&self) -> Arc<dyn Items> {
        Arc::new(Gated {
            items: self.run.items.clone(),
            token: self.token.clone(),
        })
    }
}

struct Gated {
    items: Arc<dyn Items>,
    token: CancellationToken,
}

impl Gated {
    fn open(&self) -> Result<&dyn Items, DatabaseError> {
        if self.token.is_cancelled() {
            Err(DatabaseError::Fenced)
        } else {
            Ok(&*self.items)
        }
    }
}

#[async_trait]
impl Items for Gated {
    async fn put_item(
        &self,
        namespace: &[String],
        key: &str,
        value: Json,
    ) -> Result<(), DatabaseError> {
        self.open()?.put_item(namespace, key, value).await
    }

    async fn item(&self, namespace: &[String], key: &str) -> Result<Option<Item>, DatabaseError> {
        self.open()?.item(namespace, key).await
    }

    async fn delete_item(&self, namespace: &[String], key: &str) -> Result<(), DatabaseError> {
        self.open()?.delete_item(namespace, key).await
    }

    async fn search_items(&self, search: &ItemSearch) -> Result<Vec<Item>, DatabaseError> {
        self.open()?.search_items(search).await
    }

    async fn namespaces(
        &self,
        search: &NamespaceSearch,
    ) -> Result<Vec<Vec<String>>, DatabaseError> {
        self.open()?.namespaces(search).await
    }
}
