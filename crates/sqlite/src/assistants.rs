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
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::change::Change;
use crate::convert::{micros, time};
use crate::error::Result;
use crate::statement::{Json, all, columns, execute, first};
use crate::{Sqlite, search};

#[async_trait]
impl Assistants for Sqlite {
    async fn create_assistant(&self, new: NewAssistant) -> Result<Assistant, DatabaseError> {
        self.change(0, move |change| create(change, new)).await
    }

    async fn assistant(&self, id: AssistantId) -> Result<Option<Assistant>, DatabaseError> {
        self.read(move |db| load(db, id)).await
    }

    async fn patch_assistant(
        &self,
        id: AssistantId,
        patch: AssistantPatch,
    ) -> Result<Assistant, DatabaseError> {
        self.change(0, move |change| add_patched(change, id, patch))
            .await
    }

    async fn delete_assistant(&self, id: AssistantId) -> Result<(), DatabaseError> {
        self.change(0, move |change| remove(change, id)).await
    }

    async fn search_assistants(
        &self,
        filter: &AssistantFilter,
        sort: (AssistantSort, SortOrder),
        page: Page,
    ) -> Result<Vec<Assistant>, DatabaseError> {
        let filter = filter.clone();
        let find = move |db: &Connection| {
            let mut found = Vec::new();
            for id in search::assistants(db, &filter, sort, page)? {
                found.extend(load(db, id)?);
            }
            Ok(found)
        };
        self.read(find).await
    }

    async fn count_assistants(&self, filter: &AssistantFilter) -> Result<u64, DatabaseError> {
        let filter = filter.clone();
        self.read(move |db| search::count_assistants(db, &filter))
            .await
    }

    async fn assistant_versions(
        &self,
        filter: &VersionFilter,
        page: Page,
    ) -> Result<Vec<Assistant>, DatabaseError> {
        let id = filter.id;
        let versions = self.read(move |db| versions(db, id)).await?.into_iter();
        let found = versions.filter(|one| map_contains(&one.metadata, &filter.metadata));
        let found = found.skip(page.offset as usize).take(page.limit as usize);
        Ok(found.collect())
    }

    async fn set_assistant_version(
        &self,
        id: AssistantId,
        version: i64,
    ) -> Result<Assistant, DatabaseError> {
        self.change(0, move |change| set_version(change, id, version))
            .await
    }
}

fn create(change: &Change<'_>, new: NewAssistant) -> Result<Assistant> {
    match (load(change, new.id)?, new.if_exists) {
        (Some(_), IfExists::Raise) => Err(DatabaseError::Exists("assistant").into()),
        (Some(known), IfExists::DoNothing) => Ok(known),
        (None, _) => {
            let assistant = first_version(new, change.now);
            point_at(change, &assistant)?;
            add_version(change, &assistant)?;
            Ok(assistant)
        }
    }
}

fn add_patched(change: &Change<'_>, id: AssistantId, patch: AssistantPatch) -> Result<Assistant> {
    let known = load(change, id)?;
    let mut assistant = known.ok_or(DatabaseError::NotFound("assistant"))?;
    assistant.version = highest_version(change, id)? + 1;
    assistant.updated_at = change.now;
    apply(&mut assistant, patch);
    point_at(change, &assistant)?;
    add_version(change, &assistant)?;
    Ok(assistant)
}

fn set_version(change: &Change<'_>, id: AssistantId, version: i64) -> Result<Assistant> {
    let known = load(change, id)?;
    let known = known.ok_or(DatabaseError::NotFound("assistant"))?;
    let versions = versions(change, id)?;
    let wanted = versions.into_iter().find(|one| one.version == version);
    let assistant = Assistant {
        created_at: known.created_at,
        updated_at: change.now,
        ..wanted.ok_or(DatabaseError::NotFound("assistant version"))?
    };
    point_at(change, &assistant)?;
    Ok(assistant)
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

columns! {
    /// The columns of an assistant, or of one of its versions.
    struct AssistantColumns {
        id: Uuid,
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
}

impl From<AssistantColumns> for Assistant {
    fn from(columns: AssistantColumns) -> Self {
        Self {
            id: columns.id.into(),
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
fn load(db: &Connection, id: AssistantId) -> Result<Option<Assistant>> {
    let row: Option<AssistantColumns> = first(
        db,
        "select a.id, a.version, a.created_at, a.updated_at, v.graph_id, v.config, v.context,
            v.metadata, v.name, v.description
        from assistants a
        join assistant_versions v on v.assistant_id = a.id and v.version = a.version
        where a.id = ?",
        params![id.0],
    )?;
    Ok(row.map(Assistant::from))
}

/// All versions, newest first.
fn versions(db: &Connection, id: AssistantId) -> Result<Vec<Assistant>> {
    let rows: Vec<AssistantColumns> = all(
        db,
        "select assistant_id as id, version, created_at, created_at as updated_at, graph_id,
            config, context, metadata, name, description
        from assistant_versions where assistant_id = ? order by version desc",
        params![id.0],
    )?;
    Ok(rows.into_iter().map(Assistant::from).collect())
}

fn highest_version(change: &Change<'_>, id: AssistantId) -> Result<i64> {
    let highest: Option<(i64,)> = first(
        change,
        "select coalesce(max(version), 0) from assistant_versions where assistant_id = ?",
        params![id.0],
    )?;
    Ok(highest.map_or(0, |(version,)| version))
}

/// Makes this version the current one.
fn point_at(change: &Change<'_>, assistant: &Assistant) -> Result<()> {
    execute(
        change,
        "insert into assistants (id, version, created_at, updated_at) values (?, ?, ?, ?)
        on conflict (id) do update set
            version = excluded.version, updated_at = excluded.updated_at",
        params![
            assistant.id.0,
            assistant.version,
            micros(assistant.created_at),
            micros(assistant.updated_at)
        ],
    )?;
    Ok(())
}

fn add_version(change: &Change<'_>, assistant: &Assistant) -> Result<()> {
    execute(
        change,
        "insert into assistant_versions (
            assistant_id, version, graph_id, config, context, metadata, name, description,
            created_at
        ) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            assistant.id.0,
            assistant.version,
            assistant.graph_id.0,
            Json(&assistant.config),
            Json(&assistant.context),
            Json(&assistant.metadata),
            assistant.name,
            assistant.description,
            micros(assistant.updated_at)
        ],
    )?;
    Ok(())
}

fn remove(change: &Change<'_>, id: AssistantId) -> Result<()> {
    let removed = execute(change, "delete from assistants where id = ?", params![id.0])?;
    if removed == 0 {
        return Err(DatabaseError::NotFound("assistant").into());
    }
    Ok(())
}
