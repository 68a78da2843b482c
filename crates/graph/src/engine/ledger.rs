//! Writes checkpoints and pending writes of one graph when the run's durability says so.

use std::collections::{BTreeMap, VecDeque};

use runloom_core::checkpoint::{NewWrites, PendingWrite};
use runloom_core::ids::CheckpointId;
use runloom_core::run::Durability;

use super::Fault;
use crate::run::{Store, Ticket};
use crate::state::{Snapshot, Stamp};

/// How many checkpoints may be under way while the graph runs on. The first superstep of a run
/// begins with two: its input, and the input applied.
const UNDER_WAY: usize = 3;

/// What of a graph is stored, and what is held back.
pub(crate) struct Ledger {
    store: Store,
    durability: Durability,
    stamp: Stamp,
    /// The versions whose values are stored.
    versions: BTreeMap<String, String>,
    /// The newest checkpoint that is stored.
    id: Option<CheckpointId>,
    /// Rows of the current checkpoint that are held back until the end.
    held: Vec<PendingWrite>,
    /// Become ready when the newest checkpoints are stored, oldest first.
    under_way: VecDeque<Ticket>,
    /// Whether anything was stored in this attempt.
    wrote: bool,
}

impl Ledger {
    /// The ledger of a graph that is at `at`, which is stored, if there is such a checkpoint.
    pub(crate) fn new(
        store: Store,
        durability: Durability,
        stamp: Stamp,
        at: Option<&Snapshot>,
    ) -> Self {
        Self {
            store,
            durability,
            stamp,
            versions: at.map(|at| at.versions.clone()).unwrap_or_default(),
            id: at.map(|at| at.id.clone()),
            held: Vec::new(),
            under_way: VecDeque::new(),
            wrote: false,
        }
    }

    /// Whether this attempt stored a checkpoint.
    pub(crate) fn wrote(&self) -> bool {
        self.wrote
    }

    /// Takes the complete checkpoint `at`. It follows the one that was taken before.
    pub(crate) async fn checkpoint(&mut self, at: &Snapshot) -> Result<(), Fault> {
        // Rows of a checkpoint that was never stored are part of this one.
        self.held.clear();
        if self.durability == Durability::Exit {
            return Ok(());
        }
        self.put(at)?;
        let ticket = self.store.ticket();
        match self.durability {
            Durability::Sync => ticket.wait().await?,
            Durability::Async | Durability::Exit => {
                self.under_way.push_back(ticket);
                if self.under_way.len() > UNDER_WAY
                    && let Some(oldest) = self.under_way.pop_front()
                {
                    oldest.wait().await?;
                }
            }
        }
        Ok(())
    }

    /// Takes rows of the checkpoint `at`, the one taken last.
    pub(crate) fn rows(&mut self, at: &CheckpointId, rows: Vec<PendingWrite>) {
        if self.durability == Durability::Exit {
            self.held.extend(rows);
        } else {
            self.write(at, rows);
        }
    }

    /// Stores what was held back: the graph stops at `at`.
    pub(crate) fn finish(&mut self, at: &Snapshot) -> Result<(), Fault> {
        if self.durability == Durability::Exit {
            if self.id.as_ref() != Some(&at.id) {
                self.put(at)?;
            }
            let rows = std::mem::take(&mut self.held);
            self.write(&at.id, rows);
        }
        Ok(())
    }

    fn put(&mut self, at: &Snapshot) -> Result<(), Fault> {
        let checkpoint = at.encode(&self.stamp, self.id.clone(), &self.versions)?;
        self.store.checkpoint(checkpoint);
        self.versions = at.versions.clone();
        self.id = Some(at.id.clone());
        self.wrote = true;
        Ok(())
    }

    fn write(&self, at: &CheckpointId, writes: Vec<PendingWrite>) {
        self.store.writes(NewWrites {
            ns: self.stamp.ns.clone(),
            checkpoint_id: at.clone(),
            writes,
        });
    }
}
