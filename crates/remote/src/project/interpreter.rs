//! The interpreter of a project: where it is looked for, and what it has.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::Overrides;
use super::error::{InterpreterError, Level, Notice};
use super::paths::absolute;
use super::surroundings::Surroundings;

/// The oldest version whose tasks carry their context, which graphs rely on.
pub(super) const OLDEST: &str = "3.11";

/// The oldest version of LangGraph that the executor is tested with.
const OLDEST_LANGGRAPH: &str = "0.6";

/// Packages without which nothing works, and others that people ask for when something does not.
const NEEDED: [&str; 4] = ["langgraph", "langchain-core", "orjson", "ormsgpack"];

/// Prints what the interpreter has as the last line of its output. Imports nothing of the user's.
const QUESTION: &str = r#"
import json, sys
from importlib.metadata import PackageNotFoundError, version
packages = {}
for name in ("langgraph", "langgraph-checkpoint", "langchain-core", "orjson", "ormsgpack"):
    try:
        packages[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps({"python": sys.version.split()[0], "packages": packages}))
"#;

/// How long it may take to answer: the first start on a slow disk takes a while.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Python that can run graphs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program. A link stays one: a virtual environment is known by its own path.
    pub path: PathBuf,
    /// Why it is this one.
    pub found: Found,
    /// Its version, such as `3.12.1`.
    pub python: String,
    /// Versions of the packages that matter.
    pub packages: BTreeMap<String, String>,
}

/// Where an interpreter was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Named by the user.
    Given,
    /// In the virtual environment that is active.
    Active,
    /// In a virtual environment beside the project or above it.
    Beside,
    /// Among all programs.
    Path,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "named by --python",
            Self::Active => "of the active virtual environment",
            Self::Beside => "of the project's virtual environment",
            Self::Path => "found in PATH",
        })
    }
}

#[derive(Deserialize)]
struct Answer {
    python: String,
    packages: BTreeMap<String, String>,
}

impl Interpreter {
    /// Finds the interpreter of the project in `root` and asks it what it has. The first one that is
    /// there is the one: to pass over one that lacks something would only hide it.
    pub(super) async fn of(root: &Path, overrides: &Overrides) -> Result<Self, InterpreterError> {
        let Some((path, found)) = find(root, overrides) else {
            let root = root.to_path_buf();
            return Err(InterpreterError::None { root });
        };
        let tried = format!("{} ({found})", path.display());
        let answer = match ask(&path, root, &overrides.surroundings).await {
            Ok(answer) => answer,
            Err(why) => return Err(InterpreterError::Unusable { tried, why }),
        };
        if is_older(&answer.python, OLDEST) {
            let version = answer.python;
            return Err(InterpreterError::TooOld { tried, version });
        }
        let missing = NEEDED
            .iter()
            .filter(|name| !answer.packages.contains_key(**name));
        let missing: Vec<_> = missing.map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(InterpreterError::Missing {
                tried,
                missing,
                install: install(root, &path, found),
            });
        }
        Ok(Self {
            path,
            found,
            python: answer.python,
            packages: answer.packages,
        })
    }

    /// What people should know of it; `wanted` is the version that the project asks for.
    pub(super) fn doubts(&self, wanted: Option<&Value>) -> Vec<Notice> {
        let mut doubts = Vec::new();
        let mut doubt = |text: String| {
            let level = Level::Warning;
            doubts.push(Notice { level, text });
        };
        let place = self.path.display();
        let wanted = wanted.and_then(Value::as_str);
        if let Some(wanted) = wanted.filter(|wanted| !is_release_of(&self.python, wanted)) {
            let python = &self.python;
            doubt(format!(
                "python_version: {wanted} is asked for, {place} is {python}"
            ));
        }
        let langgraph = self.packages.get("langgraph");
        if let Some(version) = langgraph.filter(|version| is_older(version, OLDEST_LANGGRAPH)) {
            doubt(format!(
                "langgraph {version} in {place} is older than what is tested, {OLDEST_LANGGRAPH}"
            ));
        }
        doubts
    }
}

