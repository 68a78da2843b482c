//! What `make chaos` can set, and the binary that is tested.

pub(crate) use runloom_tests::product::binary;

#[expect(clippy::disallowed_methods, reason = "the knobs of `make chaos`")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
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
