//! Gathers the Python package for embedding: its modules, without what interpreters and tests leave beside.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let source = here.join("python/runloom_executor");
    let target = out.join("python");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    // A folder is watched with everything in it, so new modules are noticed, too.
    println!("cargo::rerun-if-changed={}", source.display());
    copy(&source, &target.join("runloom_executor"))
}

fn copy(source: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source)? {
        let path = entry?.path();
        let name = path.file_name().expect("entries have names");
        if path.is_dir() {
            let unwanted = ["__pycache__", "tests"];
            if !unwanted.iter().any(|unwanted| name == *unwanted) {
                copy(&path, &target.join(name))?;
            }
        } else if path.extension().is_some_and(|extension| extension == "py") {
            fs::copy(&path, target.join(name))?;
        }
    }
    Ok(())
}
