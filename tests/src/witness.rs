//! What the graph `witness` says of itself in the logs of the processes that execute it.

use std::path::Path;

use runloom_worker::{Monotonic as _, SinceBoot};
use serde_json::Value;

/// The time now, in seconds since the machine was started: the clock of all records.
pub fn now() -> f64 {
    SinceBoot.elapsed().as_secs_f64()
}

/// The graph begins or ends a step.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Step {
    /// The run's id.
    pub run: String,
    /// The thread's id.
    pub thread: String,
    /// Which attempt of the run.
    pub attempt: u64,
    /// The step's number, or `last`.
    pub step: String,
    /// Whether it begins now; otherwise it ends.
    pub begins: bool,
    /// When.
    pub at: f64,
    /// The process that executes it.
    pub pid: u32,
}

impl Step {
    /// Reads it from a line of a log; none if the line is about something else.
    pub fn of(entry: &Value) -> Option<Self> {
        if entry["target"] != "witness" {
            return None;
        }
        let text = |name: &str| Some(entry[name].as_str()?.to_owned());
        Some(Self {
            run: text("run")?,
            thread: text("thread")?,
            attempt: entry["attempt"].as_u64()?,
            step: text("step")?,
            begins: entry["phase"] == "begin",
            at: entry["at"].as_f64()?,
            pid: u32::try_from(entry["pid"].as_u64()?).ok()?,
        })
    }
}

/// The lines of a log that are whole JSON; the last one of a process that was killed may be half a line.
pub fn entries(log: &Path) -> Vec<Value> {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let entries = text.lines().map(serde_json::from_str);
    entries.filter_map(Result::ok).collect()
}
