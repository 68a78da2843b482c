//! What the parts of one attempt share: who it is, what was asked of it, how to stop it, and the
//! only ways out of it. None of it keeps the host; when the attempt is over, the ways out are shut,
//! and code that was left behind can do no more harm.

mod events;
mod stop;
mod store;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use runloom_core::clock::Clock;
use runloom_core::database::Items;
use runloom_core::executor::{Attempt, Host};
use runloom_core::json::JsonMap;
use serde_json::{Value, json};
use tokio::runtime::Handle;

pub(crate) use events::{Closing, EventSink, Pump};
pub(crate) use stop::{Stop, watch};
pub(crate) use store::{Store, StoreError, Ticket};

use crate::stream::Modes;

/// What all parts of an attempt share.
pub(crate) struct Run {
    pub(crate) attempt: Attempt,
    /// What all checkpoints, tasks and chat messages of the attempt carry.
    pub(crate) metadata: Arc<JsonMap>,
    pub(crate) modes: Modes,
    pub(crate) events: EventSink,
    pub(crate) store: Store,
    /// Only to be asked whether the attempt may go on; gone when the attempt is over.
    pub(crate) host: Weak<dyn Host>,
    pub(crate) items: Arc<dyn Items>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where nodes execute.
    pub(crate) runtime: Handle,
    /// How long to wait for code that does not stop.
    pub(crate) grace: Duration,
    pub(crate) stop: Stop,
    /// Answers to interrupts by their ids, once the root graph has read them.
    pub(crate) answers: OnceLock<BTreeMap<String, Value>>,
    /// Ids of chat messages that need not be shown again.
    pub(crate) shown: Mutex<HashSet<String>>,
    /// The root graph's channel of chat messages.
    pub(crate) messages_channel: Option<String>,
}

impl Run {
    /// Whether the attempt may begin another superstep, or a node of it.
    pub(crate) fn may_act(&self) -> bool {
        self.host.upgrade().is_some_and(|host| host.may_act())
    }

    /// Whether the chat message `id` need not be shown again. From now on it need not.
    pub(crate) fn shows_first(&self, id: &str) -> bool {
        let mut shown = self
            .shown
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        shown.insert(id.to_owned())
    }
}

/// The metadata of everything that `attempt` makes: the simple values of its configuration, its own
/// metadata, and who it is.
pub(crate) fn metadata(attempt: &Attempt) -> JsonMap {
    let configurable = attempt.kwargs.configurable().into_iter().flatten();
    let mut metadata: JsonMap = configurable
        .filter(|(key, value)| !(is_internal(key) || value.is_object() || value.is_array()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    metadata.extend(attempt.metadata.clone());
    let own = [
        ("run_id", json!(attempt.run_id)),
        ("thread_id", json!(attempt.thread_id)),
        ("assistant_id", json!(attempt.assistant_id)),
        ("graph_id", json!(attempt.graph_id)),
        ("run_attempt", json!(attempt.attempt)),
    ];
    metadata.extend(own.map(|(key, value)| (key.to_owned(), value)));
    metadata
}

/// Keys of the configuration that say how to run, not what the run is about.
fn is_internal(key: &str) -> bool {
    ["__", "langgraph_", "checkpoint_"]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}
