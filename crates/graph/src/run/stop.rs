//! How the parts of an attempt learn that it should stop.

use std::convert::Infallible;

use runloom_core::executor::{StopKind, StopSignal};
use tokio_util::sync::CancellationToken;

/// Tokens that trip when the attempt should stop. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    now: CancellationToken,
    drain: CancellationToken,
}

impl Stop {
    /// Trips when everything should stop at once.
    pub(crate) fn now(&self) -> &CancellationToken {
        &self.now
    }

    /// Whether no further superstep should begin.
    pub(crate) fn is_asked(&self) -> bool {
        self.now.is_cancelled() || self.drain.is_cancelled()
    }

    /// Takes in what the signal says.
    pub(crate) fn note(&self, kind: Option<StopKind>) {
        match kind {
            None => {}
            Some(StopKind::Drain) => self.drain.cancel(),
            Some(
                StopKind::Interrupt | StopKind::Rollback | StopKind::Timeout | StopKind::LeaseLost,
            ) => self.now.cancel(),
        }
    }
}

/// Takes in whatever the signal says. Never ends: poll it beside what it stops.
pub(crate) async fn watch(mut signal: StopSignal, stop: Stop) -> Infallible {
    loop {
        let kind = *signal.borrow_and_update();
        stop.note(kind);
        if signal.changed().await.is_err() {
            // Nobody is left who could ask.
            return std::future::pending().await;
        }
    }
}
