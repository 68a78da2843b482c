//! What processes say of themselves, as those read it who operate them: the trace of an interrupt, sent
//! to a receiver, and log lines held to their page.

mod logs;
mod receiver;
mod site;

use std::io::Write as _;

use receiver::{Receiver, Span};
use rustix::process::Signal;
use serde_json::{Value, json};
use site::{Site, slow, until};

/// Whose trace the client says it is.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Shows what was received to whoever runs the test.
fn report(receiver: &Receiver) {
    writeln!(std::io::stdout(), "{}", receiver.trees()).expect("somebody reads");
}

/// A run that another one interrupts in its second step.
struct Interrupt {
    first: Value,
    second: Value,
}

async fn interrupt(site: &Site, delay: f64) -> Interrupt {
    let thread = site.thread().await;
    let runs = format!("/threads/{thread}/runs");
    // The first belongs to the caller's trace, the second to nobody's.
    let (status, first) = site
        .post(&runs, &slow(delay, "enqueue"), Some(PARENT))
        .await;
    assert_eq!(status, 200, "{first}");
    until(
        async || site.said(&thread).await.len() > 1,
        "the first step",
    )
    .await;
    let (status, second) = site.post(&runs, &slow(0.0, "interrupt"), None).await;
    assert_eq!(status, 200, "{second}");
    let path = format!("{runs}/{}", id(&second));
    let over = async || site.get(&path).await["status"] == "success";
    until(over, "the end of the second run").await;
    let first = site.get(&format!("{runs}/{}", id(&first))).await;
    let second = site.get(&path).await;
    assert_eq!(first["status"], "interrupted");
    Interrupt { first, second }
}

fn id(run: &Value) -> &str {
    run["run_id"].as_str().expect("an id")
}

/// Waits for the span `name` of a run.
async fn span(receiver: &Receiver, name: &str, run: &Value) -> Span {
    let there = async || receiver.find(name, id(run)).is_some();
    until(there, &format!("span {name}")).await;
    receiver.find(name, id(run)).expect("it is there")
}

async fn of_id(receiver: &Receiver, span: &str) -> Span {
    let find = || receiver.spans().into_iter().find(|other| other.id == span);
    until(async || find().is_some(), "the span above").await;
    find().expect("it is there")
}

/// What holds of every interrupt, whoever is where.
async fn check(receiver: &Receiver, runs: &Interrupt, gateway: &str, worker: &str) {
    let Interrupt { first, second } = runs;
    assert_eq!(first["trace_id"], TRACE);
    let own = second["trace_id"].as_str().expect("a trace of its own");
    assert_ne!(own, TRACE);
    let mut attempts = Vec::new();
    for (run, trace, above, outcome) in [
        (first, TRACE, CALLER, "interrupted"),
        (second, own, "", "success"),
    ] {
        let submit = span(receiver, "submit", run).await;
        let attempt = span(receiver, "attempt", run).await;
        let request = of_id(receiver, &submit.parent).await;
        assert_eq!(request.name, "POST /threads/{thread_id}/runs");
        assert_eq!(request.parent, above);
        assert_eq!(request.says("http.response.status_code"), "200");
        assert_eq!(attempt.parent, submit.id);
        assert_eq!(submit.says("outcome"), "accepted");
        assert_eq!(attempt.says("outcome"), outcome);
        assert_eq!(attempt.says("attempt"), "1");
        for about in ["thread.id", "assistant", "graph", "strategy"] {
            assert_eq!(attempt.says(about), submit.says(about));
            assert!(!attempt.says(about).is_empty(), "{about}");
        }
        assert_eq!((&*request.service, &*submit.service), (gateway, gateway));
        let settle = span(receiver, "settle", run).await;
        assert_eq!(settle.parent, attempt.id);
        let all = [&request, &submit, &attempt, &settle];
        assert!(all.iter().all(|span| span.trace == trace), "{all:#?}");
        assert_eq!((&*attempt.service, &*settle.service), (worker, worker));
        attempts.push((submit, attempt));
    }
    let [(_, stopped), (submit, successor)] = &attempts[..] else {
        panic!("two attempts")
    };
    let signal = span(receiver, "signal", first).await;
    assert_eq!(
        (&*signal.parent, signal.says("reply")),
        (&*submit.id, "stopping")
    );
    assert_eq!((&*signal.trace, &*signal.service), (own, gateway));
    let stop = span(receiver, "stop", first).await;
    assert_eq!((&*stop.parent, &*stop.trace), (&*stopped.id, TRACE));
    assert_eq!(
        (stop.says("heard"), stop.says("action")),
        ("signal", "interrupt")
    );
    assert_eq!(
        stop.links,
        [signal.id],
        "the stop belongs to what asked for it"
    );
    assert_eq!(
        successor.links,
        std::slice::from_ref(&stopped.id),
        "the next run to the one it stopped"
    );
    let [above] = &submit.links[..] else {
        panic!("its admission to the run that it stops: {submit:?}")
    };
    assert_eq!(of_id(receiver, above).await.says("run.id"), id(first));
    assert!(
        stop.start <= stop.end && stop.end <= stopped.end,
        "{stop:?} {stopped:?}"
    );
}

