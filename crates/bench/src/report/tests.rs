use super::*;
use crate::results::Kind;

/// Results of a server as they lie in a file.
fn results(name: &str, kind: &str, more: &str, cases: &str) -> Results {
    let text = format!(
        r#"{{
            "target": {{
                "name": "{name}", "label": "The {name}", "kind": "{kind}", "version": "1.2",
                {more}, "processes": 1
            }},
            "machine": {{
                "processor": "Abacus", "cores": 2, "memory_mib": 4096, "system": "linux 6 x86_64"
            }},
            "taken": "2026-01-02 03:04", "quick": false, "memory": "PSS",
            "cases": [{cases}]
        }}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn wait(rates: [f64; 3]) -> String {
    let rounds = rates.map(|rate| {
        format!(r#"{{"runs_per_s": {rate}, "p50_ms": 1.5, "wrong": 0, "samples": 100}}"#)
    });
    format!(r#"{{"name": "wait/64", "rounds": [{}]}}"#, rounds.join(","))
}

fn interrupt(first_event: f64, wrong: usize) -> String {
    format!(
        r#"{{"name": "interrupt/1", "rounds": [
            {{"first_event_p50_ms": {first_event}, "answer_p50_ms": 4, "wrong": {wrong}, "samples": 100}}
        ]}}"#
    )
}

const RUST: &str = r#""graphs": "rust", "settings": {}, "gateways": 1"#;
const CLUSTER: &str = r#""graphs": "rust", "settings": {"workers": "2"}, "gateways": 2"#;
const DURABLE: &str = r#""graphs": "python", "settings": {"storage": "postgres"}, "gateways": 1"#;
const MEMORY: &str = r#""graphs": "python", "settings": {"storage": "memory"}, "gateways": 1"#;

fn session() -> Session {
    let failed = r#"{"name": "wait/64", "rounds": [], "failed": "POST /threads: 500 | no"}"#;
    let background = r#"{"name": "background", "rounds": [{"runs_per_s": 1500}]}"#;
    let floor = r#"{"name": "sql/1", "rounds": [{"runs_per_s": 1000, "p50_ms": 1, "p99_ms": 2}]},
        {"name": "sql/32", "rounds": [{"runs_per_s": 5000, "p50_ms": 3, "p99_ms": 4}]}"#;
    let reference = [wait([100.0, 90.0, 120.0]), interrupt(900.0, 0)].join(",");
    let ours = [wait([2500.0, 2400.0, 2600.0]), interrupt(3.0, 0)].join(",");
    Session::of(vec![
        results("ignorant", "peer", DURABLE, &interrupt(1.0, 100)),
        results(
            "durable",
            "peer",
            DURABLE,
            &[failed.to_owned(), interrupt(50.0, 1)].join(","),
        ),
        results("reference", "peer", MEMORY, &reference),
        results("floor", "floor", RUST, floor),
        results("cluster", "runloom", CLUSTER, background),
        results("runloom-dev", "runloom", RUST, &ours),
    ])
}

/// The line of a page that has all of these.
fn line_with<'a>(page: &'a str, parts: &[&str]) -> &'a str {
    let fits = |line: &&str| parts.iter().all(|part| line.contains(part));
    page.lines()
        .find(fits)
        .unwrap_or_else(|| panic!("no line with {parts:?} in {page}"))
}

#[test]
fn ours_come_first_and_the_floor_is_no_server() {
    let session = session();
    let names = session
        .servers()
        .into_iter()
        .map(|results| results.target.name.clone());
    let names: Vec<_> = names.collect();
    assert_eq!(
        names,
        ["runloom-dev", "cluster", "ignorant", "durable", "reference"]
    );
    assert_eq!(session.floor().unwrap().target.kind, Kind::Floor);
}

