//! What is measured: each scenario drives the server for a round and gives the round's figures.

pub(crate) mod background;
pub(crate) mod fanout;
pub(crate) mod first_event;
pub(crate) mod interrupt;
pub(crate) mod soak;
pub(crate) mod tokens;
pub(crate) mod wait;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::client::Server;
use crate::results::Round;
use crate::usage::{self, Processes, Watch};

/// What every scenario needs to know.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) server: Arc<Server>,
    pub(crate) processes: Processes,
    pub(crate) scale: Scale,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    /// How long a throughput is measured, and how long samples are taken.
    pub(crate) span: Duration,
    /// How long a server is warmed up.
    pub(crate) warm: Duration,
    /// Samples of a latency.
    pub(crate) samples: usize,
    /// Runs of a soak, and old runs before its second burst.
    pub(crate) soak: usize,
    pub(crate) old: usize,
    /// A soak ends then, however far it came.
    pub(crate) soak_limit: Duration,
}

/// What a round cost.
pub(crate) struct Meter {
    processes: Processes,
    began: Instant,
    server_ms: f64,
    client_ms: f64,
    watch: Watch,
}

impl Meter {
    pub(crate) fn start(ground: &Ground) -> Self {
        Self {
            processes: ground.processes.clone(),
            watch: Watch::on(&ground.processes),
            server_ms: ground.processes.cpu_ms(),
            client_ms: usage::own_cpu_ms(),
            began: Instant::now(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes what was used since the start: processor time for each of `count` things called `thing`, and
    /// the most memory.
    pub(crate) fn note(self, round: &mut Round, count: usize, thing: &str) {
        let count = count.max(1) as f64;
        let client_ms = usage::own_cpu_ms() - self.client_ms;
        round.set(&format!("client_cpu_ms_per_{thing}"), client_ms / count);
        if self.processes.is_empty() {
            return;
        }
        let server_ms = self.processes.cpu_ms() - self.server_ms;
        round.set(&format!("server_cpu_ms_per_{thing}"), server_ms / count);
        if let Some(peak) = self.watch.end() {
            round.set("server_peak_mib", peak);
        }
    }
}

/// Waits for all tasks and gives what they found. The first that fails ends the others.
pub(crate) async fn all<T: 'static>(
    mut tasks: JoinSet<anyhow::Result<T>>,
) -> anyhow::Result<Vec<T>> {
    let mut found = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        found.push(ended.context("a task of the load generator broke")??);
    }
    Ok(found)
}

/// How many in a second.
pub(crate) fn rate(count: usize, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}