/// The nodes of a run below its attempt: name, how it ended.
fn nodes(receiver: &Receiver, attempt: &Span) -> Vec<(String, String)> {
    let mut nodes = receiver.spans();
    nodes.retain(|span| span.parent == attempt.id && span.name.starts_with("node "));
    nodes.sort_by_key(|span| span.start);
    let shown = |span: Span| (span.name.clone(), span.says("outcome").to_owned());
    nodes.into_iter().map(shown).collect()
}

#[tokio::test]
async fn an_interrupt_is_one_story_on_one_machine() {
    let receiver = Receiver::start().await;
    let site = Site::alone(&receiver.url).await;
    let runs = interrupt(&site, 5.0).await;
    check(&receiver, &runs, "runloom", "runloom").await;
    let first = span(&receiver, "attempt", &runs.first).await;
    let [done, stopped] = &nodes(&receiver, &first)[..] else {
        panic!("{}", receiver.trees())
    };
    assert_eq!((&*done.1, &*stopped.1), ("success", "stopped"));
    report(&receiver);
}

#[tokio::test]
async fn an_interrupt_is_one_story_on_many_machines() {
    let receiver = Receiver::start().await;
    let site = Site::many(&receiver.url).await;
    let runs = interrupt(&site, 5.0).await;
    check(&receiver, &runs, "runloom-gateway", "runloom-worker").await;
    report(&receiver);
}

