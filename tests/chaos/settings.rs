//! What `make chaos` can set, and the binary that is tested.

use std::path::PathBuf;

pub(crate) use runloom_tests::product::binary;

#[expect(clippy::disallowed_methods, reason = "the knobs of `make chaos`")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The binary of an earlier version, from which a rolling change is to start, if one is given.
pub(crate) fn previous_binary() -> Option<PathBuf> {
    let path = variable("RUNLOOM_PREVIOUS_BIN")?;
    Some(std::path::absolute(path).expect("a path"))
}

/// How many seconds all storms last together.
pub(crate) fn seconds() -> f64 {
    let seconds = variable("RUNLOOM_CHAOS_SECONDS");
    seconds.map_or(600.0, |text| text.parse().expect("SECONDS is a number"))
}

/// The seed of the only storm, if it is given.
pub(crate) fn seed() -> Option<u64> {
    variable("RUNLOOM_CHAOS_SEED").map(|text| text.parse().expect("SEED is a number"))
}
