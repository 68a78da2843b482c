//! What has to be done now and then by whoever is there. Each task is one atomic, idempotent
//! operation of the database, so all workers may do it and nobody has to lead.

mod expire;
pub(crate) mod measures;
mod prune;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join3};
use tokio::time::sleep;

use crate::incarnation::Incarnation;

/// A task of the house.
type Task = for<'a> fn(&'a Incarnation) -> BoxFuture<'a, ()>;

/// Keeps house until the worker stops.
pub(crate) async fn run(worker: Arc<Incarnation>) {
    let sweeping = tick(&worker, worker.config.sweep, |worker| {
        sweep::sweep(worker).boxed()
    });
    let pruning = tick(&worker, worker.config.prune, |worker| {
        prune::prune(worker).boxed()
    });
    let expiring = tick(&worker, worker.config.expire, |worker| {
        expire::expire(worker).boxed()
    });
    tokio::select! {
        biased;
        () = worker.stopping.cancelled() => {}
        _ = join3(sweeping, pruning, expiring) => {}
    }
}

/// Does `task` about every `interval`, half more or less, so that workers don't do it all at once.
async fn tick(worker: &Incarnation, interval: Duration, task: Task) {
    loop {
        sleep(interval.mul_f64(0.5 + fastrand::f64())).await;
        task(worker).await;
    }
}
