//! Assistants and their versions.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runloom_core::assistant::{Assistant, AssistantPatch, NewAssistant};
use runloom_core::database::{Assistants, DatabaseError};
use runloom_core::ids::{AssistantId, GraphId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::search::{
    AssistantFilter, AssistantSort, Page, SortOrder, VersionFilter, map_contains,
};
use runloom_core::thread::IfExists;
use sqlx::types::{Json, Uuid};

use crate::connections::Change;
use crate::error::Result;
use crate::json::AsJson;
use crate::server::Server;
use crate::session::Session;
use crate::together::Request;
use crate::{Postgres, search};

#[async_trait]
impl Assistants for Postgres {
    async fn create_assistant(&self, new: NewAssistant) -> Result<Assistant, DatabaseError> {
        loop {
            let mut session = self.server.statement().await?;
            let created_at = create(&mut session, &new, self.server.set_time()).await?;
            session.commit().await?;
            match (created_at, new.if_exists) {
                (Some(created_at), _) => return Ok(first_version(new, created_at)),
                (None, IfExists::Raise) => return Err(DatabaseError::Exists("assistant")),
                (None, IfExists::DoNothing) => {
                    // It may have been deleted since.
                    if let Some(known) = self.assistant(new.id).await? {
                        return Ok(known);
                    }
                }
            }
        }
    }

    async fn assistant(&self, id: AssistantId) -> Result<Option<Assistant>, DatabaseError> {
        let read = Arc::new(ReadAssistant(id));
        if let Some(assistant) = self.assistants.ask(&self.server, read).await? {
            return Ok(assistant);
        }
        let mut reader = self.server.reader().await?;
        Ok(load(&mut reader, &[id]).await?.pop())
    }

    async fn patch_assistant(
        &self,
        id: AssistantId,
        patch: AssistantPatch,
    ) -> Result<Assistant, DatabaseError> {
        let mut change = self.server.change().await?;
        lock(&mut change, id).await?;
        let known = load(&mut change, &[id]).await?.pop();
        let mut assistant = known.ok_or(DatabaseError::NotFound("assistant"))?;
        assistant.version = highest_version(&mut change, id).await? + 1;
        assistant.updated_at = change.now;
        apply(&mut assistant, patch);
        add_version(&mut change, &assistant).await?;
        change.commit().await?;
        Ok(assistant)
    }

    async fn delete_assistant(&self, id: AssistantId) -> Result<(), DatabaseError> {
        let mut session = self.server.statement().await?;
        if !remove(&mut session, id).await? {
            return Err(DatabaseError::NotFound("assistant"));
        }
        Ok(session.commit().await?)
    }

    async fn search_assistants(
        &self,
        filter: &AssistantFilter,
        sort: (AssistantSort, SortOrder),
        page: Page,
    ) -> Result<Vec<Assistant>, DatabaseError> {
        let mut reader = self.server.reader().await?;
        let ids = search::assistants(&mut reader, filter, sort, page).await?;
        Ok(load(&mut reader, &ids).await?)
    }

    async fn count_assistants(&self, filter: &AssistantFilter) -> Result<u64, DatabaseError> {
        let mut reader = self.server.reader().await?;
        Ok(search::count_assistants(&mut reader, filter).await?)
    }

    async fn assistant_versions(
        &self,
        filter: &VersionFilter,
        page: Page,
    ) -> Result<Vec<Assistant>, DatabaseError> {
        let mut reader = self.server.reader().await?;
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
        let mut change = self.server.change().await?;
        lock(&mut change, id).await?;
        if !point_at(&mut change, id, version).await? {
            return Err(DatabaseError::NotFound("assistant version"));
        }
        let current = load(&mut change, &[id]).await?.pop();
        change.commit().await?;
        current.ok_or(DatabaseError::NotFound("assistant"))
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
    id: Uuid,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
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
            id: columns.id.into(),
            graph_id: GraphId(columns.graph_id),
            config: columns.config.0,
            context: columns.context.0,
            created_at: columns.created_at,
            updated_at: columns.updated_at,
            metadata: columns.metadata.0,
            version: columns.version,
            name: columns.name,
            description: columns.description,
        }
    }
}

/// An assistant to be read.
pub(crate) struct ReadAssistant(AssistantId);

impl Request for ReadAssistant {
    /// None if there is no such assistant.
    type Reply = Option<Assistant>;

    fn thread(&self) -> Option<ThreadId> {
        None
    }

