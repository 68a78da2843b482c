//! Assistants in the model.

use async_trait::async_trait;
use runloom_core::assistant::{Assistant, AssistantPatch, NewAssistant};
use runloom_core::database::{Assistants, DatabaseError};
use runloom_core::ids::AssistantId;
use runloom_core::search::{
    AssistantFilter, AssistantSort, Page, SortOrder, VersionFilter, map_contains,
};
use runloom_core::thread::IfExists;

use super::Memory;
use super::state::{AssistantRow, State, paged, sort_by};

#[async_trait]
impl Assistants for Memory {
    async fn create_assistant(&self, new: NewAssistant) -> Result<Assistant, DatabaseError> {
        let (mut state, now) = self.begin();
        if let Some(row) = state.assistants.get(&new.id) {
            return match new.if_exists {
                IfExists::Raise => Err(DatabaseError::Exists("assistant")),
                IfExists::DoNothing => Ok(row.current.clone()),
            };
        }
        let assistant = Assistant {
            id: new.id,
            graph_id: new.graph_id,
            config: new.config,
            context: new.context,
            created_at: now,
            updated_at: now,
            metadata: new.metadata,
            version: 1,
            name: new.name,
            description: new.description,
        };
        let row = AssistantRow {
            current: assistant.clone(),
            versions: vec![assistant.clone()],
        };
        state.assistants.insert(new.id, row);
        Ok(assistant)
    }

    async fn assistant(&self, id: AssistantId) -> Result<Option<Assistant>, DatabaseError> {
        let (state, _) = self.begin();
        Ok(state.assistants.get(&id).map(|row| row.current.clone()))
    }

    async fn patch_assistant(
        &self,
        id: AssistantId,
        patch: AssistantPatch,
    ) -> Result<Assistant, DatabaseError> {
        let (mut state, now) = self.begin();
        let row = find(&mut state, id)?;
        let highest = row.versions.last().map_or(0, |last| last.version);
        let current = &mut row.current;
        current.version = highest + 1;
        current.updated_at = now;
        current.metadata.extend(patch.metadata.unwrap_or_default());
        let old = current.clone();
        current.graph_id = patch.graph_id.unwrap_or(old.graph_id);
        current.config = patch.config.unwrap_or(old.config);
        current.context = patch.context.unwrap_or(old.context);
        current.name = patch.name.unwrap_or(old.name);
        current.description = patch.description.or(old.description);
        row.versions.push(Assistant {
            created_at: now,
            ..current.clone()
        });
        Ok(current.clone())
    }

    async fn delete_assistant(&self, id: AssistantId) -> Result<(), DatabaseError> {
        let (mut state, _) = self.begin();
        let removed = state.assistants.remove(&id);
        removed
            .map(drop)
            .ok_or(DatabaseError::NotFound("assistant"))
    }

    async fn search_assistants(
        &self,
        filter: &AssistantFilter,
        (key, order): (AssistantSort, SortOrder),
        page: Page,
    ) -> Result<Vec<Assistant>, DatabaseError> {
        let (state, _) = self.begin();
        let all = state.assistants.values().map(|row| &row.current);
        let mut found: Vec<_> = all.filter(|one| matches(one, filter)).cloned().collect();
        match key {
            AssistantSort::AssistantId => sort_by(&mut found, order, |one| one.id),
            AssistantSort::CreatedAt => sort_by(&mut found, order, |one| (one.created_at, one.id)),
            AssistantSort::UpdatedAt => sort_by(&mut found, order, |one| (one.updated_at, one.id)),
            AssistantSort::Name => sort_by(&mut found, order, |one| (one.name.clone(), one.id)),
            AssistantSort::GraphId => {
                sort_by(&mut found, order, |one| (one.graph_id.clone(), one.id));
            }
        }
        Ok(paged(found, page))
    }

    async fn count_assistants(&self, filter: &AssistantFilter) -> Result<u64, DatabaseError> {
        let (state, _) = self.begin();
        let all = state.assistants.values().map(|row| &row.current);
        Ok(all.filter(|one| matches(one, filter)).count() as u64)
    }

    async fn assistant_versions(
        &self,
        filter: &VersionFilter,
        page: Page,
    ) -> Result<Vec<Assistant>, DatabaseError> {
        let (state, _) = self.begin();
        let rows = state.assistants.get(&filter.id).into_iter();
        let versions = rows.flat_map(|row| row.versions.iter().rev());
        let found = versions.filter(|one| map_contains(&one.metadata, &filter.metadata));
        Ok(paged(found.cloned(), page))
    }

    async fn set_assistant_version(
        &self,
        id: AssistantId,
        version: i64,
    ) -> Result<Assistant, DatabaseError> {
        let (mut state, now) = self.begin();
        let row = find(&mut state, id)?;
        let mut versions = row.versions.iter();
        let wanted = versions
            .find(|one| one.version == version)
            .ok_or(DatabaseError::NotFound("assistant version"))?;
        row.current = Assistant {
            created_at: row.current.created_at,
            updated_at: now,
            ..wanted.clone()
        };
        Ok(row.current.clone())
    }
}

fn find(state: &mut State, id: AssistantId) -> Result<&mut AssistantRow, DatabaseError> {
    let row = state.assistants.get_mut(&id);
    row.ok_or(DatabaseError::NotFound("assistant"))
}

fn matches(assistant: &Assistant, filter: &AssistantFilter) -> bool {
    let named = |name: &String| {
        let name = name.to_lowercase();
        assistant.name.to_lowercase().contains(&name)
    };
    let graph = filter.graph_id.as_ref();
    graph.is_none_or(|graph| assistant.graph_id == *graph)
        && filter.name.as_ref().is_none_or(named)
        && map_contains(&assistant.metadata, &filter.metadata)
}