#[test]
fn targets_are_judged_within_the_session() {
    let page = markdown::page(&session(), "Remarks.");
    let wait = line_with(&page, &["Runs waited for, 64 clients", "The runloom-dev"]);
    assert!(
        wait.contains("≥ 2,000/s (20 × the reference's 100)"),
        "{wait}"
    );
    assert!(wait.contains("2,500/s | met, 1.25× better"), "{wait}");
    // The best of the floor counts.
    let background = line_with(&page, &["Runs in the background", "The cluster"]);
    assert!(
        background.contains("≥ 2,000/s (0.40 × the floor's 5,000)"),
        "{background}"
    );
    assert!(
        background.contains("**not met**, 1.33× short"),
        "{background}"
    );
    // Who ignores the strategy is no peer to be compared with, nor is who keeps nothing.
    let first = line_with(
        &page,
        &["1 at once: second run's first event", "The runloom-dev"],
    );
    assert!(
        first.contains("≤ 5 ms (1/10 × The durable's 50)"),
        "{first}"
    );
    assert!(first.contains("met, 1.67× better"), "{first}");
    // The reference is.
    let answer = line_with(&page, &["1 at once: answered", "The runloom-dev"]);
    assert!(
        answer.contains("≤ 2 ms (0.50 × the reference's 4)"),
        "{answer}"
    );
    assert!(page.contains("not measured"), "{page}");
}

#[test]
fn tables_show_ranges_ratios_failures_and_wrong_outcomes() {
    let page = markdown::page(&session(), "What should be *known*.");
    assert!(page.contains("What should be *known*."));
    let ours = line_with(&page, &["| The runloom-dev |", "2,400"]);
    assert!(ours.contains("**2,500/s** (2,400–2,600)"), "{ours}");
    assert!(ours.contains("| 25× | 25× | none |"), "{ours}");
    let failed = line_with(&page, &["| The durable |", "failed"]);
    assert!(failed.contains("POST /threads: 500 \\| no"), "{failed}");
    let wrong = line_with(&page, &["| The ignorant |", "**wrong**"]);
    assert!(wrong.contains("100 of 100"), "{wrong}");
    let nearly_right = line_with(&page, &["| The durable |", "1 of 100"]);
    assert!(nearly_right.contains("best"), "{nearly_right}");
    let floor = line_with(&page, &["`sql/32`"]);
    assert!(floor.contains("5,000 runs/s | 3 ms | 4 ms"), "{floor}");
}

#[test]
fn every_row_of_a_table_has_as_many_cells_as_its_header() {
    let page = markdown::page(&session(), "");
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut header = None;
    for line in page.lines() {
        match header {
            _ if !line.starts_with('|') => header = None,
            None => header = Some(cells(line)),
            Some(count) => assert_eq!(cells(line), count, "{line}"),
        }
    }
}

#[test]
fn the_chart_has_a_bar_for_whoever_was_asked_and_marks_the_wrong() {
    let chart = chart::svg(&session());
    assert!(
        chart.contains("class=\"wrong\"") && chart.contains("1 ms wrong"),
        "{chart}"
    );
    assert!(
        chart.contains(">failed<") && chart.contains("prefers-color-scheme:dark"),
        "{chart}"
    );
    assert_eq!(chart.matches("<g ").count(), chart.matches("</g>").count());
    assert_eq!(
        chart.matches("class=\"t\"").count(),
        3,
        "panels of what was measured only"
    );
}

#[test]
fn a_report_is_written_only_with_its_remarks() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (number, results) in session().servers().into_iter().enumerate() {
        results
            .write(&at("results").join(format!("{number}.json")))
            .unwrap();
    }
    let args = ReportArgs {
        json: vec![at("results")],
        markdown: at("docs/page.md"),
        chart: at("docs/chart.svg"),
        remarks: at("remarks.md"),
    };
    assert!(write(&args).is_err());
    std::fs::write(at("remarks.md"), "So it was.").unwrap();
    write(&args).unwrap();
    assert!(
        std::fs::read_to_string(at("docs/page.md"))
            .unwrap()
            .contains("So it was.")
    );
    assert!(
        std::fs::read_to_string(at("docs/chart.svg"))
            .unwrap()
            .ends_with("</svg>\n")
    );
}

#[test]
fn a_case_in_one_line_says_what_matters() {
    let session = session();
    let lines: Vec<_> = session
        .servers()
        .iter()
        .flat_map(|one| &one.cases)
        .map(line)
        .collect();
    assert!(lines[0].contains("runs 2,500/s; p50 1.50 ms"), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.contains("WRONG 100 of 100")),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("FAILED: POST /threads")),
        "{lines:?}"
    );
}
