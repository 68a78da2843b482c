//! Writes how an attempt ended, until it is written or somebody else has the thread.

use std::time::Duration;

use runloom_core::database::{DatabaseError, Settled, Settlement, Transit};
use runloom_core::ids::ClaimId;
use runloom_core::lease::Lease;
use runloom_core::run::RunError;
use tokio::time::{Instant, sleep, timeout};

use crate::incarnation::{Incarnation, patient_delays};
use crate::measures::{self, Refused};
use crate::settlement::bare;

/// How much longer a settlement may take than another call: it is the largest.
const LARGER: u32 = 4;

/// How long to wait after the database refused even the plainest settlement.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);

/// Settles an attempt whose code has stopped. The wait for a database that is out of reach has no
/// end but the worker's own: nothing is executing, so holding on is safe. `None` if the attempt no
/// longer holds its thread, or if the worker must go.
pub(crate) async fn settle(
    worker: &Incarnation,
    lease: &Lease,
    mut settlement: Settlement,
    next: Option<ClaimId>,
) -> Option<Settled> {
    let patience = worker.config.call_timeout * LARGER;
    let mut delays = patient_delays();
    loop {
        let asked = Instant::now();
        let settle = worker
            .ports
            .database
            .settle(lease, settlement.clone(), next);
        let answer = tokio::select! {
            biased;
            answer = timeout(patience, settle) => answer,
            () = too_late(worker) => return None,
        };
        let mut delay = delays.next().unwrap_or_default();
        match answer {
            Ok(Ok(settled)) => {
                measures::settle_answered(asked);
                return Some(settled);
            }
            Ok(Err(DatabaseError::Fenced)) => {
                measures::fenced(Refused::Settlement);
                tracing::warn!("fenced: somebody else has taken the thread");
                return None;
            }
            Ok(Err(DatabaseError::Unavailable(reason))) => {
                tracing::warn!(reason, "cannot settle; trying again");
            }
            Ok(Err(error)) => {
                // Waiting would not help, and a thread must not be stuck for one settlement.
                tracing::error!(%error, "the database refused a settlement");
                let failure = RunError::new("DatabaseError", "the end of the run was not storable");
                settlement = bare(Transit::Fail(failure));
                if delay > Duration::from_secs(1) {
                    delay = AFTER_REFUSAL;
                }
            }
            Err(_elapsed) => tracing::warn!("settling takes long; trying again"),
        }
        tokio::select! {
            biased;
            () = sleep(delay) => {}
            () = too_late(worker) => return None,
        }
    }
}

/// Returns when the worker must go, or has lost everything anyhow.
pub(crate) async fn too_late(worker: &Incarnation) {
    tokio::select! {
        biased;
        () = worker.hurried.cancelled() => {}
        () = worker.fenced.cancelled() => {}
    }
}
