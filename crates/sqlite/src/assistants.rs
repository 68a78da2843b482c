//! Assistants and their versions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runloom_core::assistant::{Assistant, AssistantPatch, NewAssistant};
use runloom_core::database::{Assistants, DatabaseError};
use runloom_core::ids::{AssistantId, GraphId};
use runloom_core::json::JsonMap;
use runloom_core::search::{
    AssistantFilter, AssistantSort, Page, SortOrder, VersionFilter, map_contains,
};
use runloom_core::thread::IfExists;
use sqlx::SqliteConnection;
use sqlx::types::Json;

use crate::connections::Change;
use crate::convert::{micros, time};
use crate::error::Result;
use crate::{Sqlite, search};

#[async_trait]
impl Assistants for Sqlite {
    async fn create_assistant(&self, new: NewAssistant) -> Result<Assistant, DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        match (load(&mut change, new.id).await?, new.if_exists) {
            (Some(_), IfExists::Raise) => Err(DatabaseError::Exists("assistant")),
            (Some(known), IfExists::DoNothing) => Ok(known),
            (None, _) => {
                let assistant = first_version(new, change.now);
                point_at(&mut change, &assistant).await?;
                add_version(&mut change, &assistant).await?;
                change.commit().await?;
                Ok(assistant)
            }
        }
    }

    async fn assistant(&self, id: AssistantId) -> Result<Option<Assistant>, DatabaseError> {
        let mut reader = self.reader().await?;
        Ok(load(&mut reader, id).await?)
    }

    async fn patch_assistant(
        &self,
        id: AssistantId,
        patch: AssistantPatch,
    ) -> Result<Assistant, DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        let known = load(&mut change, id).await?;
        let mut assistant = known.ok_or(DatabaseError::NotFound("assistant"))?;
        assistant.version = highest_version(&mut change, id).await? + 1;
        assistant.updated_at = change.now;
        apply(&mut assistant, patch);
        point_at(&mut change, &assistant).await?;
        add_version(&mut change, &assistant).await?;
        change.commit().await?;
        Ok(assistant)
    }

    async fn delete_assistant(&self, id: AssistantId) -> Result<(), DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        if !remove(&mut change, id).await? {
            return Err(DatabaseError::NotFound("assistant"));
        }
        Ok(change.commit().await?)
    }

    async fn search_assistants(
        &self,
        filter: &AssistantFilter,
        sort: (AssistantSort, SortOrder),
        page: Page,
    ) -> Result<Vec<Assistant>, DatabaseError> {
        let mut reader = self.reader().await?;
        let mut found = Vec::new();
        for id in search::assistants(&mut reader, filter, sort, page).await? {
            found.extend(load(&mut reader, id).await?);
        }
        Ok(found)
    }

    async fn count_assistants(&self, filter: &AssistantFilter) -> Result<u64, DatabaseError> {
        let mut reader = self.reader().await?;
        Ok(search::count_assistants(&mut reader, filter).await?)
    }

    async fn assistant_versions(
        &self,
        filter: &VersionFilter,
        page: Page,
    ) -> Result<Vec<Assistant>, DatabaseError> {
        let mut reader = self.reader().await?;
        let versions = versions(&mut reader, filter.id).await?.into_iter();
        let found = versions.filter(|one| map_contains(&one.metadata, &filter.metadata));
        let found = found.skip(page.offset as usize).take(page.limit as usize);
        Ok(found.collect())
    }

    async fn set_assistant_version(
        &self,
        id: AssistantId,
        version: i64,
    ) -> Result<Assistant, DatabaseError> {
        let mut writer = self.writer().await?;
        let mut change = self.change(&mut writer).await?;
        let known = load(&mut change, id).await?;
        let known = known.ok_or(DatabaseError::NotFound("assistant"))?;
        let versions = versions(&mut change, id).await?;
        let wanted = versions.into_iter().find(|one| one.version == version);
        let assistant = Assistant {
            created_at: known.created_at,
            updated_at: change.now,
            ..wanted.ok_or(DatabaseError::NotFound("assistant version"))?
        };
        point_at(&mut change, &assistant).await?;
        change.commit().await?;
        Ok(assistant)
    }
}

