//! Log lines of the product, held to `docs/logging.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::PARENT;
use crate::interrupt;
use crate::site::{Site, slow};

/// What every line has.
const ALWAYS: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The fields that the page names, with what it says of them.
fn documented() -> BTreeMap<String, String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/logging.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once('`').expect("a name");
        let about = rest.trim_matches([' ', '|']).to_owned();
        (name.to_owned(), about)
    })
    .collect()
}

fn lines(site: &Site) -> Vec<Map<String, Value>> {
    let log = site.log();
    let read = |line: &str| match serde_json::from_str(line) {
        Ok(Value::Object(line)) => line,
        other => panic!("{line}: {other:?}"),
    };
    log.lines().map(read).collect()
}

/// The lines of the product's own crates.
fn own(lines: &[Map<String, Value>]) -> impl Iterator<Item = &Map<String, Value>> {
    let is_own = |line: &&Map<String, Value>| {
        line["target"]
            .as_str()
            .is_some_and(|target| target.starts_with("runloom"))
    };
    lines.iter().filter(is_own)
}

/// Whether a line from here is about one run.
fn is_about_a_run(target: &str) -> bool {
    let places = [
        "runloom_worker::attempt",
        "runloom_worker::settle",
        "runloom_worker::execution",
        "runloom_graph",
        "runloom_remote::executor::drive",
    ];
    places.iter().any(|place| target.starts_with(place))
}

#[tokio::test]
async fn each_line_is_one_object_with_the_fields_that_the_page_names() {
    let mut site = Site::chatty().await;
    interrupt(&site, 5.0).await;
    let thread = site.thread().await;
    let path = format!("/threads/{thread}/runs/wait");
    for graph in ["fail", "slow"] {
        let mut body = slow(0.0, "enqueue");
        body["assistant_id"] = json!(graph);
        site.post(&path, &body, Some(PARENT)).await;
    }
    site.stop().await;
    let lines = lines(&site);
    let (documented, mut seen) = (documented(), BTreeSet::new());
    for line in &lines {
        for field in ALWAYS {
            assert!(line.contains_key(field), "{field}: {line:?}");
        }
        assert!(
            !line.contains_key("span") && !line.contains_key("fields"),
            "{line:?}"
        );
    }
    for line in own(&lines) {
        let target = line["target"].as_str().expect("a text");
        if is_about_a_run(target) {
            for field in ["run.id", "thread.id", "worker.id", "attempt"] {
                assert!(line.contains_key(field), "{field}: {line:?}");
            }
        }
        assert_eq!(
            line.contains_key("run.id"),
            line.contains_key("thread.id") || is_signal(line)
        );
        for name in line.keys() {
            // Fields with a dot are names that others look for: each has its row.
            assert!(
                !name.contains('.') || documented.contains_key(name),
                "{name}: {line:?}"
            );
            seen.insert(name.as_str());
        }
    }
    for name in [
        "run.id",
        "thread.id",
        "worker.id",
        "attempt",
        "fence",
        "trace.id",
        "error",
    ] {
        assert!(seen.contains(name), "no line has {name}");
        assert!(
            documented.contains_key(name),
            "the page does not name {name}"
        );
    }
    let traced = own(&lines)
        .filter(|line| line.contains_key("trace.id"))
        .count();
    assert!(
        traced > 0 && traced < own(&lines).count(),
        "only runs of a trace name it"
    );
}

/// A signal names its run only.
fn is_signal(line: &Map<String, Value>) -> bool {
    line["target"].as_str().is_some_and(|target| {
        target == "runloom_worker::signals" || target == "runloom_core::effects"
    })
}

#[tokio::test]
async fn lines_of_code_in_python_name_their_run() {
    let mut site = Site::of_python("http://127.0.0.1:9").await;
    let thread = site.thread().await;
    let path = format!("/threads/{thread}/runs/wait");
    let body = json!({"assistant_id": "agent", "input": {"seen": []}});
    site.post(&path, &body, Some(PARENT)).await;
    let runs = site.get(&format!("/threads/{thread}/runs")).await;
    site.stop().await;
    let lines = lines(&site);
    let said = lines
        .iter()
        .filter(|line| line["message"] == "a line of the graph");
    let said: Vec<_> = said.collect();
    assert_eq!(said.len(), 2, "one of each node");
    for line in said {
        assert_eq!(line["run.id"], runs[0]["run_id"]);
        assert_eq!(line["thread.id"], json!(thread));
        assert_eq!(line["trace.id"], runs[0]["trace_id"]);
        assert!(line["executor.pid"].is_number(), "{line:?}");
    }
}
