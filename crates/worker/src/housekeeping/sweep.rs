//! Frees what lost workers held.

use crate::incarnation::Incarnation;
use crate::measures;

/// How many threads are freed at once.
const LIMIT: u32 = 256;

/// Frees the threads of workers whose lease ran out and tells whoever waits for them.
pub(super) async fn sweep(worker: &Incarnation) {
    match worker.ports.database.sweep(LIMIT).await {
        Ok(sweep) => {
            measures::reaped(sweep.reaped);
            if sweep.reaped > 0 {
                tracing::info!(worker.id = %worker.id, reaped = sweep.reaped, "freed threads");
            }
            let ports = &worker.ports;
            sweep
                .effects
                .carry_out(&*ports.notifier, &*ports.events)
                .await;
        }
        Err(error) => tracing::warn!(worker.id = %worker.id, %error, "cannot sweep"),
    }
}
