//! Code that does not stop as it should.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures::FutureExt;
use runloom_core::checkpoint::RESIDUE_PATH;
use runloom_core::database::Checkpoints;
use runloom_core::executor::{Emission, Ended, Executor, Host, HostError, Outcome, Work};
use runloom_core::ids::ThreadId;
use runloom_core::json::Json;
use runloom_core::projection::to_json;
use runloom_core::run::{CancelAction, MultitaskStrategy, RunStatus};
use runloom_testkit::doubles::{Gate, Step};
use runloom_worker::Config;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::odd::Odd;
use crate::support::{Bench, answer, lines};

const INTERRUPT: MultitaskStrategy = MultitaskStrategy::Interrupt;

#[tokio::test(start_paused = true)]
async fn an_error_after_a_stop_is_the_stop() {
    let bench = Bench::new();
    let _worker = bench.scripted([answer("so far"), Step::FailOnStop]);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "a").await;
    bench.emitted(first, 2).await;
    bench.cancel(thread, first, CancelAction::Interrupt).await;
    let run = bench.ended(first).await;
    assert_eq!((run.status, run.error), (RunStatus::Interrupted, None));
    assert!(!bench.event_names(first).contains(&"error".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_panic_after_a_stop_is_the_stop() {
    let bench = Bench::new();
    let panicking = Odd::new(bench.script([]), |_, attempt, _| {
        async move {
            let mut stop = attempt.stop.clone();
            let _ = stop.wait_for(Option::is_some).await;
            panic!("out of sorts")
        }
        .boxed()
    });
    let _worker = bench.worker(panicking);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    bench.running(id).await;
    bench.cancel(thread, id, CancelAction::Rollback).await;
    bench.until(id, |run| run.is_none()).await;
    bench.told(id).await;
}

#[tokio::test(start_paused = true)]
async fn code_that_ignores_the_stop_is_left_behind_and_what_it_said_is_kept() {
    let bench = Bench::new();
    let gate = Gate::new();
    let say = Step::Say {
        message_id: "m",
        text: "half an",
    };
    let script = [answer("so far"), say, Step::PassDeaf(gate.clone())];
    let script = Arc::new(bench.script(script));
    let history = script.history().clone();
    let _worker = bench.worker(script);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    let begun = Instant::now();
    bench.cancel(thread, first, CancelAction::Interrupt).await;
    let run = bench.ended(first).await;
    assert_eq!(run.status, RunStatus::Interrupted);
    let took = begun.elapsed();
    assert!(
        (12..13).contains(&took.as_secs()),
        "its grace and a little: {took:?}"
    );
    assert!(history.executions()[0].ended.is_some(), "it was dropped");
    let expected = lines([("human", "a"), ("ai", "so far"), ("ai", "half an")]);
    assert_eq!(bench.talk(thread).await, expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_is_kept_even_if_nobody_can_say_where_the_graph_stands() {
    let bench = Bench::new();
    let gate = Gate::new();
    let say = Step::Say {
        message_id: "m",
        text: "half an",
    };
    let script = bench.script([answer("so far"), say, Step::PassDeaf(gate.clone())]);
    let odd = Odd::new(script, |inner, attempt, host| {
        async move { inner.execute(attempt, host).await }.boxed()
    });
    let _worker = bench.worker(odd.clone());
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    odd.answer_questions(false);
    bench.cancel(thread, id, CancelAction::Interrupt).await;
    let run = bench.ended(id).await;
    assert_eq!(run.status, RunStatus::Interrupted);
    let said = run.interrupted_output.unwrap().to_value();
    assert_eq!(said[0]["content"], "half an");
    let head = bench
        .memory
        .checkpoint(thread, "", None)
        .await
        .unwrap()
        .unwrap();
    let kept = head
        .writes
        .iter()
        .filter(|write| write.task_path == RESIDUE_PATH);
    let kept: Vec<_> = kept.map(|write| to_json(&write.blob).unwrap()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0][0]["content"], "half an");
}

#[tokio::test(start_paused = true)]
async fn code_that_lives_on_after_its_end_reaches_nothing() {
    let bench = Bench::new();
    let (sender, leaked) = oneshot::channel();
    let sender = Arc::new(Mutex::new(Some(sender)));
    let leaking = Odd::new(bench.script([]), move |_, _, host| {
        if let Some(sender) = sender.lock().unwrap().take() {
            let _ = sender.send(host);
        }
        let ended = Ended::Success;
        async { Outcome { ended, head: None } }.boxed()
    });
    let _worker = bench.worker(leaking);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    let host: Arc<dyn Host> = leaked.await.unwrap();
    bench.ended(id).await;
    let events = bench.log.events(id).len();
    let namespace = ["n".to_owned()];
    let item = Json::from_value(&json!({}));
    let put = host.items().put_item(&namespace, "k", item).await;
    assert!(put.is_err());
    let read = host.checkpoint("", None).await;
    assert!(matches!(read, Err(HostError::Fenced)));
    let emission = Emission {
        event: "custom",
        ns: Vec::new(),
        data: "1".into(),
        said: None,
    };
    host.emit(vec![emission]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.log.events(id).len(), events);
}

/// Real time and real threads: blocking code cannot be simulated.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn code_that_blocks_its_thread_does_not_hold_up_the_stop() {
    let bench = Bench::new();
    let (release, blocked) = mpsc::channel::<()>();
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let blocked = Arc::new(Mutex::new(blocked));
    let blocking = Odd::new(bench.script([answer("ok")]), move |inner, attempt, host| {
        let (blocked, begun) = (blocked.clone(), begun.clone());
        async move {
            let input = attempt.kwargs.input.clone().unwrap();
            if attempt.work == Work::Run && input.as_str().contains("block") {
                begun.send(()).unwrap();
                // Returns when the test lets go of the other end.
                let _ = blocked.lock().unwrap().recv();
            }
            inner.execute(attempt, host).await
        }
        .boxed()
    });
    let config = Config {
        grace: Duration::ZERO,
        ..Config::default()
    };
    let _worker = bench.worker_with(blocking, config);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "block").await;
    begins.recv().await.unwrap();
    let second = bench.submit(thread, "next", INTERRUPT).await;
    assert_eq!(bench.ended(first).await.status, RunStatus::Interrupted);
    assert_eq!(bench.ended(second).await.status, RunStatus::Success);
    let before = bench.checkpoints(thread).await;
    drop(release);
    let other = bench.enqueue(thread, "after").await;
    bench.ended(other).await;
    assert_eq!(
        bench.checkpoints(thread).await.len(),
        before.len() + 2,
        "only the last run wrote"
    );
    let expected = lines([
        ("human", "block"),
        ("human", "next"),
        ("ai", "ok"),
        ("human", "after"),
        ("ai", "ok"),
    ]);
    assert_eq!(bench.talk(thread).await, expected);
}
