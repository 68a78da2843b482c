//! A host whose answers stop coming: what is left when a worker dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites};
use runloom_core::database::Items;
use runloom_core::executor::{CheckpointReader, Emission, Host, HostError};
use runloom_core::ids::CheckpointId;
use runloom_testkit::doubles::HostDouble;
use tokio_util::sync::CancellationToken;

/// Stores so many times; the answer to the last of them never comes.
pub(crate) struct CutHost {
    host: Arc<HostDouble>,
    left: AtomicUsize,
    /// How often the attempt may still act.
    acts: AtomicUsize,
    /// Trips when the last one is stored.
    pub(crate) cut: CancellationToken,
}

impl CutHost {
    pub(crate) fn new(host: Arc<HostDouble>, puts: usize) -> Arc<Self> {
        Arc::new(Self {
            host,
            left: AtomicUsize::new(puts),
            acts: AtomicUsize::new(usize::MAX),
            cut: CancellationToken::new(),
        })
    }

    /// A host that says so many times that the attempt may act, and then that it may not.
    pub(crate) fn of_paused(host: Arc<HostDouble>, acts: usize) -> Arc<Self> {
        Arc::new(Self {
            host,
            left: AtomicUsize::new(usize::MAX),
            acts: AtomicUsize::new(acts),
            cut: CancellationToken::new(),
        })
    }

    async fn stored(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.cut.cancel();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl CheckpointReader for CutHost {
    async fn checkpoint(
        &self,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, HostError> {
        self.host.checkpoint(ns, id).await
    }

    async fn checkpoints(&self, query: CheckpointQuery) -> Result<Vec<CheckpointTuple>, HostError> {
        self.host.checkpoints(query).await
    }
}

#[async_trait]
impl Host for CutHost {
    async fn put_checkpoint(&self, checkpoint: NewCheckpoint) -> Result<(), HostError> {
        self.host.put_checkpoint(checkpoint).await?;
        self.stored().await;
        Ok(())
    }

    async fn put_writes(&self, writes: NewWrites) -> Result<(), HostError> {
        self.host.put_writes(writes).await?;
        self.stored().await;
        Ok(())
    }

    async fn emit(&self, events: Vec<Emission>) {
        self.host.emit(events).await;
    }

    fn may_act(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        let (one, other) = (Ordering::SeqCst, Ordering::SeqCst);
        self.acts.fetch_update(one, other, less).is_ok()
    }

    fn items(&self) -> Arc<dyn Items> {
        self.host.items()
    }
}
