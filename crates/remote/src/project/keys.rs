//! What becomes of each key of `langgraph.json`.

use runloom_core::json::JsonMap;
use serde_json::Value;

use super::error::{Findings, Level};

/// What becomes of a key.
enum Fate {
    /// Another part of this module reads it.
    Read,
    /// It is about building images, or about something that is not here in the first place.
    Ignored,
    /// It asks for something that is not served.
    Unsupported(&'static str),
    /// It asks for protection that is not there.
    Protection(&'static str),
    /// It asks for something that is not served, unless it asks for what is done anyway.
    Unless(fn(&Value) -> bool, &'static str),
    /// Its keys each have a fate.
    Within(Keys),
}

type Keys = &'static [(&'static str, Fate)];

use Fate::{Ignored, Protection, Read, Unless, Unsupported, Within};

/// A name that ends in `*` stands for all that begin so.
const KEYS: Keys = &[
    ("graphs", Read),
    ("dependencies", Read),
    ("env", Read),
    ("python_version", Read),
    ("interrupt", Read),
    ("executor", Read),
    ("store", Within(STORE)),
    ("checkpointer", Within(CHECKPOINTER)),
    ("http", Within(HTTP)),
    ("auth", Protection(AUTH)),
    ("encryption", Protection(ENCRYPTION)),
    (
        "webhooks",
        Unsupported("webhooks are accepted with a run, but not called yet"),
    ),
    (
        "ui",
        Unsupported("components of a user interface are not served"),
    ),
    (
        "ui_config",
        Unsupported("components of a user interface are not served"),
    ),
    ("$schema", Ignored),
    ("_INTERNAL_*", Ignored),
    ("api_version", Ignored),
    ("base_image", Ignored),
    ("build_*", Ignored),
    ("dockerfile_lines", Ignored),
    ("image_distro", Ignored),
    ("keep_pkg_tools", Ignored),
    ("node_version", Ignored),
    ("pip_config_file", Ignored),
    ("pip_installer", Ignored),
    ("source", Ignored),
];

const AUTH: &str = "custom authentication is not served yet: without it EVERYBODY who reaches the port can \
                    read and change every thread";
const ENCRYPTION: &str =
    "custom encryption is not served yet: without it state is stored IN THE CLEAR";

const STORE: Keys = &[
    (
        "index",
        Unsupported("semantic search in the store is not served yet"),
    ),
    ("ttl", Unsupported("items do not expire yet")),
];

const CHECKPOINTER: Keys = &[
    (
        "path",
        Unsupported("state is kept by the server; an own checkpointer is not used"),
    ),
    ("ttl", Read),
    (
        "serde",
        Unsupported("rules of what may be revived from checkpoints are not applied yet"),
    ),
];

const HTTP: Keys = &[
    ("app", Unsupported("own routes are not served yet")),
    (
        "configurable_headers",
        Unsupported("headers do not become part of a run's configuration yet"),
    ),
    (
        "cors",
        Unless(
            allows_all,
            "rules for browsers are not applied yet: pages of any origin may call",
        ),
    ),
    ("disable_assistants", Unsupported("all routes are served")),
    ("disable_meta", Unsupported("all routes are served")),
    ("disable_runs", Unsupported("all routes are served")),
    ("disable_store", Unsupported("all routes are served")),
    ("disable_threads", Unsupported("all routes are served")),
    ("middleware", Unsupported("own middleware is not run yet")),
    (
        "mount_prefix",
        Unsupported("routes are served without a prefix"),
    ),
    // None of these are served, called or logged; the others only say how `app` and `auth` are run.
    ("disable_a2a", Ignored),
    ("disable_mcp", Ignored),
    ("disable_ui", Ignored),
    ("disable_webhooks", Ignored),
    ("logging_headers", Ignored),
    ("enable_custom_route_auth", Ignored),
    ("middleware_order", Ignored),
];

/// Notes what is not served in `file`, and what nobody knows.
pub(super) fn judge(file: &JsonMap, findings: &mut Findings) {
    judge_all("", file, KEYS, findings);
}

fn judge_all(prefix: &str, object: &JsonMap, keys: Keys, findings: &mut Findings) {
    for (key, value) in object {
        let name = format!("{prefix}{key}");
        let known = keys.iter().find(|(known, _)| is_called(key, known));
        let Some((_, fate)) = known else {
            findings.warn(&name, unknown(key, keys));
            continue;
        };
        if asks_for_nothing(value) {
            continue;
        }
        match fate {
            Read | Ignored => {}
            Unsupported(why) => findings.unsupported(Level::Warning, &name, why),
            Protection(why) => findings.unsupported(Level::Alarm, &name, why),
            Unless(is_done, why) => {
                if !is_done(value) {
                    findings.unsupported(Level::Warning, &name, why);
                }
            }
            Within(keys) => match value.as_object() {
                Some(object) => judge_all(&format!("{name}."), object, keys, findings),
                None => findings.broken(&name, "must be an object"),
            },
        }
    }
}

fn is_called(key: &str, known: &str) -> bool {
    match known.strip_suffix('*') {
        Some(beginning) => key.starts_with(beginning),
        None => key == known,
    }
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// What is told about a key that nobody knows.
fn unknown(key: &str, keys: Keys) -> String {
    let names = keys.iter().map(|(known, _)| *known);
    match nearest(key, names) {
        Some(meant) => format!("not a known key; is `{meant}` meant?"),
        None => "not a known key".to_owned(),
    }
}

/// The one of `names` that `key` is likely a misspelling of.
pub(super) fn nearest<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &&str| strsim::normalized_damerau_levenshtein(key, name);
    let nearest = names.max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(&nearest) >= 0.6).then_some(nearest)
}

/// Whether `cors` asks for what is served: everything but credentials, to everybody.
fn allows_all(cors: &Value) -> bool {
    let Some(cors) = cors.as_object() else {
        return false;
    };
    cors.iter().all(|(key, value)| match key.as_str() {
        "allow_origins" => value
            .as_array()
            .is_some_and(|list| list.iter().any(|any| any == "*")),
        // What is allowed beside the origins is mirrored from the request.
        "allow_methods" | "allow_headers" | "max_age" => true,
        _ => asks_for_nothing(value),
    })
}
