//! A run from its claim to its end, when nothing goes wrong around it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use runloom_bus::LocalNotifier;
use runloom_core::ids::ThreadId;
use runloom_core::run::{MultitaskStrategy, RunError, RunStatus};
use runloom_core::thread::ThreadStatus;
use runloom_testkit::doubles::{Faults, Faulty, Gate, Step};
use runloom_worker::Config;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Bench, answer, assert_no_overlap, lines, new_run, said};

#[tokio::test(start_paused = true)]
async fn a_run_leaves_values_an_answer_and_numbered_events() {
    let bench = Bench::new();
    let _worker = bench.scripted([Step::Emit(json!(1)), answer("hello")]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "hi").await;
    let run = bench.ended(id).await;
    assert_eq!((run.status, run.attempt), (RunStatus::Success, 1));
    let expected = lines([("human", "hi"), ("ai", "hello")]);
    assert_eq!(bench.talk(thread).await, expected);
    assert_eq!(said(&run.output.unwrap().to_value()), expected);
    assert_eq!(bench.thread(thread).await.status, ThreadStatus::Idle);

    assert_eq!(bench.event_names(id), ["metadata", "custom", "values"]);
    let events = bench.log.events(id);
    let first: Value = serde_json::from_slice(&events[0].data).unwrap();
    assert_eq!(first, json!({"run_id": id.to_string(), "attempt": 1}));
    let numbers: Vec<_> = events.iter().map(|event| event.id.number).collect();
    assert_eq!(numbers, [0, 1, 2]);
    let claimed = u64::try_from(run.created_at.timestamp_millis()).unwrap();
    assert!(
        events
            .iter()
            .all(|event| event.id.millis >= claimed && event.epoch > 0)
    );
    assert_eq!(bench.log.ends(id), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_says_why_before_its_stream_ends() {
    let bench = Bench::new();
    let error = RunError::new("ValueError", "kaboom");
    let _worker = bench.scripted([answer("so far"), Step::Fail(error.clone())]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "hi").await;
    let run = bench.ended(id).await;
    assert_eq!((run.status, run.error), (RunStatus::Error, Some(error)));
    assert_eq!(run.output, None);
    assert_eq!(bench.event_names(id), ["metadata", "values", "error"]);
    let last: Value = serde_json::from_slice(&bench.log.events(id)[2].data).unwrap();
    assert_eq!(last, json!({"error": "ValueError", "message": "kaboom"}));
    assert_eq!(bench.log.events(id)[2].id.number, 2);
    assert_eq!(bench.thread(thread).await.status, ThreadStatus::Error);
    assert_eq!(bench.talk(thread).await.len(), 2, "what was finished stays");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_a_human_succeeds_and_says_what_it_asks() {
    let bench = Bench::new();
    let _worker = bench.scripted([answer("sure?"), Step::Pause]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "hi").await;
    let run = bench.ended(id).await;
    assert_eq!(run.status, RunStatus::Success);
    let output = run.output.unwrap().to_value();
    assert_eq!(
        output["__interrupt__"],
        json!([{"value": "paused", "id": "pause"}])
    );
    assert_eq!(output["messages"].as_array().unwrap().len(), 2);
    let thread = bench.thread(thread).await;
    assert!(
        thread
            .values
            .unwrap()
            .to_value()
            .get("__interrupt__")
            .is_none()
    );
    assert_eq!(thread.interrupts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_graph_that_is_not_served_fails_the_run_and_nothing_else() {
    let bench = Bench::new();
    let _worker = bench.scripted([answer("hello")]);
    let mut lost = new_run(ThreadId::new(), "hi", MultitaskStrategy::Enqueue);
    lost.assistant.graph_id = "elsewhere".into();
    let (id, effects) = bench.submit_new(lost).await;
    effects.carry_out(&*bench.notifier, &*bench.log).await;
    let error = bench.ended(id).await.error.unwrap();
    assert_eq!(error.error, "UnknownGraph");
    assert!(error.message.contains("elsewhere"), "{error:?}");
    let other = bench.enqueue(ThreadId::new(), "hi").await;
    assert_eq!(bench.ended(other).await.status, RunStatus::Success);
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_the_run_and_nothing_else() {
    let bench = Bench::new();
    let config = Config {
        slots: 1,
        ..Config::default()
    };
    let script = bench.script([answer("so far"), Step::Panic("boom")]);
    let script = script.with("other", [answer("hello")]);
    let _worker = bench.worker_with(Arc::new(script), config);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "hi").await;
    let run = bench.ended(id).await;
    assert_eq!(run.status, RunStatus::Error);
    let error = run.error.unwrap();
    assert_eq!(error.error, "Panic");
    assert!(error.message.contains("boom"), "{error:?}");
    assert_eq!(
        bench.talk(thread).await,
        lines([("human", "hi"), ("ai", "so far")])
    );

    let mut other = new_run(thread, "again", MultitaskStrategy::Enqueue);
    other.assistant.graph_id = "other".into();
    let (other, effects) = bench.submit_new(other).await;
    effects.carry_out(&*bench.notifier, &*bench.log).await;
    assert_eq!(bench.ended(other).await.status, RunStatus::Success);
}

#[tokio::test(start_paused = true)]
async fn runs_of_a_thread_are_carried_out_in_order_whoever_takes_turns() {
    for max_consecutive in [1, 2, 16] {
        let bench = Bench::new();
        let config = Config {
            max_consecutive,
            ..Config::default()
        };
        let step = Step::Work(Duration::from_millis(5));
        let script = Arc::new(bench.script([step, answer("ok")]));
        let history = script.history().clone();
        let _one = bench.worker_with(script.clone(), config.clone());
        let _two = bench.worker_with(script, config);
        let thread = ThreadId::new();
        let mut ids = Vec::new();
        for number in 0..6 {
            ids.push(bench.enqueue(thread, &number.to_string()).await);
        }
        bench.ended(ids[5]).await;
        let executions = history.executions();
        let order: Vec<_> = executions
            .iter()
            .map(|execution| execution.run_id)
            .collect();
        assert_eq!(order, ids);
        assert_no_overlap(&history);
        let talk = bench.talk(thread).await;
        let human = talk
            .iter()
            .filter(|(who, _)| who == "human")
            .map(|(_, what)| what.as_str());
        assert_eq!(human.collect::<Vec<_>>(), ["0", "1", "2", "3", "4", "5"]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_runs_than_slots_are_executed_at_once() {
    let bench = Bench::new();
    let gate = Gate::new();
    let config = Config {
        slots: 3,
        ..Config::default()
    };
    let script = Arc::new(bench.script([Step::Pass(gate.clone()), answer("ok")]));
    let history = script.history().clone();
    let _worker = bench.worker_with(script, config);
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(bench.enqueue(ThreadId::new(), "hi").await);
    }
    gate.reached(3).await;
    // Long enough for every other way in which a run could be found.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(history.executions().len(), 3);
    gate.open();
    for id in ids {
        assert_eq!(bench.ended(id).await.status, RunStatus::Success);
    }
}

#[tokio::test(start_paused = true)]
async fn runs_that_nobody_was_told_of_are_found() {
    let inner = Arc::new(LocalNotifier::new());
    let bench = Bench::with_notifier(Arc::new(Faulty::new(inner, Faults::ALL_LOST, 1)));
    for slots in [1, 8] {
        let config = Config {
            slots,
            ..Config::default()
        };
        let worker = bench.worker_with(Arc::new(bench.script([answer("ok")])), config);
        let id = bench.enqueue(ThreadId::new(), "hi").await;
        let begun = Instant::now();
        assert_eq!(bench.ended(id).await.status, RunStatus::Success);
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waited_before_the_worker_came_starts_at_once() {
    let bench = Bench::new();
    let thread = ThreadId::new();
    let (id, _untold) = bench
        .submit_silently(thread, "hi", MultitaskStrategy::Enqueue)
        .await;
    let begun = Instant::now();
    let _worker = bench.scripted([answer("ok")]);
    bench.ended(id).await;
    assert!(
        begun.elapsed() < Duration::from_millis(100),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_delayed_run_starts_when_it_is_due() {
    let bench = Bench::new();
    let _worker = bench.scripted([answer("ok")]);
    let mut new = new_run(ThreadId::new(), "hi", MultitaskStrategy::Enqueue);
    new.delay = TimeDelta::seconds(30);
    let (id, effects) = bench.submit_new(new).await;
    effects.carry_out(&*bench.notifier, &*bench.log).await;
    let begun = Instant::now();
    bench.ended(id).await;
    let waited = begun.elapsed().as_secs();
    assert!((30..34).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_takes_no_events_does_not_stop_a_run() {
    let bench = Bench::new();
    let emit = Step::Emit(json!(1));
    let config = Config {
        event_buffer: 2,
        ..Config::default()
    };
    let script = bench.script([emit.clone(), emit.clone(), emit.clone(), emit, answer("ok")]);
    let _worker = bench.worker_with(Arc::new(script), config);
    bench.log.refuse(true);
    let id = bench.enqueue(ThreadId::new(), "hi").await;
    assert_eq!(bench.ended(id).await.status, RunStatus::Success);
}
