//! Assistants on the wire.

use runloom_core::assistant as core;
use runloom_core::executor::GraphSchemas;
use runloom_core::ids::{AssistantId, GraphId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::search::{AssistantFilter, AssistantSort, SortOrder};
use runloom_core::thread::IfExists;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::{Config, Context};
use crate::page::Limit;
use crate::schema;
use crate::time::Timestamp;

/// A graph with its configuration, at one version.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Assistant {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub assistant_id: AssistantId,
    /// The graph it runs.
    #[schema(value_type = String)]
    pub graph_id: GraphId,
    /// `{tags?, recursion_limit?, configurable?}`.
    #[schema(value_type = Object)]
    pub config: JsonMap,
    /// Static context of its runs; mirrors `config.configurable` where only one is given.
    #[schema(value_type = Object)]
    pub context: JsonMap,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The user's metadata; `created_by: "system"` for those the server keeps itself.
    #[schema(value_type = Object)]
    pub metadata: JsonMap,
    /// Its version, from 1.
    pub version: i64,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
}

impl From<core::Assistant> for Assistant {
    fn from(assistant: core::Assistant) -> Self {
        Self {
            assistant_id: assistant.id,
            graph_id: assistant.graph_id,
            config: assistant.config,
            context: assistant.context,
            created_at: assistant.created_at.into(),
            updated_at: assistant.updated_at.into(),
            metadata: assistant.metadata,
            version: assistant.version,
            name: assistant.name,
            description: assistant.description,
        }
    }
}

/// The names of an assistant's fields.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "each names a field of `Assistant`")]
pub enum AssistantField {
    AssistantId,
    GraphId,
    Config,
    Context,
    CreatedAt,
    UpdatedAt,
    Metadata,
    Version,
    Name,
    Description,
}

/// An assistant to be created.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AssistantCreate {
    /// The graph it runs.
    pub graph_id: String,
    /// Its id; made if none.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub assistant_id: Option<String>,
    /// See [`Assistant::config`].
    pub config: Option<Config>,
    /// See [`Assistant::context`].
    pub context: Option<Context>,
    /// See [`Assistant::metadata`].
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// What to do if it exists already; `raise` if none.
    #[schema(schema_with = schema::if_exists, required = false)]
    pub if_exists: Option<IfExists>,
    /// For people; `Untitled` if none.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
}

/// A change of an assistant, which makes a new version. What is left out stays as it is.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AssistantPatch {
    /// A new graph.
    pub graph_id: Option<String>,
    /// A new configuration.
    pub config: Option<Config>,
    /// A new context.
    pub context: Option<Context>,
    /// Merged into the metadata, key by key.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// A new name.
    pub name: Option<String>,
    /// A new description.
    pub description: Option<String>,
}

/// Which assistants to list.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct AssistantSearch {
    /// Their metadata contains this.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// They run this graph.
    pub graph_id: Option<String>,
    /// Their name contains this.
    pub name: Option<String>,
    /// At most so many; 10 if none.
    pub limit: Option<Limit>,
    /// After skipping so many.
    pub offset: Option<u32>,
    /// What to order by; `created_at` if none.
    #[schema(schema_with = schema::assistant_sort, required = false)]
    pub sort_by: Option<AssistantSort>,
    /// In which direction; `desc` if none.
    #[schema(schema_with = schema::sort_order, required = false)]
    pub sort_order: Option<SortOrder>,
    /// Only these fields.
    pub select: Option<Vec<AssistantField>>,
}

impl AssistantSearch {
    /// Which assistants match.
    pub fn filter(&self) -> AssistantFilter {
        filter(
            self.metadata.as_ref(),
            self.graph_id.as_deref(),
            self.name.as_deref(),
        )
    }

    /// In which order.
    pub fn sort(&self) -> (AssistantSort, SortOrder) {
        (
            self.sort_by.unwrap_or_default(),
            self.sort_order.unwrap_or_default(),
        )
    }
}

/// Which assistants to count.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct AssistantCount {
    /// Their metadata contains this.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// They run this graph.
    pub graph_id: Option<String>,
    /// Their name contains this.
    pub name: Option<String>,
}

impl AssistantCount {
    /// Which assistants match.
    pub fn filter(&self) -> AssistantFilter {
        filter(
            self.metadata.as_ref(),
            self.graph_id.as_deref(),
            self.name.as_deref(),
        )
    }
}

fn filter(
    metadata: Option<&JsonMap>,
    graph_id: Option<&str>,
    name: Option<&str>,
) -> AssistantFilter {
    AssistantFilter {
        metadata: metadata.cloned().unwrap_or_default(),
        graph_id: graph_id.map(GraphId::from),
        name: name.map(ToOwned::to_owned),
    }
}

/// Which versions of an assistant to list.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct VersionSearch {
    /// Their metadata contains this.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// At most so many; 10 if none.
    pub limit: Option<Limit>,
    /// After skipping so many.
    pub offset: Option<u32>,
}

/// Which version is to be current.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub struct VersionChoice {
    /// The version.
    pub version: i64,
}

/// The JSON Schemas of an assistant's graph; null where it declares none.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AssistantSchemas {
    /// The graph.
    #[schema(value_type = String)]
    pub graph_id: GraphId,
    /// What a run takes as input.
    #[schema(value_type = Option<Object>)]
    pub input_schema: Option<Json>,
    /// What a run's values are.
    #[schema(value_type = Option<Object>)]
    pub output_schema: Option<Json>,
    /// All channels.
    #[schema(value_type = Option<Object>)]
    pub state_schema: Option<Json>,
    /// What `config.configurable` takes.
    #[schema(value_type = Option<Object>)]
    pub config_schema: Option<Json>,
    /// What `context` takes.
    #[schema(value_type = Option<Object>)]
    pub context_schema: Option<Json>,
}

impl AssistantSchemas {
    /// The schemas of `graph`.
    pub fn new(graph: GraphId, schemas: GraphSchemas) -> Self {
        Self {
            graph_id: graph,
            input_schema: schemas.input_schema,
            output_schema: schemas.output_schema,
            state_schema: schemas.state_schema,
            config_schema: schemas.config_schema,
            context_schema: schemas.context_schema,
        }
    }
}