fn find(root: &Path, overrides: &Overrides) -> Option<(PathBuf, Found)> {
    if let Some(given) = &overrides.python {
        let given = absolute(given);
        let path = if given.is_dir() {
            program_of(&given)
        } else {
            given
        };
        return Some((path, Found::Given));
    }
    let around = &overrides.surroundings;
    if let Some(active) = &around.virtual_env {
        return Some((program_of(active), Found::Active));
    }
    let beside = beside(root).into_iter();
    let beside = beside.flat_map(|folder| [folder.join(".venv"), folder.join("venv")]);
    if let Some(beside) = beside
        .map(|venv| program_of(&venv))
        .find(|path| path.exists())
    {
        return Some((beside, Found::Beside));
    }
    ["python3", "python"].iter().find_map(|name| {
        let folders = std::env::split_paths(&around.path);
        let mut programs = folders.map(|folder| folder.join(name));
        let program = programs.find(|program| program.is_file())?;
        Some((program, Found::Path))
    })
}

/// The program of a virtual environment.
fn program_of(venv: &Path) -> PathBuf {
    if cfg!(windows) {
        venv.join("Scripts").join("python.exe")
    } else {
        venv.join("bin").join("python")
    }
}

/// The folder of the project and, if it is part of a repository, those above it up to its root: a
/// workspace has one environment for all its members.
fn beside(root: &Path) -> Vec<PathBuf> {
    let is_repository = |folder: &&Path| folder.join(".git").exists();
    let Some(top) = root.ancestors().find(is_repository) else {
        return vec![root.to_path_buf()];
    };
    let folders = root
        .ancestors()
        .take_while(|folder| folder.starts_with(top));
    folders.map(Path::to_path_buf).collect()
}

/// The command that brings LangGraph to the project.
fn install(root: &Path, path: &Path, found: Found) -> String {
    let locked = beside(root).into_iter();
    if let Some(folder) = locked
        .into_iter()
        .find(|folder| folder.join("uv.lock").is_file())
    {
        return format!("uv sync --project {}", folder.display());
    }
    let venv = path.parent().and_then(Path::parent);
    let made_by = venv.and_then(|venv| std::fs::read_to_string(venv.join("pyvenv.cfg")).ok());
    let is_made_by_uv =
        made_by.is_some_and(|text| text.lines().any(|line| line.starts_with("uv =")));
    let (path, root) = (path.display(), root.display());
    match found {
        // It has no pip of its own.
        _ if is_made_by_uv => format!("uv pip install --python {path} langgraph"),
        // One that the whole machine shares is better left alone.
        Found::Path => format!(
            "{path} -m venv {root}/.venv && {root}/.venv/bin/python -m pip install langgraph"
        ),
        Found::Given | Found::Active | Found::Beside => {
            format!("{path} -m pip install langgraph")
        }
    }
}

async fn ask(path: &Path, root: &Path, around: &Surroundings) -> Result<Answer, String> {
    let mut command = Command::new(path);
    // What is ours, such as the password of the database, is none of its business.
    for name in &around.names {
        if name.as_encoded_bytes().starts_with(b"RUNLOOM_") {
            command.env_remove(name);
        }
    }
    command
        .args(["-c", QUESTION])
        .current_dir(root)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output());
    let output = output
        .await
        .map_err(|_| format!("no answer within {PATIENCE:?}"))?;
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        let last = last.unwrap_or("it said nothing");
        return Err(format!("{}: {last}", output.status));
    }
    // Whatever the environment prints at its start comes before.
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    serde_json::from_str(last.unwrap_or_default())
        .map_err(|_| "it does not answer as Python does".to_owned())
}

/// Whether `version` comes before `least`, as far as both are numbers.
fn is_older(version: &str, least: &str) -> bool {
    numbers(version) < numbers(least)
}

/// Whether `version` is `wanted` or a release of it, as 3.12.1 is of 3.12.
fn is_release_of(version: &str, wanted: &str) -> bool {
    numbers(version).starts_with(&numbers(wanted))
}

fn numbers(version: &str) -> Vec<u32> {
    let parts = version.trim().split('.');
    parts.map_while(|part| part.parse().ok()).collect()
}
