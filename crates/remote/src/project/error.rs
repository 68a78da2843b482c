//! What can be wrong with a project, said so that it can be mended at once.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a project cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The file is not there, or may not be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The file is not a JSON object.
    #[error("{} is not a JSON object: {error}", file.display())]
    NotJson {
        /// The file.
        file: PathBuf,
        /// Where it is wrong.
        error: serde_json::Error,
    },
    /// What the file says is wrong or cannot be done.
    #[error(transparent)]
    Unfit(Unfit),
    /// Nothing can run it.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
}

/// Everything in a file that stands in the way, one line each: `key: what is wrong`.
#[derive(Debug, thiserror::Error)]
pub struct Unfit {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub broken: Vec<String>,
    /// What is right, and not served here.
    pub unsupported: Vec<String>,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be served", self.file.display())?;
        for line in self.broken.iter().chain(&self.unsupported) {
            write!(f, "\n  {line}")?;
        }
        if self.broken.is_empty() {
            f.write_str("\n--allow-unsupported serves the graphs without these")?;
        }
        Ok(())
    }
}

/// Why there is nothing that can run a project. Each says what was tried and what to do.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// There is none.
    #[error(
        "no Python was found: not in --python, $VIRTUAL_ENV, .venv or venv of {}, or PATH\n  \
         make one with: python3 -m venv {0}/.venv && {0}/.venv/bin/python -m pip install langgraph",
        root.display()
    )]
    None {
        /// Where the project is.
        root: PathBuf,
    },
    /// It cannot be started, or says nothing sensible.
    #[error("{tried} cannot be used: {why}")]
    Unusable {
        /// Which one it is, and why it was that one.
        tried: String,
        /// What is wrong with it.
        why: String,
    },
    /// Its version is too old.
    #[error(
        "{tried} is Python {version}; graphs need {} or newer",
        super::interpreter::OLDEST
    )]
    TooOld {
        /// Which one it is, and why it was that one.
        tried: String,
        /// Its version.
        version: String,
    },
    /// It lacks what graphs are made with.
    #[error("{tried} has no {}\n  install with: {install}", missing.join(", no "))]
    Missing {
        /// Which one it is, and why it was that one.
        tried: String,
        /// The packages that are not there.
        missing: Vec<String>,
        /// The command that would help.
        install: String,
    },
}

/// Something that people should know although the project can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// One line: `key: what about it`.
    pub text: String,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something is different from what the file says.
    Warning,
    /// Something that protects data is not in place.
    Alarm,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What was found in a file, collected so that all of it is said at once.
#[derive(Debug, Default)]
pub(super) struct Findings {
    broken: Vec<String>,
    unsupported: Vec<Notice>,
    notices: Vec<Notice>,
}

impl Findings {
    /// `key` cannot mean anything.
    pub(super) fn broken(&mut self, key: &str, why: impl fmt::Display) {
        self.broken.push(format!("{key}: {why}"));
    }

    /// `key` asks for something that is not served.
    pub(super) fn unsupported(&mut self, level: Level, key: &str, why: impl fmt::Display) {
        let text = format!("{key}: {why}");
        self.unsupported.push(Notice { level, text });
    }

    /// There is something to know about `key`.
    pub(super) fn warn(&mut self, key: &str, why: impl fmt::Display) {
        let (level, text) = (Level::Warning, format!("{key}: {why}"));
        self.notices.push(Notice { level, text });
    }

    /// What to tell people, if the project can be served at all.
    pub(super) fn settle(
        self,
        file: &Path,
        allow_unsupported: bool,
    ) -> Result<Vec<Notice>, ProjectError> {
        let refused = !self.unsupported.is_empty() && !allow_unsupported;
        if refused || !self.broken.is_empty() {
            let unsupported = self.unsupported.into_iter().filter(|_| refused);
            return Err(ProjectError::Unfit(Unfit {
                file: file.to_path_buf(),
                broken: self.broken,
                unsupported: unsupported.map(|notice| notice.text).collect(),
            }));
        }
        let mut notices = self.unsupported;
        notices.extend(self.notices);
        Ok(notices)
    }
}
