//! Runs that are interrupted while no worker holds them: what they brought is not lost.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use runloom_core::executor::{Ended, Executor, Outcome, Work};
use runloom_core::ids::ThreadId;
use runloom_core::partial::PartialPolicy;
use runloom_core::run::{CancelAction, MultitaskStrategy, RunError, RunStatus};
use runloom_testkit::doubles::{Gate, Step};
use serde_json::json;
use tokio::time::Instant;

use crate::link::Fault;
use crate::odd::Odd;
use crate::support::{Bench, answer, assert_no_overlap, lines, new_run};

const INTERRUPT: MultitaskStrategy = MultitaskStrategy::Interrupt;

#[tokio::test(start_paused = true)]
async fn a_burst_of_interrupts_keeps_every_input_in_order() {
    let bench = Bench::new();
    let script = [
        Step::Work(Duration::from_millis(300)),
        answer("all answered"),
    ];
    let script = Arc::new(bench.script(script));
    let history = script.history().clone();
    let _worker = bench.worker(script);
    let thread = ThreadId::new();
    let mut ids = Vec::new();
    for text in ["1", "2", "3", "4", "5", "6"] {
        ids.push(bench.submit(thread, text, INTERRUPT).await);
    }
    bench.ended(ids[5]).await;
    let mut statuses = [RunStatus::Interrupted; 6];
    statuses[5] = RunStatus::Success;
    assert_eq!(bench.statuses(thread).await, statuses);
    let expected = lines([
        ("human", "1"),
        ("human", "2"),
        ("human", "3"),
        ("human", "4"),
        ("human", "5"),
        ("human", "6"),
        ("ai", "all answered"),
    ]);
    assert_eq!(bench.talk(thread).await, expected);
    assert_no_overlap(&history);
    for id in &ids[..5] {
        bench.told(*id).await;
        assert_eq!(bench.log.ends(*id), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_keeps_no_input_that_is_to_be_dropped() {
    let bench = Bench::new();
    let gate = Gate::new();
    let _worker = bench.scripted([Step::Pass(gate.clone()), answer("ok")]);
    let thread = ThreadId::new();
    bench.enqueue(thread, "1").await;
    gate.reached(1).await;
    let mut ids = Vec::new();
    for text in ["2", "3"] {
        let mut new = new_run(thread, text, INTERRUPT);
        new.policy = PartialPolicy::STRICT;
        let (id, effects) = bench.submit_new(new).await;
        // The signal waits, so that both are superseded before anything moves.
        ids.push((id, effects));
    }
    let last = ids[1].0;
    for (_, effects) in ids {
        effects.carry_out(&*bench.notifier, &*bench.log).await;
    }
    gate.open();
    bench.ended(last).await;
    let expected = lines([("human", "1"), ("human", "3"), ("ai", "ok")]);
    assert_eq!(bench.talk(thread).await, expected);
}

#[tokio::test(start_paused = true)]
async fn an_input_is_kept_even_if_the_stop_came_before_it_was_stored() {
    let bench = Bench::new();
    let hasty = Odd::new(bench.script([answer("ok")]), |inner, attempt, host| {
        async move {
            let mut stop = attempt.stop.clone();
            let text = attempt
                .kwargs
                .input
                .as_ref()
                .map(|input| input.as_str().to_owned());
            if attempt.work == Work::Run && text.is_some_and(|text| text.contains("first")) {
                // Stops before it has done anything at all.
                let _ = stop.wait_for(Option::is_some).await;
                return Outcome {
                    ended: Ended::Stopped,
                    head: None,
                };
            }
            inner.execute(attempt, host).await
        }
        .boxed()
    });
    let _worker = bench.worker(hasty);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "first").await;
    bench.running(first).await;
    let second = bench.submit(thread, "second", INTERRUPT).await;
    assert_eq!(bench.ended(first).await.status, RunStatus::Interrupted);
    bench.ended(second).await;
    let expected = lines([("human", "first"), ("human", "second"), ("ai", "ok")]);
    assert_eq!(bench.talk(thread).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_run_cancelled_between_two_attempts_ends_and_leaves_the_thread_in_order() {
    let bench = Bench::new();
    let call = json!({"name": "search", "args": {}, "id": "call"});
    let _worker = bench.scripted([
        Step::Superstep(json!({"role": "ai", "content": "", "tool_calls": [call]})),
        Step::Retry(RunError::new("Network", "gone")),
    ]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    let waits = bench.until(id, |run| {
        let run = run.unwrap();
        run.status == RunStatus::Pending && run.attempt == 1
    });
    waits.await;
    let begun = Instant::now();
    bench.cancel(thread, id, CancelAction::Interrupt).await;
    let run = bench.ended(id).await;
    assert_eq!(run.status, RunStatus::Interrupted);
    assert!(
        begun.elapsed() < Duration::from_millis(100),
        "it does not wait for the retry"
    );
    let values = bench.thread(thread).await.values.unwrap().to_value();
    let last = values["messages"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        (&last["type"], &last["status"]),
        (&json!("tool"), &json!("error"))
    );
    assert_eq!(bench.talk(thread).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_visit_that_meets_a_fault_is_made_again() {
    let bench = Bench::new();
    let gate = Gate::new();
    let worker = bench.scripted([answer("one"), Step::Pass(gate.clone()), answer("two")]);
    let thread = ThreadId::new();
    bench.enqueue(thread, "1").await;
    gate.reached(1).await;
    let second = bench
        .submit_silently(thread, "2", MultitaskStrategy::Enqueue)
        .await;
    let third = bench.submit_silently(thread, "3", INTERRUPT).await;
    worker.link.plan("put_checkpoints", [Fault::Break]);
    third.1.carry_out(&*bench.notifier, &*bench.log).await;
    assert_eq!(bench.ended(second.0).await.status, RunStatus::Interrupted);
    assert_eq!(worker.link.left("put_checkpoints"), 0);
    gate.open();
    bench.ended(third.0).await;
    let talk = bench.talk(thread).await;
    let human = talk
        .iter()
        .filter(|(who, _)| who == "human")
        .map(|(_, what)| what.as_str());
    assert_eq!(human.collect::<Vec<_>>(), ["1", "2", "3"]);
}
