//! HTTP in, database and bus out.
//!
//! The gateway keeps nothing that matters: every answer comes from the database, what must follow a
//! change is handed to the bus, and graphs are asked only about their form and for updates of state
//! from outside a run. So any number of gateways can stand side by side.

mod assistants;
mod counted;
mod error;
mod extract;
mod fanout;
mod items;
mod listen;
mod measures;
mod openapi;
mod page;
mod panics;
mod router;
mod runs;
mod service;
mod sound;
mod sse;
mod state;
mod system;
mod threads;
mod traces;
mod wait;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runloom_core::bus::{EventLog, Notifier};
use runloom_core::clock::Clock;
use runloom_core::database::Database;
use runloom_core::effects::Effects;
use runloom_core::health::Health;
use runloom_core::ids::GraphId;
use runloom_core::partial::PartialPolicy;
use runloom_core::registry::Registry;
use runloom_core::thread::Ttl;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::fanout::Fanout;

pub use assistants::ensure_assistants;
pub use fanout::RingLimits;
pub use listen::Impatient;
pub use measures::describe_metrics;
pub use openapi::document;
pub use router::router;
pub use service::ApiService;
pub use system::readiness;

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is kept of stopped runs that do not say so themselves.
    pub policy: PartialPolicy,
    /// The same for the runs of single graphs, which outranks it.
    pub policies: BTreeMap<GraphId, PartialPolicy>,
    /// How long threads are kept that do not say so themselves; for good if none.
    pub thread_ttl: Option<Ttl>,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// How often an open response shows that it is alive while nothing happens.
    pub heartbeat: Duration,
    /// Whether a stream says how its run ended in a last event of its own.
    pub end_event: bool,
    /// How much is remembered of what is streamed, and how far a reader may lag behind.
    pub ring: RingLimits,
    /// How long a worker that is gone can still hold a thread: the lease that workers ask for.
    pub lease: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: PartialPolicy::default(),
            policies: BTreeMap::new(),
            thread_ttl: None,
            body_limit: 300 * 1024 * 1024,
            heartbeat: Duration::from_secs(5),
            end_event: false,
            ring: RingLimits::default(),
            lease: Duration::from_secs(15),
        }
    }
}

impl Config {
    /// How long to wait for a run that was asked to stop: a signal takes a moment, a lost one is
    /// found within a renewal, and a dead worker is swept after its lease.
    pub fn stop_wait(&self) -> Duration {
        self.lease * 2 + Duration::from_secs(1)
    }

    /// What is kept of stopped runs of `graph` that do not say so themselves.
    pub(crate) fn policy_of(&self, graph: &GraphId) -> PartialPolicy {
        self.policies.get(graph).copied().unwrap_or(self.policy)
    }
}

/// What the gateway needs from outside.
#[derive(Clone)]
pub struct Ports {
    /// The truth.
    pub database: Arc<dyn Database>,
    /// Wake-ups and signals.
    pub notifier: Arc<dyn Notifier>,
    /// What runs emit.
    pub events: Arc<dyn EventLog>,
    /// The graphs.
    pub registry: Registry,
    /// The time, for what is not stored.
    pub clock: Arc<dyn Clock>,
}

/// The state that all handlers share.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) ports: Arc<Ports>,
    pub(crate) config: Arc<Config>,
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) health: Health,
}

impl Gateway {
    /// A gateway on these ports. Cancelling `stop` ends its open streams.
    pub fn new(ports: Ports, config: Config, stop: CancellationToken) -> Self {
        let ports = Arc::new(ports);
        let tasks = TaskTracker::new();
        let fanout = Fanout::new(ports.clone(), &config, tasks.clone());
        Self {
            ports,
            config: Arc::new(config),
            fanout: Arc::new(fanout),
            tasks,
            stop,
            health: Health::default(),
        }
    }

    /// Answers with `health` when it is asked how the process is.
    pub fn telling(self, health: Health) -> Self {
        Self { health, ..self }
    }

    /// Takes note of how far the database's clock, by which events are made, is ahead of this
    /// process' own, in milliseconds.
    pub fn set_clock_skew(&self, millis: i64) {
        self.fanout.set_clock_skew(millis);
    }

    pub(crate) fn database(&self) -> &dyn Database {
        self.ports.database.as_ref()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.ports.registry
    }

    /// Carries out what must follow a committed change.
    pub(crate) async fn follow_up(&self, effects: Effects) {
        let ports = &self.ports;
        let carrying = effects.carry_out(ports.notifier.as_ref(), ports.events.as_ref());
        carrying.await.into_iter().for_each(measures::signalled);
    }

    /// Waits for everything that outlived its request. To be called once no request is left.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
