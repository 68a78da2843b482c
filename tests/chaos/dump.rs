//! What the database holds when everything is quiet, and what the gateways say of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The rows that matter, and each thread's state as a gateway shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Dump {
    pub(crate) threads: Vec<ThreadRow>,
    pub(crate) runs: Vec<RunRow>,
    pub(crate) checkpoints: Vec<CheckpointRow>,
    /// Runs that are named in other tables.
    pub(crate) traces: BTreeSet<Trace>,
    /// By thread.
    pub(crate) states: BTreeMap<String, State>,
}

impl Dump {
    /// The runs by their ids.
    pub(crate) fn runs_by_id(&self) -> BTreeMap<&str, &RunRow> {
        self.runs.iter().map(|run| (run.id.as_str(), run)).collect()
    }
}

/// A thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ThreadRow {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) failed: bool,
    pub(crate) unfinished: bool,
    pub(crate) held_run: Option<String>,
}

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRow {
    pub(crate) id: String,
    pub(crate) thread_id: String,
    pub(crate) seq: i64,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
    pub(crate) status: String,
    pub(crate) attempt: u64,
    pub(crate) superseded_by: Option<String>,
    /// What names the request for it.
    pub(crate) mark: Option<String>,
}

/// A checkpoint of a root graph.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointRow {
    pub(crate) thread_id: String,
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) run_id: Option<String>,
}

/// A row that belongs to a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Trace {
    pub(crate) table: String,
    pub(crate) thread_id: String,
    pub(crate) run_id: String,
}

/// A thread as the gateways show it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct State {
    pub(crate) status: String,
    pub(crate) has_next: bool,
    pub(crate) messages: Vec<Message>,
    /// The ids of the checkpoints in its history, newest first.
    pub(crate) history: Vec<String>,
}

/// A chat message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) enum Message {
    /// What a client asked.
    Human(String),
    /// What the graph said: its run, the attempt and the step, as far as it came.
    Ai {
        run: String,
        attempt: Option<u64>,
        step: Option<String>,
    },
}

impl Message {
    /// Reads a message of the wire.
    pub(crate) fn of(message: &serde_json::Value) -> Self {
        let content = message["content"].as_str().unwrap_or_default();
        if message["type"] == "human" {
            return Self::Human(content.to_owned());
        }
        let mut words = content.split(' ');
        Self::Ai {
            run: words.next().unwrap_or_default().to_owned(),
            attempt: words.next().and_then(|word| word.parse().ok()),
            step: words
                .next()
                .filter(|word| !word.is_empty())
                .map(str::to_owned),
        }
    }
}
