//! The machine that everything shares, as far as figures depend on it.

use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) system: String,
}

impl Machine {
    /// The machine that this runs on.
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (cpuinfo, meminfo) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let model = model.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
        let total = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"));
        let total = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        let kernel = read("/proc/sys/kernel/osrelease");
        // A kernel's local suffix says where it was built, not what it does.
        let kernel = kernel.trim().split(['-', '+']).next().unwrap_or_default();
        Self {
            processor: model.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: total.unwrap_or_default() / 1024,
            system: format!(
                "{} {kernel} {}",
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
        }
    }
}

/// The time of day, in UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "a report says when it was made; nothing depends on it"
)]
pub(crate) fn now() -> String {
    chrono::Utc::now().format("%Y-%m-%d %H:%M").to_string()
}
