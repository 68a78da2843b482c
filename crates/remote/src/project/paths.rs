//! Folders that a file names.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::error::Findings;

/// Files that make a folder something that can be installed.
const INSTALLABLE: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];

/// `path` from the root of the file system, without `.` and, where it is safe, `..`. Links stay: a
/// virtual environment is known by its own path, not by that of the interpreter it points to.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut plain = PathBuf::new();
    for part in path.components() {
        let climbs = part == Component::ParentDir && !plain.is_symlink();
        if !(climbs && plain.pop()) {
            plain.push(part);
        }
    }
    plain
}

/// The folders from which code is imported, `root` first. Names of packages are left to those who made
/// the environment.
pub(super) fn dependencies(
    value: Option<&Value>,
    root: &Path,
    findings: &mut Findings,
) -> Vec<PathBuf> {
    let mut folders = vec![root.to_path_buf()];
    let none = Vec::new();
    let list = match value {
        None | Some(Value::Null) => &none,
        Some(Value::Array(list)) => list,
        Some(_) => {
            findings.broken("dependencies", "must be a list, such as [\".\"]");
            &none
        }
    };
    for dependency in list {
        let Some(dependency) = dependency.as_str() else {
            findings.broken("dependencies", format!("`{dependency}` is not a text"));
            continue;
        };
        let folder = absolute(&root.join(dependency));
        if folder.is_dir() {
            for folder in imported_from(folder) {
                if !folders.contains(&folder) {
                    folders.push(folder);
                }
            }
        } else if dependency.starts_with(['.', '/']) {
            findings.broken(
                "dependencies",
                format!("there is no folder {}", folder.display()),
            );
        }
    }
    folders
}

/// A folder, and what belongs to it: the `src` of a project that is not installed, or the parent of a
/// folder that is itself a package.
fn imported_from(folder: PathBuf) -> Vec<PathBuf> {
    let is_package = folder.join("__init__.py").is_file();
    let source = folder.join("src");
    let has_source = source.is_dir() && !source.join("__init__.py").is_file();
    let is_installable = INSTALLABLE.iter().any(|name| folder.join(name).is_file());
    let more = if is_package {
        folder.parent().map(Path::to_path_buf)
    } else {
        (is_installable && has_source).then_some(source)
    };
    std::iter::once(folder).chain(more).collect()
}
