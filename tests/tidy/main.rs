//! The tree's own rules, which no linter knows: what may depend on what, how large a file may be,
//! that diagrams show what the code does.

mod diagram;
mod layout;
mod metrics;
mod size;

use std::path::{Path, PathBuf};

/// The root of the checkout.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("the tests lie in the checkout")
        .to_owned()
}

/// All files below `folder` with the extension `extension`.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && !["target", "node_modules", ".git", ".venv"].contains(&&*name) {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    assert!(
        !found.is_empty(),
        "no .{extension} files below {}",
        folder.display()
    );
    found
}
