//! Variables that a project brings: the key `env`, a map or a file.

mod dialect;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::Findings;
use super::paths::absolute;
use super::surroundings::Surroundings;

/// Variables by name. Values are often secrets, so only names are ever printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Each name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What `env` says, less what the process has of its own; and the file, if it names one.
pub(super) fn read(
    value: Option<&Value>,
    root: &Path,
    surroundings: &Surroundings,
    findings: &mut Findings,
) -> (Environment, Option<PathBuf>) {
    let (mut variables, file) = match value {
        None | Some(Value::Null) => return (Environment::default(), None),
        Some(Value::Object(object)) => {
            let mut variables = BTreeMap::new();
            for (name, value) in object {
                match text(value) {
                    Some(value) => _ = variables.insert(name.clone(), value),
                    None => findings.broken(&format!("env.{name}"), "must be a text"),
                }
            }
            (variables, None)
        }
        Some(Value::String(path)) => {
            let file = absolute(&root.join(path));
            let variables = of_file(&file).unwrap_or_else(|why| {
                findings.broken("env", why);
                BTreeMap::new()
            });
            (variables, Some(file))
        }
        Some(_) => {
            findings.broken("env", "must be an object, or the path of a file");
            return (Environment::default(), None);
        }
    };
    variables.retain(|name, _| {
        !surroundings
            .names
            .contains(name.as_ref() as &std::ffi::OsStr)
    });
    (Environment(variables), file)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The variables of a file; the last of several with one name counts.
fn of_file(file: &Path) -> Result<BTreeMap<String, String>, String> {
    let place = file.display();
    let content = std::fs::read_to_string(file).map_err(|error| {
        let mut example = file.as_os_str().to_os_string();
        example.push(".example");
        let hint = if Path::new(&example).is_file() {
            format!("; there is {} to start from", Path::new(&example).display())
        } else {
            String::new()
        };
        format!("cannot read {place}: {error}{hint}")
    })?;
    let content = dialect::translated(&content);
    let pairs = dotenvy::from_read_iter(content.as_bytes());
    let pairs: Result<_, _> = pairs.collect();
    pairs.map_err(|error| match error {
        // The line itself may be a secret.
        dotenvy::Error::LineParse(line, _) => {
            let lines = content.lines();
            let number = lines
                .into_iter()
                .position(|other| other.contains(line.trim()));
            let number = number.map_or_else(String::new, |index| format!(" at line {}", index + 1));
            format!("{place} cannot be understood{number}")
        }
        error => format!("cannot read {place}: {error}"),
    })
}
