//! Claims runs and sees each attempt through.
//!
//! A worker holds one lease for all that it executes. It hears of runs by wake-ups and finds the
//! others by looking; it hears of interrupts by signals and finds the others when it renews its
//! lease. Everything that an attempt stores or publishes passes through its host, under a fence, and
//! how it ended is committed before anybody is told.
//!
//! Left out: what a graph is ([`runloom_core::executor`]), and which runs may run
//! ([`runloom_core::admission`] and the database).

mod active;
mod attempt;
mod claim;
mod config;
mod deadline;
mod dispatch;
mod execution;
mod gate;
mod guarded_items;
mod heartbeat;
mod host;
mod housekeeping;
mod incarnation;
mod measures;
mod plan;
mod publisher;
mod relay;
mod residue;
mod said;
mod settle;
mod settlement;
mod signals;
mod stopper;
mod stored;
mod time;
mod traces;
mod verdict;

use std::sync::Arc;

use runloom_core::bus::{EventLog, Notifier};
use runloom_core::database::Database;
use runloom_core::health::Health;
use runloom_core::registry::Registry;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use measures::describe_metrics;
pub use relay::{Relay, RelayConfig};
pub use time::{Monotonic, Simulated, SinceBoot};

use incarnation::Incarnation;

/// What a worker works with.
#[derive(Clone)]
pub struct Ports {
    /// The truth.
    pub database: Arc<dyn Database>,
    /// Hints.
    pub notifier: Arc<dyn Notifier>,
    /// What runs emit.
    pub events: Arc<dyn EventLog>,
    /// What can execute graphs.
    pub registry: Registry,
    /// Tells when a lease runs out.
    pub time: Arc<dyn Monotonic>,
}

/// Claims runs and sees each attempt through.
pub struct Worker {
    config: Config,
    ports: Ports,
    health: Health,
}

impl Worker {
    /// A worker that has not begun.
    pub fn new(config: Config, ports: Ports) -> Self {
        Self {
            config,
            ports,
            health: Health::default(),
        }
    }

    /// Tells `health` whether it has its lease.
    pub fn telling(self, health: Health) -> Self {
        health.lease_is(false);
        Self { health, ..self }
    }

    /// Works until `shutdown`, then hands back what it holds and returns. If its lease is taken
    /// (the machine slept, the database was out of reach for long), it begins anew.
    pub async fn run(self, shutdown: CancellationToken) {
        measures::slots(self.config.slots.max(1));
        while !shutdown.is_cancelled() {
            let health = self.health.clone();
            let incarnation = Incarnation::new(self.config.clone(), self.ports.clone(), health);
            incarnation.live(&shutdown).await;
        }
    }
}
