//! How SQLite carries out the statements of this crate: by the indexes that were made for them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proc_macro2::{TokenStream, TokenTree};
use runloom_testkit::conformance::database::Fixture;
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::model_check::model_check;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use crate::{Config, Location, Sqlite, connections, migrations};

/// The file whose statements are put together when they are needed.
const PUT_TOGETHER: &str = "search.rs";

/// All texts in the sources, each with its file.
fn texts() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|name| name == "rs") {
            let source = std::fs::read_to_string(&file).unwrap();
            let mut found = Vec::new();
            collect(source.parse().unwrap(), &mut found);
            texts.extend(found.into_iter().map(|text| (file.clone(), text)));
        }
    }
    texts
}

fn collect(tokens: TokenStream, found: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect(group.stream(), found),
            TokenTree::Literal(literal) => {
                let text = syn::parse_str::<syn::LitStr>(&literal.to_string());
                found.extend(text.map(|text| text.value()));
            }
            _ => {}
        }
    }
}

fn is_statement(text: &str) -> bool {
    let verb = text.split_whitespace().next();
    let verbs = ["select", "insert", "update", "delete"];
    verb.is_some_and(|verb| text.starts_with(verb) && verbs.contains(&verb))
}

fn words(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All statements that stand in the sources, each with its plan, a step a line.
fn plans() -> Vec<(String, String)> {
    let connection = connections::memory().unwrap();
    migrations::migrate(&connection).unwrap();
    let statements = texts().into_iter().filter(|(file, text)| {
        let name = file.file_name().unwrap();
        name != PUT_TOGETHER && name != "tests.rs" && is_statement(text)
    });
    let plans: Vec<_> = statements
        .map(|(file, sql)| {
            let explained = connection.prepare(&format!("explain query plan {sql}"));
            let mut explained = explained.unwrap_or_else(|error| panic!("{file:?} {error}"));
            let mut rows = explained.raw_query();
            let mut steps = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                steps.push(row.get::<_, String>("detail").unwrap());
            }
            (words(&sql), steps.join("\n"))
        })
        .collect();
    assert!(plans.len() > 40, "the statements are found");
    plans
}

static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

#[expect(
    clippy::needless_pass_by_value,
    reason = "what SQLite calls takes it so"
)]
fn see(event: TraceEvent<'_>) {
    if let TraceEvent::Stmt(_, sql) = event {
        SEEN.lock().unwrap().insert(sql.to_owned());
    }
}

/// Otherwise there could be some whose plans nobody has looked at.
#[tokio::test]
async fn every_statement_that_is_carried_out_stands_in_the_sources() {
    let clock = ManualClock::new();
    let database = Sqlite::open(Location::Memory, clock.clone(), Config::default()).await;
    let database = database.unwrap();
    let watch = |change: &crate::Change<'_>| {
        change.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(see));
        Ok(())
    };
    database.change(0, watch).await.unwrap();
    model_check(&Fixture::new(Arc::new(database), clock), 7, 600).await;

    let texts = texts();
    let stands = |sql: &str| {
        texts.iter().any(|(file, text)| {
            text == sql
                || (file.ends_with(PUT_TOGETHER) && is_statement(text) && sql.starts_with(text))
        })
    };
    let seen = SEEN.lock().unwrap();
    // What SQLite does on its own it writes as a comment.
    let statements: Vec<_> = seen.iter().filter(|sql| !sql.starts_with("--")).collect();
    let unknown: Vec<_> = statements.iter().filter(|sql| !stands(sql)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(statements.len() > 30, "{} seen", statements.len());
}

/// The plan of the one statement that is `part`, or in which it occurs.
fn plan<'a>(plans: &'a [(String, String)], part: &str) -> &'a str {
    if let Some((_, plan)) = plans.iter().find(|(sql, _)| sql == part) {
        return plan;
    }
    let mut found = plans.iter().filter(|(sql, _)| sql.contains(part));
    let (_, plan) = found
        .next()
        .unwrap_or_else(|| panic!("no statement has {part:?}"));
    assert!(found.next().is_none(), "{part:?} occurs more than once");
    plan
}

#[test]
fn the_queue_goes_by_its_indexes() {
    let plans = plans();
    let cases = [
        (
            "and created_at <= ? order by created_at, seq limit 1",
            "SEARCH runs USING INDEX runs_in_flight (thread_id=? AND created_at<?)",
        ),
        (
            "claim is null and status = 'busy' and hinted_at <= ?1",
            "SEARCH t USING INDEX threads_waiting (hinted_at<?)",
        ),
        (
            "worker_id is not null and not exists",
            "SEARCH threads USING INDEX threads_held (worker_id>?)",
        ),
        (
            "join runs r on r.id = t.held_run",
            "SEARCH t USING INDEX threads_held (worker_id=?)",
        ),
        (
            "temporary = 1 and at_rest_since <= ?",
            "SEARCH threads USING INDEX threads_temporary (at_rest_since<?)",
        ),
        (
            "from threads where ttl_minutes is not null and status <> 'busy'",
            "SEARCH threads USING INDEX threads_expiring (<expr><?)",
        ),
        (
            "select id from runs where status not in ('pending', 'running') and updated_at <= ?",
            "SEARCH runs USING INDEX runs_over (updated_at<?)",
        ),
        (
            "select * from runs where thread_id = ? and status in ('pending', 'running')",
            "SEARCH runs USING INDEX runs_in_flight (thread_id=?)",
        ),
        (
            "status in ('pending', 'running')) or id = ?",
            "MULTI-INDEX OR\nINDEX 1\nSEARCH runs USING INDEX runs_in_flight (thread_id=?)",
        ),
    ];
    for (part, step) in cases {
        let plan = plan(&plans, part);
        assert!(plan.contains(step), "{part}\n{plan}");
    }
}

#[test]
fn what_is_first_or_last_is_found_without_sorting() {
    let plans = plans();
    for part in [
        "and created_at <= ? order by created_at, seq limit 1",
        "from checkpoints where thread_id = ? and ns = ? order by id desc limit 1",
        "and (?3 is null or id < ?3) order by id desc",
        ") as in_flight, coalesce((",
    ] {
        let plan = plan(&plans, part);
        assert!(!plan.contains("TEMP B-TREE"), "{part}\n{plan}");
    }
}

#[test]
fn no_statement_reads_a_table_from_end_to_end() {
    for (sql, plan) in plans() {
        let is_whole = |step: &&str| step.starts_with("SCAN ") && !step.contains(" USING ");
        let whole: Vec<_> = plan.lines().filter(is_whole).collect();
        let is_fine = whole.iter().all(|step| {
            // Nothing at all; versions of channels, handed in; a handful of workers or migrations.
            *step == "SCAN CONSTANT ROW"
                || step.contains("VIRTUAL TABLE")
                || *step == "SCAN workers"
                || *step == "SCAN _sqlx_migrations"
        });
        assert!(is_fine, "{sql}\n{plan}");
    }
}
