//! Assistants in the database.

use async_trait::async_trait;

use super::DatabaseError;
use crate::assistant::{Assistant, AssistantPatch, NewAssistant};
use crate::ids::AssistantId;
use crate::search::{AssistantFilter, AssistantSort, Page, SortOrder, VersionFilter};

/// Assistants and their versions.
#[async_trait]
pub trait Assistants: Send + Sync + 'static {
    /// Creates an assistant at version 1, or answers with the one that is there if the request
    /// allows it (otherwise [`DatabaseError::Exists`]).
    async fn create_assistant(&self, new: NewAssistant) -> Result<Assistant, DatabaseError>;

    /// The assistant at its current version.
    async fn assistant(&self, id: AssistantId) -> Result<Option<Assistant>, DatabaseError>;

    /// Makes a new version, one above the highest, and makes it current.
    async fn patch_assistant(
        &self,
        id: AssistantId,
        patch: AssistantPatch,
    ) -> Result<Assistant, DatabaseError>;

    /// Deletes an assistant with its versions. Its runs stay.
    async fn delete_assistant(&self, id: AssistantId) -> Result<(), DatabaseError>;

    /// Assistants that match, in order.
    async fn search_assistants(
        &self,
        filter: &AssistantFilter,
        sort: (AssistantSort, SortOrder),
        page: Page,
    ) -> Result<Vec<Assistant>, DatabaseError>;

    /// How many assistants match.
    async fn count_assistants(&self, filter: &AssistantFilter) -> Result<u64, DatabaseError>;

    /// Versions of an assistant, newest first.
    async fn assistant_versions(
        &self,
        filter: &VersionFilter,
        page: Page,
    ) -> Result<Vec<Assistant>, DatabaseError>;

    /// Makes an older version current. [`DatabaseError::NotFound`] if there is no such version.
    async fn set_assistant_version(
        &self,
        id: AssistantId,
        version: i64,
    ) -> Result<Assistant, DatabaseError>;
}
