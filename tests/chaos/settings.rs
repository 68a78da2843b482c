//! What `make chaos` can set, and the binary that is tested.

use std::path::PathBuf;
use std::process::Command;

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

/// The product: `RUNLOOM_BIN`, or one that is built now, as this test was.
pub(crate) fn binary() -> PathBuf {
    if let Some(binary) = variable("RUNLOOM_BIN") {
        return std::path::absolute(binary).expect("a path");
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "runloom", "--bin", "runloom"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build.current_dir(root).status().expect("cargo runs");
    assert!(status.success(), "the product does not build");
    let test = std::env::current_exe().expect("a path");
    let folder = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    folder.join("runloom")
}
