//! Listens to those who want runs of this worker stopped.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use runloom_core::bus::Delivery;

use crate::incarnation::{Incarnation, patient_delays};
use crate::measures;

/// The signals to the worker; `None` if the bus is out of reach.
pub(crate) async fn subscribe(worker: &Incarnation) -> Option<BoxStream<'static, Delivery>> {
    let signals = worker.ports.notifier.signals(worker.id).await;
    signals
        .inspect_err(|error| tracing::warn!(%error, "no signals; renewals bring interrupts"))
        .ok()
}

/// Passes on signals, from `signals` as long as it lasts, then from new subscriptions.
pub(crate) async fn listen(
    worker: Arc<Incarnation>,
    mut signals: Option<BoxStream<'static, Delivery>>,
) {
    let mut delays = patient_delays();
    loop {
        if let Some(mut stream) = signals.take() {
            delays = patient_delays();
            while let Some(delivery) = stream.next().await {
                let reply = worker.active.signal(delivery.signal);
                measures::signalled(reply);
                tracing::debug!(run.id = %delivery.signal.run_id, worker.id = %worker.id, ?reply,
                    "signal");
                (delivery.reply)(reply);
            }
        }
        tokio::time::sleep(delays.next().unwrap_or_default()).await;
        signals = subscribe(&worker).await;
    }
}
