//! The long-term memory as the code of one attempt sees it. Items carry no fence of their own, so
//! what shuts the attempt out of them is the gate.

use std::sync::Arc;

use async_trait::async_trait;
use runloom_core::database::{Database, DatabaseError, Items};
use runloom_core::item::{Item, ItemSearch, NamespaceSearch};
use runloom_core::json::Json;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::gate::Gate;
use crate::incarnation::Incarnation;
use crate::stopper::Stopper;

/// Items behind a gate.
pub(crate) struct GuardedItems {
    /// The worker, which has the database and a lease.
    pub(crate) worker: Arc<Incarnation>,
    /// Closed when the attempt is over.
    pub(crate) gate: Arc<Gate>,
    /// Says whether the attempt still holds its thread.
    pub(crate) stopper: Arc<Stopper>,
}

impl GuardedItems {
    fn enter(&self) -> Result<TaskTrackerToken, DatabaseError> {
        if self.stopper.is_lost() || self.worker.deadline.left().is_none() {
            return Err(DatabaseError::Fenced);
        }
        self.gate.enter().ok_or(DatabaseError::Fenced)
    }

    fn database(&self) -> &dyn Database {
        &*self.worker.ports.database
    }
}

#[async_trait]
impl Items for GuardedItems {
    async fn put_item(
        &self,
        namespace: &[String],
        key: &str,
        value: Json,
    ) -> Result<(), DatabaseError> {
        let _inside = self.enter()?;
        self.database().put_item(namespace, key, value).await
    }

    async fn item(&self, namespace: &[String], key: &str) -> Result<Option<Item>, DatabaseError> {
        let _inside = self.enter()?;
        self.database().item(namespace, key).await
    }

    async fn delete_item(&self, namespace: &[String], key: &str) -> Result<(), DatabaseError> {
        let _inside = self.enter()?;
        self.database().delete_item(namespace, key).await
    }

    async fn search_items(&self, search: &ItemSearch) -> Result<Vec<Item>, DatabaseError> {
        let _inside = self.enter()?;
        self.database().search_items(search).await
    }

    async fn namespaces(
        &self,
        search: &NamespaceSearch,
    ) -> Result<Vec<Vec<String>>, DatabaseError> {
        let _inside = self.enter()?;
        self.database().namespaces(search).await
    }
}