#[tokio::test]
async fn a_run_that_goes_on_elsewhere_stays_in_its_trace() {
    for (signal, before) in [(Signal::TERM, "handed_back"), (Signal::KILL, "")] {
        let receiver = Receiver::start().await;
        let mut site = Site::many(&receiver.url).await;
        let thread = site.thread().await;
        let runs = format!("/threads/{thread}/runs");
        let (_, run) = site.post(&runs, &slow(2.0, "enqueue"), Some(PARENT)).await;
        until(
            async || site.said(&thread).await.len() > 1,
            "the first step",
        )
        .await;
        site.relieve(signal);
        let path = format!("{runs}/{}", id(&run));
        let over = async || site.get(&path).await["status"] == "success";
        until(over, "the end of the run").await;
        let submit = span(&receiver, "submit", &run).await;
        let of_it = |span: &Span| span.name == "attempt" && span.says("run.id") == id(&run);
        let last = |span: &Span| of_it(span) && span.says("outcome") == "success";
        until(
            async || receiver.spans().iter().any(last),
            "the last attempt",
        )
        .await;
        let mut attempts = receiver.spans();
        attempts.retain(of_it);
        attempts.sort_by_key(|span| span.start);
        assert!(
            attempts
                .iter()
                .all(|span| span.parent == submit.id && span.trace == TRACE)
        );
        let shown = attempts
            .iter()
            .map(|span| (span.says("attempt"), span.says("outcome")));
        let mut expected = vec![("1", before), ("2", "success")];
        // A process that was killed said nothing.
        expected.retain(|(_, outcome)| !outcome.is_empty());
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_rollback_and_a_cancel_say_who_asked() {
    let receiver = Receiver::start().await;
    let site = Site::alone(&receiver.url).await;
    let thread = site.thread().await;
    let runs = format!("/threads/{thread}/runs");
    let begun = async || site.said(&thread).await.len() > 1;
    let (_, first) = site.post(&runs, &slow(5.0, "enqueue"), None).await;
    until(&begun, "the first step").await;
    let (_, second) = site.post(&runs, &slow(5.0, "rollback"), None).await;
    let first = span(&receiver, "attempt", &first).await;
    assert_eq!(first.says("outcome"), "rolled_back");
    until(&begun, "the first step").await;
    let cancel = format!("{runs}/{}/cancel?wait=1", id(&second));
    site.post(&cancel, &json!({}), Some(PARENT)).await;
    let second_attempt = span(&receiver, "attempt", &second).await;
    assert_eq!(second_attempt.links, [first.id], "it stopped the first");
    let signal = span(&receiver, "signal", &second).await;
    assert_eq!((&*signal.trace, signal.says("reply")), (TRACE, "stopping"));
    let stop = span(&receiver, "stop", &second).await;
    assert_eq!(stop.links, [signal.id]);
    assert_eq!(stop.parent, second_attempt.id);
    report(&receiver);
}

#[tokio::test]
async fn code_in_python_finds_its_trace_as_opentelemetry_wants() {
    let receiver = Receiver::start().await;
    let site = Site::of_python(&receiver.url).await;
    let thread = site.thread().await;
    let path = format!("/threads/{thread}/runs/wait");
    let body = json!({"assistant_id": "agent", "input": {"seen": []}});
    let (status, values) = site.post(&path, &body, Some(PARENT)).await;
    assert_eq!(status, 200, "{values}");
    let runs = site.get(&format!("/threads/{thread}/runs")).await;
    let attempt = span(&receiver, "attempt", &runs[0]).await;
    // In a coroutine, and in a thread that LangGraph has a function run in.
    let expected = format!("{TRACE} {}", attempt.id);
    assert_eq!(values["seen"], json!([expected, expected]));
    let both = async || nodes(&receiver, &attempt).len() == 2;
    until(both, "its nodes").await;
    let expected =
        ["node waiting", "node blocking"].map(|name| (name.to_owned(), "success".to_owned()));
    assert_eq!(nodes(&receiver, &attempt), expected);
    // Neither the graph nor what it stored knows of it otherwise.
    let state = site.get(&format!("/threads/{thread}/state")).await;
    assert!(!state["metadata"].to_string().contains(TRACE), "{state}");
    assert!(!runs[0]["kwargs"].to_string().contains(TRACE), "{runs}");
    report(&receiver);
}

#[tokio::test]
async fn a_receiver_that_is_not_there_costs_a_warning() {
    let nobody = runloom_testkit::services::Port::choose();
    let mut site = Site::alone(&format!("http://127.0.0.1:{nobody}")).await;
    let thread = site.thread().await;
    let path = format!("/threads/{thread}/runs/wait");
    let (status, values) = site.post(&path, &slow(0.0, "enqueue"), None).await;
    assert_eq!(status, 200, "{values}");
    until(
        async || site.log().contains("nobody takes traces"),
        "a warning",
    )
    .await;
    site.stop().await;
    assert_eq!(site.log().matches("nobody takes traces").count(), 1);
}

#[tokio::test]
async fn without_a_receiver_the_callers_trace_is_kept_and_nothing_else() {
    let site = Site::silent().await;
    let thread = site.thread().await;
    let runs = format!("/threads/{thread}/runs");
    let (_, traced) = site.post(&runs, &slow(0.0, "enqueue"), Some(PARENT)).await;
    assert_eq!(traced["trace_id"], TRACE);
    let (_, plain) = site.post(&runs, &slow(0.0, "enqueue"), None).await;
    assert!(plain.get("trace_id").is_none(), "{plain}");
    let nonsense = Some("00-00000000000000000000000000000000-0000000000000000-01");
    let (_, odd) = site.post(&runs, &slow(0.0, "enqueue"), nonsense).await;
    assert!(odd.get("trace_id").is_none(), "{odd}");
    // Refusals say it, too; what they say otherwise is the same.
    let body = json!({"assistant_id": "nobody"});
    let (status, refused) = site.post(&runs, &body, Some(PARENT)).await;
    let (same, before) = site.post(&runs, &body, None).await;
    assert_eq!((status, &refused["trace_id"]), (same, &json!(TRACE)));
    assert_eq!(before, json!({"detail": refused["detail"]}));
}
