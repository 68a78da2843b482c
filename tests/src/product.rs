//! The binary that is tested from outside.

use std::path::PathBuf;
use std::process::Command;

/// The product: `RUNLOOM_BIN`, or one that is built now, as this test was.
pub fn binary() -> PathBuf {
    let given = std::env::var_os("RUNLOOM_BIN").filter(|path| !path.is_empty());
    if let Some(binary) = given {
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
