//! Threads on the wire.

use std::collections::BTreeMap;

use runloom_core::ids::ThreadId;
use runloom_core::json::{Json, JsonMap};
use runloom_core::run::RunError;
use runloom_core::search::{SortOrder, ThreadFilter, ThreadSort};
use runloom_core::state::NodeUpdate;
use runloom_core::thread::{self as core, IfExists, ThreadStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::Extract;
use crate::page::Limit;
use crate::schema;
use crate::time::Timestamp;
use crate::ttl::{self, Expiry, PruneStrategy, Ttl};

/// A conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Thread {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub thread_id: ThreadId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its values or status last changed.
    pub state_updated_at: Timestamp,
    /// The user's metadata; runs add `graph_id` and `assistant_id`.
    #[schema(value_type = Object)]
    pub metadata: JsonMap,
    /// Where it stands.
    #[schema(schema_with = schema::thread_status)]
    pub status: ThreadStatus,
    /// The configuration that its runs inherit.
    #[schema(value_type = Object)]
    pub config: JsonMap,
    /// The values when its last run ended.
    #[schema(schema_with = schema::any)]
    pub values: Option<Json>,
    /// Pending interrupts by task id.
    #[schema(value_type = Object)]
    pub interrupts: JsonMap,
    /// Why its last run failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Failure>)]
    pub error: Option<RunError>,
    /// When it expires, for who asks to have that included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Expiry>,
    /// What a search picked out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub extracted: Option<BTreeMap<String, Value>>,
}

/// Why a run failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Failure {
    /// The kind of error, such as `ValueError`.
    pub error: String,
    /// What happened.
    pub message: String,
}

impl From<core::Thread> for Thread {
    fn from(thread: core::Thread) -> Self {
        Self {
            thread_id: thread.id,
            created_at: thread.created_at.into(),
            updated_at: thread.updated_at.into(),
            state_updated_at: thread.state_updated_at.into(),
            metadata: thread.metadata,
            status: thread.status,
            config: thread.config,
            values: thread.values,
            interrupts: thread.interrupts,
            error: thread.error,
            ttl: None,
            extracted: None,
        }
    }
}

impl Thread {
    /// The thread with when it expires, if it does.
    pub fn with_ttl(thread: core::Thread) -> Self {
        let ttl = Expiry::of(&thread);
        Self {
            ttl,
            ..thread.into()
        }
    }
}

/// The names of a thread's fields.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "each names a field of `Thread`")]
pub enum ThreadField {
    ThreadId,
    CreatedAt,
    UpdatedAt,
    StateUpdatedAt,
    Metadata,
    Status,
    Config,
    Values,
    Interrupts,
    Error,
}

/// A thread to be created.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ThreadCreate {
    /// Its id; made if none.
    #[schema(value_type = Option<Uuid>)]
    pub thread_id: Option<String>,
    /// The user's metadata.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// What to do if it exists already; `raise` if none.
    #[schema(schema_with = schema::if_exists, required = false)]
    pub if_exists: Option<IfExists>,
    /// How long it is kept after anything last happened on it; as the server is set up if none.
    pub ttl: Option<Ttl>,
    /// A state to begin with, superstep by superstep. Needs `metadata.graph_id`.
    pub supersteps: Option<Vec<Superstep>>,
}

/// Updates that make one checkpoint.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Superstep {
    /// The updates.
    pub updates: Vec<SuperstepUpdate>,
}

/// An update as if a node had made it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct SuperstepUpdate {
    /// What the node would have written.
    #[schema(schema_with = schema::any, required = false)]
    pub values: Option<Json>,
    /// A command that the node would have returned.
    #[schema(value_type = Option<Object>)]
    pub command: Option<Json>,
    /// The node.
    pub as_node: Option<String>,
}

impl From<SuperstepUpdate> for NodeUpdate {
    fn from(update: SuperstepUpdate) -> Self {
        Self {
            values: update.values,
            command: update.command,
            as_node: update.as_node,
        }
    }
}

/// A change of a thread's own fields.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ThreadPatch {
    /// Merged into the metadata, key by key.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// How long it is kept from now on, after anything last happened on it; null for good.
    #[serde(default, deserialize_with = "ttl::given")]
    #[schema(value_type = Option<Ttl>)]
    pub ttl: Option<Option<Ttl>>,
}

/// Which threads to list.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct ThreadSearch {
    /// Only these.
    pub ids: Option<Vec<Uuid>>,
    /// Their metadata contains this.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// Their values contain this.
    #[schema(value_type = Option<Object>)]
    pub values: Option<JsonMap>,
    /// They stand here.
    #[schema(schema_with = schema::thread_status, required = false)]
    pub status: Option<ThreadStatus>,
    /// At most so many; 10 if none.
    pub limit: Option<Limit>,
    /// After skipping so many.
    pub offset: Option<u32>,
    /// What to order by; `updated_at` if none.
    #[schema(schema_with = schema::thread_sort, required = false)]
    pub sort_by: Option<ThreadSort>,
    /// In which direction; `desc` if none.
    #[schema(schema_with = schema::sort_order, required = false)]
    pub sort_order: Option<SortOrder>,
    /// Only these fields.
    pub select: Option<Vec<ThreadField>>,
    /// Values to pick, by alias and path.
    pub extract: Option<Extract>,
}

impl ThreadSearch {
    /// Which threads match. An empty list of ids is the same as none.
    pub fn filter(&self) -> ThreadFilter {
        let ids = self.ids.as_deref().filter(|ids| !ids.is_empty());
        ThreadFilter {
            ids: ids.map(|ids| ids.iter().copied().map(ThreadId).collect()),
            metadata: self.metadata.clone().unwrap_or_default(),
            values: self.values.clone().unwrap_or_default(),
            status: self.status,
        }
    }

    /// In which order.
    pub fn sort(&self) -> (ThreadSort, SortOrder) {
        (
            self.sort_by.unwrap_or_default(),
            self.sort_order.unwrap_or_default(),
        )
    }
}

/// Which threads to count.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct ThreadCount {
    /// Their metadata contains this.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<JsonMap>,
    /// Their values contain this.
    #[schema(value_type = Option<Object>)]
    pub values: Option<JsonMap>,
    /// They stand here.
    #[schema(schema_with = schema::thread_status, required = false)]
    pub status: Option<ThreadStatus>,
}

impl ThreadCount {
    /// Which threads match.
    pub fn filter(self) -> ThreadFilter {
        ThreadFilter {
            ids: None,
            metadata: self.metadata.unwrap_or_default(),
            values: self.values.unwrap_or_default(),
            status: self.status,
        }
    }
}

/// Which threads to prune.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ThreadPrune {
    /// These; unknown ones are passed over.
    pub thread_ids: Vec<Uuid>,
    /// How.
    #[serde(default)]
    pub strategy: PruneStrategy,
}

/// How many threads were pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Pruned {
    /// So many.
    pub pruned_count: u32,
}
