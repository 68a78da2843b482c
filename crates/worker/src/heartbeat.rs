//! Keeps the lease, and notices when it is gone.
//!
//! Each renewal also says what the database believes this worker to hold: that brings interrupts
//! whose signal was lost, and claims whose answer was.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use runloom_core::database::DatabaseError;
use runloom_core::executor::StopKind;
use runloom_core::ids::ClaimId;
use runloom_core::lease::Held;
use tokio::time::{sleep, timeout};

use crate::claim;
use crate::incarnation::Incarnation;
use crate::measures::{self, Refused};

/// How long to wait after a renewal that failed.
const RETRY: Duration = Duration::from_millis(250);

/// Renews the lease until it is taken.
pub(crate) async fn beat(worker: Arc<Incarnation>) {
    let mut orphans = HashSet::new();
    sleep(pause(&worker)).await;
    loop {
        let sent = worker.deadline.now();
        let renew = worker.ports.database.renew(worker.id, worker.config.lease);
        match timeout(worker.config.renew(), renew).await {
            Ok(Ok(held)) => {
                measures::renewed(worker.deadline.left().unwrap_or_default());
                worker.extended(sent);
                orphans = adopt(&worker, held, &orphans);
                sleep(pause(&worker)).await;
            }
            Ok(Err(DatabaseError::Fenced)) => {
                measures::fenced(Refused::Renewal);
                worker.active.stop_all(StopKind::LeaseLost);
                worker.fenced.cancel();
                return;
            }
            Ok(Err(error)) => {
                tracing::warn!(worker.id = %worker.id, %error, "lease not renewed");
                sleep(RETRY).await;
            }
            Err(_elapsed) => {
                tracing::warn!(worker.id = %worker.id, "lease not renewed in time");
                sleep(RETRY).await;
            }
        }
    }
}

/// Stops everything whenever the lease has run out by this worker's own clock. It may still be
/// renewed, if nobody has taken it.
pub(crate) async fn watch(worker: Arc<Incarnation>) {
    loop {
        worker.deadline.passed().await;
        tracing::warn!(worker.id = %worker.id, "the lease ran out; stopping what it covered");
        worker.active.stop_all(StopKind::LeaseLost);
        worker.health.lease_is(false);
        worker.deadline.renewed().await;
        worker.health.lease_is(true);
    }
}

/// Takes up what the worker holds without knowing it. One renewal may cross with the end of an
/// attempt, so a claim has to be unknown twice in a row. Answers with those unknown now.
fn adopt(
    worker: &Arc<Incarnation>,
    held: Vec<Held>,
    before: &HashSet<ClaimId>,
) -> HashSet<ClaimId> {
    let mut unknown = HashSet::new();
    for held in worker.active.reconcile(held) {
        let claim = held.fence.claim;
        if before.contains(&claim) && !worker.stopping.is_cancelled() {
            tracing::info!(run.id = %held.run_id, thread.id = %held.thread_id,
                worker.id = %worker.id, "taking up a lost claim");
            // It was granted for a slot; none is waited for now.
            let known = worker.active.claiming(claim);
            claim::spawn(worker, held.thread_id, known);
        } else {
            unknown.insert(claim);
        }
    }
    unknown
}

/// A quarter of the lease, a little more or less so that workers don't beat in step.
fn pause(worker: &Incarnation) -> Duration {
    worker.config.renew().mul_f64(0.9 + 0.1 * fastrand::f64())
}
