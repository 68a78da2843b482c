//! What is around the process that reads a project.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

/// Variables that are not ours to set, but the user's shell's: they say where an interpreter may be,
/// and which variables a file must not override.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The virtual environment that is active.
    pub virtual_env: Option<PathBuf>,
    /// Where programs are looked for.
    pub path: OsString,
    /// The names of all variables.
    pub names: BTreeSet<OsString>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        let mut surroundings = Self::default();
        for (name, value) in std::env::vars_os() {
            if name == "VIRTUAL_ENV" && !value.is_empty() {
                surroundings.virtual_env = Some(PathBuf::from(&value));
            }
            if name == "PATH" {
                surroundings.path = value;
            }
            surroundings.names.insert(name);
        }
        surroundings
    }
}