    async fn carry_out(
        server: &Server,
        requests: &[Arc<Self>],
    ) -> Result<Vec<Option<Option<Assistant>>>> {
        // Many ask for the same one.
        let ids: BTreeSet<_> = requests.iter().map(|request| request.0).collect();
        let mut reader = server.reader().await?;
        let found = load(&mut reader, &ids.into_iter().collect::<Vec<_>>()).await?;
        let of = |id| found.iter().find(|assistant| assistant.id == id).cloned();
        Ok(requests.iter().map(|request| Some(of(request.0))).collect())
    }
}

/// Those of the assistants that are there, at their current versions, in the order of `ids`.
async fn load(db: &mut Session, ids: &[AssistantId]) -> Result<Vec<Assistant>> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        AssistantColumns,
        r#"select id as "id!", version as "version!", created_at as "created_at!",
            updated_at as "updated_at!", graph_id as "graph_id!", config as "config!: _",
            context as "context!: _", metadata as "metadata!: _", name as "name!", description
        from read_assistants($1)"#,
        &ids
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(Assistant::from).collect())
}

/// All versions, newest first.
async fn versions(db: &mut Session, id: AssistantId) -> Result<Vec<Assistant>> {
    let rows = sqlx::query_as!(
        AssistantColumns,
        "select assistant_id as id, version, created_at, created_at as updated_at, graph_id,
            config, context, metadata, name, description
        from assistant_versions where assistant_id = $1 order by version desc",
        id.0
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(Assistant::from).collect())
}

/// Locks the assistant, waiting for whoever has it; from then on the change happens now.
async fn lock(change: &mut Change, id: AssistantId) -> Result<()> {
    let locked = sqlx::query_scalar!(
        "select id from assistants where id = $1 for no key update",
        id.0
    );
    let locked = locked.fetch_optional(&mut **change).await?;
    locked.ok_or(DatabaseError::NotFound("assistant"))?;
    change.read_clock().await
}

async fn highest_version(change: &mut Change, id: AssistantId) -> Result<i64> {
    let highest = sqlx::query_scalar!(
        "select max(version) from assistant_versions where assistant_id = $1",
        id.0
    );
    Ok(highest.fetch_one(&mut **change).await?.unwrap_or(0))
}

/// Stores a new assistant at version 1, unless it is there. Answers with when that was.
async fn create(
    session: &mut Session,
    new: &NewAssistant,
    now: Option<DateTime<Utc>>,
) -> Result<Option<DateTime<Utc>>> {
    let created_at = sqlx::query_scalar!(
        "with made as (
            insert into assistants (id, version, created_at, updated_at)
            select $1, 1, moment, moment from coalesce($2, clock_timestamp()) as moment
            on conflict do nothing returning *
        )
        insert into assistant_versions (
            assistant_id, version, graph_id, config, context, metadata, name, description,
            created_at
        )
        select id, version, $3, $4, $5, $6, $7, $8, created_at from made
        returning created_at",
        new.id.0,
        now,
        new.graph_id.0,
        AsJson(&new.config) as _,
        AsJson(&new.context) as _,
        AsJson(&new.metadata) as _,
        new.name,
        new.description
    );
    Ok(created_at.fetch_optional(session).await?)
}

/// Stores a new version of an assistant that is locked, and makes it the current one.
async fn add_version(change: &mut Change, assistant: &Assistant) -> Result<()> {
    sqlx::query!(
        "with made as (
            insert into assistant_versions (
                assistant_id, version, graph_id, config, context, metadata, name, description,
                created_at
            ) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        )
        update assistants set version = $2, updated_at = $9 where id = $1",
        assistant.id.0,
        assistant.version,
        assistant.graph_id.0,
        AsJson(&assistant.config) as _,
        AsJson(&assistant.context) as _,
        AsJson(&assistant.metadata) as _,
        assistant.name,
        assistant.description,
        assistant.updated_at
    )
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Makes a version the current one, if it is there.
async fn point_at(change: &mut Change, id: AssistantId, version: i64) -> Result<bool> {
    let pointed = sqlx::query!(
        "update assistants a set version = v.version, updated_at = $3
        from assistant_versions v
        where a.id = $1 and v.assistant_id = a.id and v.version = $2",
        id.0,
        version,
        change.now
    );
    Ok(pointed.execute(&mut **change).await?.rows_affected() > 0)
}

async fn remove(session: &mut Session, id: AssistantId) -> Result<bool> {
    let removed = sqlx::query!("delete from assistants where id = $1", id.0);
    Ok(removed.execute(session).await?.rows_affected() > 0)
}
