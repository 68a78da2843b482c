//! Runs that are asked to stop, by a newer run or by somebody, and the ways in which the asking can
//! go astray.

use std::sync::Arc;
use std::time::Duration;

use runloom_bus::LocalNotifier;
use runloom_core::bus::{Signal, SignalReply};
use runloom_core::ids::{ClaimId, ThreadId};
use runloom_core::run::{CancelAction, MultitaskStrategy, RunStatus};
use runloom_core::thread::ThreadStatus;
use runloom_testkit::doubles::{Faults, Faulty, Gate, Step};
use serde_json::json;
use tokio::time::Instant;

use crate::link::Fault;
use crate::support::{Bench, answer, assert_no_overlap, lines, said};

const INTERRUPT: MultitaskStrategy = MultitaskStrategy::Interrupt;
const ROLLBACK: MultitaskStrategy = MultitaskStrategy::Rollback;

/// A graph that calls a tool, gets its result, and is slow to say what it makes of it.
fn slow_agent(gate: &Arc<Gate>) -> Vec<Step> {
    vec![
        Step::Superstep(json!({"role": "ai", "content": "", "id": "asks",
            "tool_calls": [{"name": "search", "args": {}, "id": "call"}]})),
        Step::Superstep(json!({"role": "tool", "content": "sunny", "tool_call_id": "call"})),
        Step::Say {
            message_id: "answers",
            text: "It is ",
        },
        Step::Say {
            message_id: "answers",
            text: "sunny. ",
        },
        Step::Pass(gate.clone()),
        Step::Superstep(json!({"role": "ai", "content": "It is sunny.", "id": "answers"})),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_newer_run_interrupts_keeps_what_was_said_and_starts_at_once() {
    let bench = Bench::new();
    let gate = Gate::new();
    let _worker = bench.scripted(slow_agent(&gate));
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "sf").await;
    gate.reached(1).await;
    let begun = Instant::now();
    let second = bench.submit(thread, "nyc", INTERRUPT).await;
    gate.reached(2).await;
    assert!(
        begun.elapsed() < Duration::from_millis(100),
        "{:?}",
        begun.elapsed()
    );
    let stopped = bench.ended(first).await;
    assert_eq!(stopped.status, RunStatus::Interrupted);
    assert_eq!(stopped.superseded_by, Some(second));
    let kept = lines([
        ("human", "sf"),
        ("ai", ""),
        ("tool", "sunny"),
        ("ai", "It is sunny."),
    ]);
    assert_eq!(said(&stopped.output.unwrap().to_value()), kept);
    let own = stopped.interrupted_output.unwrap().to_value();
    assert_eq!(own[0]["id"], "answers");
    assert_eq!(
        own[0]["additional_kwargs"]["interrupted"]["reason"],
        "superseded"
    );
    assert_eq!(bench.event_names(first)[0], "metadata");
    assert!(
        !bench.event_names(first).contains(&"error".to_owned()),
        "a stop is no failure"
    );

    gate.open();
    assert_eq!(bench.ended(second).await.status, RunStatus::Success);
    let talk = bench.talk(thread).await;
    // The script gives its answers the same ids each time, so the second run's replace the first's.
    assert!(
        talk.contains(&("human".to_owned(), "nyc".to_owned())),
        "{talk:?}"
    );
    assert_eq!(bench.thread(thread).await.status, ThreadStatus::Idle);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_is_there_when_the_thread_is_read_again() {
    let bench = Bench::new();
    let gate = Gate::new();
    let _worker = bench.scripted(slow_agent(&gate));
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "sf").await;
    gate.reached(1).await;
    bench.cancel(thread, id, CancelAction::Interrupt).await;
    let run = bench.ended(id).await;
    assert_eq!(run.status, RunStatus::Interrupted);
    assert_eq!(bench.thread(thread).await.status, ThreadStatus::Interrupted);
    let newest = bench.checkpoints(thread).await.remove(0);
    assert_eq!(
        newest.writes.len(),
        1,
        "it stands beside the head: {:?}",
        newest.writes
    );
    let talk = bench.talk(thread).await;
    assert_eq!(
        talk.last().unwrap(),
        &("ai".to_owned(), "It is sunny.".to_owned())
    );
    let message = &bench.thread(thread).await.values.unwrap().to_value()["messages"][3];
    assert_eq!(
        message["additional_kwargs"]["interrupted"]["reason"],
        "cancelled"
    );
}

#[tokio::test(start_paused = true)]
async fn a_tool_call_without_an_answer_gets_one_after_its_finished_siblings() {
    let bench = Bench::new();
    let gate = Gate::new();
    let call = |id: &str| json!({"name": "search", "args": {}, "id": id});
    let _worker = bench.scripted([
        Step::Superstep(json!({"role": "ai", "content": "", "id": "asks",
            "tool_calls": [call("1"), call("2")]})),
        Step::Write {
            task_id: "two",
            message: json!({"role": "tool", "content": "rain", "tool_call_id": "2"}),
        },
        Step::Pass(gate.clone()),
    ]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "sf").await;
    gate.reached(1).await;
    bench.cancel(thread, id, CancelAction::Interrupt).await;
    bench.ended(id).await;
    let values = bench.thread(thread).await.values.unwrap().to_value();
    let answers: Vec<_> = values["messages"].as_array().unwrap()[2..]
        .iter()
        .map(|message| (message["tool_call_id"].clone(), message["status"].clone()))
        .collect();
    assert_eq!(
        answers,
        [(json!("2"), json!("success")), (json!("1"), json!("error"))]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_signal_costs_a_heartbeat() {
    let inner = Arc::new(LocalNotifier::new());
    let bench = Bench::with_notifier(Arc::new(Faulty::new(inner, Faults::ALL_LOST, 1)));
    let _worker = bench.scripted([answer("so far"), Step::AwaitStop]);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "a").await;
    bench.emitted(first, 2).await;
    let begun = Instant::now();
    bench.submit(thread, "b", INTERRUPT).await;
    assert_eq!(bench.ended(first).await.status, RunStatus::Interrupted);
    // The signal's own wait is part of it.
    assert!(
        begun.elapsed() < Duration::from_millis(3_600),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_signal_for_another_claim_stops_nobody() {
    let bench = Bench::new();
    let gate = Gate::new();
    let _worker = bench.scripted([Step::Pass(gate.clone()), answer("done")]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    let worker = bench.run(id).await.unwrap().worker_id.unwrap();
    let signal = Signal {
        run_id: id,
        claim: ClaimId::new(),
        action: CancelAction::Interrupt,
        trace: None,
    };
    let reply = bench
        .notifier
        .signal(worker, signal, Duration::from_secs(1))
        .await;
    assert_eq!(reply, SignalReply::Unknown);
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.open();
    assert_eq!(bench.ended(id).await.status, RunStatus::Success);
}

#[tokio::test(start_paused = true)]
async fn a_signal_may_overtake_the_answer_to_the_claim() {
    let bench = Bench::new();
    let held = Gate::new();
    let worker = bench.scripted([answer("so far"), Step::AwaitStop]);
    worker.link.plan("claim", [Fault::HoldReply(held.clone())]);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "a").await;
    held.reached(1).await;
    let begun = Instant::now();
    bench.submit(thread, "b", INTERRUPT).await;
    held.open();
    assert_eq!(bench.ended(first).await.status, RunStatus::Interrupted);
    assert!(
        begun.elapsed() < Duration::from_millis(100),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn success_wins_over_a_stop_that_comes_too_late() {
    let bench = Bench::new();
    let gate = Gate::new();
    let _worker = bench.scripted([answer("done"), Step::PassDeaf(gate.clone())]);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    let second = bench.submit(thread, "b", INTERRUPT).await;
    gate.open();
    assert_eq!(bench.ended(first).await.status, RunStatus::Success);
    assert_eq!(bench.ended(second).await.status, RunStatus::Success);
    assert_eq!(bench.talk(thread).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_the_end_of_the_code_and_its_settlement_comes_too_late() {
    let bench = Bench::new();
    let held = Gate::new();
    let worker = bench.scripted([answer("done")]);
    worker.link.plan("settle", [Fault::HoldCall(held.clone())]);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "a").await;
    held.reached(1).await;
    let second = bench.submit(thread, "b", INTERRUPT).await;
    held.open();
    assert_eq!(bench.ended(first).await.status, RunStatus::Success);
    assert_eq!(bench.ended(second).await.status, RunStatus::Success);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_leaves_no_trace_of_the_run() {
    let bench = Bench::new();
    let gate = Gate::new();
    let script = Arc::new(bench.script(slow_agent(&gate)));
    let history = script.history().clone();
    let _worker = bench.worker(script);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "sf").await;
    gate.reached(1).await;
    let second = bench.submit(thread, "nyc", ROLLBACK).await;
    bench.until(first, |run| run.is_none()).await;
    bench.told(first).await;
    gate.open();
    bench.ended(second).await;
    let talk = bench.talk(thread).await;
    assert_eq!(talk.len(), 4);
    assert_eq!(talk[0], ("human".to_owned(), "nyc".to_owned()));
    let checkpoints = bench.checkpoints(thread).await;
    assert!(
        checkpoints
            .iter()
            .all(|tuple| tuple.checkpoint.run_id == Some(second))
    );
    assert_no_overlap(&history);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_outranks_an_interrupt_under_way() {
    let bench = Bench::new();
    let gate = Gate::new();
    let deaf = Step::PassDeaf(gate.clone());
    let _worker = bench.scripted([answer("so far"), deaf, Step::AwaitStop]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    bench.cancel(thread, id, CancelAction::Interrupt).await;
    bench.cancel(thread, id, CancelAction::Rollback).await;
    bench.cancel(thread, id, CancelAction::Interrupt).await;
    assert_eq!(
        bench.running(id).await.status,
        RunStatus::Running,
        "its code still executes"
    );
    gate.open();
    bench.until(id, |run| run.is_none()).await;
    bench.told(id).await;
    assert!(bench.checkpoints(thread).await.is_empty());
    assert_eq!(bench.thread(thread).await.status, ThreadStatus::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_status_becomes_terminal_only_when_the_code_has_stopped() {
    let bench = Bench::new();
    let gate = Gate::new();
    let deaf = Step::PassDeaf(gate.clone());
    let script = Arc::new(bench.script([answer("so far"), deaf, Step::AwaitStop]));
    let history = script.history().clone();
    let _worker = bench.worker(script);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    let second = bench.submit(thread, "b", INTERRUPT).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.run(first).await.unwrap().status, RunStatus::Running);
    assert_eq!(bench.run(second).await.unwrap().status, RunStatus::Pending);
    assert_eq!(history.executions()[0].ended, None);
    gate.open();
    assert_eq!(bench.ended(first).await.status, RunStatus::Interrupted);
}
