//! What may depend on what: every arrow points down to the core.

use std::collections::BTreeSet;

use super::{files, root};

/// For each crate, the crates of ours that it may depend on. The binary may depend on all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("sqlite", &["core"]),
    ("postgres", &["core"]),
    ("bus", &["core"]),
    ("graph", &["core"]),
    ("remote", &["core"]),
    ("worker", &["core"]),
    ("api", &["core"]),
    ("gateway", &["core", "api"]),
    ("testkit", &["core"]),
];

/// For a library that only some crates may know, those crates.
const KNOWN_TO: &[(&str, &[&str])] = &[
    ("rusqlite", &["sqlite"]),
    ("sqlx", &["postgres", "bench"]),
    ("async-nats", &["bus", "bench"]),
    ("metrics-exporter-prometheus", &["runloom"]),
    ("axum", &["gateway", "runloom", "bench"]),
    ("utoipa", &["api", "gateway"]),
    ("async-openai", &["graph"]),
    ("clap", &["bench", "runloom"]),
    ("anyhow", &["bench", "runloom"]),
];

fn dependencies(folder: &str) -> BTreeSet<String> {
    let path = root().join("crates").join(folder).join("Cargo.toml");
    let manifest = std::fs::read_to_string(&path).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("valid TOML");
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    dependencies
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn every_arrow_between_crates_points_down() {
    for (folder, allowed) in ALLOWED {
        for dependency in dependencies(folder) {
            if let Some(ours) = dependency.strip_prefix("runloom-") {
                assert!(
                    allowed.contains(&ours),
                    "{folder} must not depend on {ours}"
                );
            }
        }
    }
}

#[test]
fn libraries_stay_where_they_belong() {
    let folders = std::fs::read_dir(root().join("crates")).expect("the crates");
    for folder in folders {
        let folder = folder
            .expect("a folder")
            .file_name()
            .to_string_lossy()
            .into_owned();
        let dependencies = dependencies(&folder);
        for (library, known_to) in KNOWN_TO {
            assert!(
                !dependencies.contains(*library) || known_to.contains(&&*folder),
                "{folder} must not know {library}"
            );
        }
    }
}

#[test]
fn only_the_wiring_names_a_backend() {
    for crate_with_a_port in ["worker", "gateway", "api", "core"] {
        for file in files(
            &root().join("crates").join(crate_with_a_port).join("src"),
            "rs",
        ) {
            let text = std::fs::read_to_string(&file).expect("a readable file");
            for backend in ["runloom_sqlite", "runloom_postgres", "runloom_bus"] {
                let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
                let named = lines.into_iter().any(|line| line.contains(backend));
                assert!(!named, "{} names {backend}", file.display());
            }
        }
    }
}