fn first_version(new: NewAssistant, now: DateTime<Utc>) -> Assistant {
    Assistant {
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
    }
}

/// Changes what the patch names, and adds to the metadata.
fn apply(assistant: &mut Assistant, patch: AssistantPatch) {
    fn replace<T>(field: &mut T, by: Option<T>) {
        if let Some(by) = by {
            *field = by;
        }
    }
    assistant
        .metadata
        .extend(patch.metadata.unwrap_or_default());
    replace(&mut assistant.graph_id, patch.graph_id);
    replace(&mut assistant.config, patch.config);
    replace(&mut assistant.context, patch.context);
    replace(&mut assistant.name, patch.name);
    if patch.description.is_some() {
        assistant.description = patch.description;
    }
}

/// The columns of an assistant, or of one of its versions.
struct AssistantColumns {
    id: AssistantId,
    version: i64,
    created_at: i64,
    updated_at: i64,
    graph_id: String,
    config: Json<JsonMap>,
    context: Json<JsonMap>,
    metadata: Json<JsonMap>,
    name: String,
    description: Option<String>,
}

impl From<AssistantColumns> for Assistant {
    fn from(columns: AssistantColumns) -> Self {
        Self {
            id: columns.id,
            graph_id: GraphId(columns.graph_id),
            config: columns.config.0,
            context: columns.context.0,
            created_at: time(columns.created_at),
            updated_at: time(columns.updated_at),
            metadata: columns.metadata.0,
            version: columns.version,
            name: columns.name,
            description: columns.description,
        }
    }
}

/// The assistant at its current version.
async fn load(db: &mut SqliteConnection, id: AssistantId) -> Result<Option<Assistant>> {
    let row = sqlx::query_as!(
        AssistantColumns,
        "select a.id, a.version, a.created_at, a.updated_at, v.graph_id, v.config, v.context,
            v.metadata, v.name, v.description
        from assistants a
        join assistant_versions v on v.assistant_id = a.id and v.version = a.version
        where a.id = ?",
        id.0
    );
    Ok(row.fetch_optional(db).await?.map(Assistant::from))
}

/// All versions, newest first.
async fn versions(db: &mut SqliteConnection, id: AssistantId) -> Result<Vec<Assistant>> {
    let rows = sqlx::query_as!(
        AssistantColumns,
        "select assistant_id as id, version, created_at, created_at as updated_at, graph_id,
            config, context, metadata, name, description
        from assistant_versions where assistant_id = ? order by version desc",
        id.0
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(Assistant::from).collect())
}

async fn highest_version(change: &mut Change<'_>, id: AssistantId) -> Result<i64> {
    let highest = sqlx::query_scalar!(
        r#"select max(version) as "version: i64" from assistant_versions where assistant_id = ?"#,
        id.0
    );
    Ok(highest.fetch_one(&mut **change).await?.unwrap_or(0))
}

/// Makes this version the current one.
async fn point_at(change: &mut Change<'_>, assistant: &Assistant) -> Result<()> {
    sqlx::query!(
        "insert into assistants (id, version, created_at, updated_at) values (?, ?, ?, ?)
        on conflict (id) do update set
            version = excluded.version, updated_at = excluded.updated_at",
        assistant.id.0,
        assistant.version,
        micros(assistant.created_at),
        micros(assistant.updated_at)
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

async fn add_version(change: &mut Change<'_>, assistant: &Assistant) -> Result<()> {
    sqlx::query!(
        "insert into assistant_versions (
            assistant_id, version, graph_id, config, context, metadata, name, description,
            created_at
        ) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        assistant.id.0,
        assistant.version,
        assistant.graph_id.0,
        Json(&assistant.config),
        Json(&assistant.context),
        Json(&assistant.metadata),
        assistant.name,
        assistant.description,
        micros(assistant.updated_at)
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

async fn remove(change: &mut Change<'_>, id: AssistantId) -> Result<bool> {
    let removed = sqlx::query!("delete from assistants where id = ?", id.0);
    Ok(removed.execute(&mut **change).await?.rows_affected() > 0)
}
