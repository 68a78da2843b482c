//! What the executors of a worker measure. `docs/metrics.md` says what the numbers mean.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const PROCESSES: &str = "runloom_executor_processes";
const RUNS: &str = "runloom_executor_runs";
const WAITING: &str = "runloom_executor_waiting_runs";
const MEMORY: &str = "runloom_executor_memory_bytes";
const LAG: &str = "runloom_executor_lag_seconds";
const START: &str = "runloom_executor_start_seconds";
const FAILED_STARTS: &str = "runloom_executor_failed_starts_total";
const ENDS: &str = "runloom_executor_ends_total";
const LEAKED: &str = "runloom_executor_leaked_threads_total";

/// Why processes end.
const REASONS: [&str; 7] = [
    "died", "kill", "leak", "memory", "silence", "reload", "shutdown",
];

/// Says what the numbers of executors mean to whoever collects them.
pub fn describe_metrics() {
    describe_gauge!(PROCESSES, "processes that hold graphs, by what they do");
    describe_gauge!(RUNS, "runs that have a place in a process");
    describe_gauge!(WAITING, "runs that wait for a place in a process");
    describe_gauge!(MEMORY, Unit::Bytes, "memory of all processes together");
    describe_histogram!(LAG, Unit::Seconds, "how late the loop of a process was");
    describe_histogram!(START, Unit::Seconds, "how long a process took to start");
    describe_counter!(FAILED_STARTS, "processes that did not start");
    describe_counter!(ENDS, "processes that ended, by why");
    describe_counter!(LEAKED, "threads that could not be ended with their runs");
    // Shown from the start, so that the first increase is seen as one.
    counter!(FAILED_STARTS).absolute(0);
    for reason in REASONS {
        counter!(ENDS, "reason" => reason).absolute(0);
    }
    counter!(LEAKED).absolute(0);
    let _ = histogram!(LAG);
    let _ = histogram!(START);
}

/// How many of what there are in a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Processes that take runs.
    pub serving: usize,
    /// Processes that end when nothing goes on in them any more, or are about to be gone.
    pub retiring: usize,
    /// Processes that wait to take over.
    pub spare: usize,
    /// Runs that have a place.
    pub runs: usize,
    /// Runs that wait for a place.
    pub waiting: usize,
    /// The memory of all processes when they were last asked, in bytes.
    pub memory: u64,
}

#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
pub(crate) fn census(census: &Census) {
    gauge!(PROCESSES, "state" => "serving").set(census.serving as f64);
    gauge!(PROCESSES, "state" => "retiring").set(census.retiring as f64);
    gauge!(PROCESSES, "state" => "spare").set(census.spare as f64);
    gauge!(RUNS).set(census.runs as f64);
    gauge!(WAITING).set(census.waiting as f64);
    gauge!(MEMORY).set(census.memory as f64);
}

pub(crate) fn lag(milliseconds: f64) {
    histogram!(LAG).record(milliseconds / 1000.0);
}

pub(crate) fn started(after: Duration) {
    histogram!(START).record(after);
}

pub(crate) fn failed_to_start() {
    counter!(FAILED_STARTS).increment(1);
}

/// A process ended: `kill`, `died`, `leak`, `memory`, `silence`, `reload` or `shutdown`.
pub(crate) fn ended(reason: &'static str) {
    counter!(ENDS, "reason" => reason).increment(1);
}

pub(crate) fn leaked(threads: u32) {
    counter!(LEAKED).increment(u64::from(threads));
}
