//! A database that answers late, wrongly or not at all.

use std::sync::Arc;
use std::time::Duration;

use runloom_core::ids::ThreadId;
use runloom_core::run::{CancelAction, MAX_ATTEMPTS, MultitaskStrategy, RunError, RunStatus};
use runloom_testkit::doubles::{Gate, Step};
use tokio::time::Instant;

use crate::link::Fault;
use crate::support::{Bench, answer, assert_no_overlap, lines};

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_is_lost_is_repeated_not_doubled() {
    let bench = Bench::new();
    let script = Arc::new(bench.script([answer("ok")]));
    let history = script.history().clone();
    let worker = bench.worker(script);
    worker
        .link
        .plan("claim", [Fault::LoseReply, Fault::LoseReply]);
    let id = bench.enqueue(ThreadId::new(), "a").await;
    let run = bench.ended(id).await;
    assert_eq!((run.status, run.attempt), (RunStatus::Success, 1));
    assert_eq!(history.executions().len(), 1);
    assert_eq!(worker.link.left("claim"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_given_up_is_taken_up_again() {
    let bench = Bench::new();
    let script = Arc::new(bench.script([answer("ok")]));
    let history = script.history().clone();
    let worker = bench.worker(script);
    // The worker looks around when it begins; after that a run is claimed once.
    let before = bench.enqueue(ThreadId::new(), "a").await;
    bench.ended(before).await;
    worker.link.plan("claim", vec![Fault::LoseReply; 3]);
    let id = bench.enqueue(ThreadId::new(), "b").await;
    let begun = Instant::now();
    let run = bench.ended(id).await;
    assert_eq!((run.status, run.attempt), (RunStatus::Success, 1));
    assert_eq!(worker.link.left("claim"), 0);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "sooner than the lease ends"
    );
    assert_eq!(history.executions().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_whose_answer_is_lost_is_repeated_and_its_next_run_carried_out() {
    let bench = Bench::new();
    let gate = Gate::new();
    let script = Arc::new(bench.script([Step::Pass(gate.clone()), answer("ok")]));
    let history = script.history().clone();
    let worker = bench.worker(script);
    worker.link.plan("settle", vec![Fault::LoseReply; 4]);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "a").await;
    let second = bench.enqueue(thread, "b").await;
    gate.open();
    let begun = Instant::now();
    assert_eq!(bench.ended(first).await.status, RunStatus::Success);
    assert_eq!(bench.ended(second).await.status, RunStatus::Success);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "the next run is at hand, not found by a renewal"
    );
    assert_eq!(history.executions().len(), 2);
    assert_no_overlap(&history);
    assert_eq!((bench.log.ends(first), bench.log.ends(second)), (1, 1));
    assert_eq!(bench.talk(thread).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_when_storage_comes_back_in_time() {
    let bench = Bench::new();
    let worker = bench.scripted([answer("one"), answer("two")]);
    worker.link.plan("put_checkpoints", vec![Fault::Refuse; 5]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    let run = bench.ended(id).await;
    assert_eq!((run.status, run.attempt), (RunStatus::Success, 1));
    assert_eq!(bench.talk(thread).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_written_once() {
    let bench = Bench::new();
    let worker = bench.scripted([answer("one"), answer("two")]);
    worker
        .link
        .plan("put_checkpoints", vec![Fault::LoseReply; 2]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    assert_eq!(bench.ended(id).await.status, RunStatus::Success);
    assert_eq!(bench.checkpoints(thread).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn storage_that_fails_during_a_stop_loses_nothing_that_was_said() {
    let bench = Bench::new();
    let gate = Gate::new();
    let say = Step::Say {
        message_id: "m",
        text: "half an",
    };
    let pass = Step::Pass(gate.clone());
    let worker = bench.scripted([answer("so far"), say, pass, answer("half an answer")]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    worker.link.cut(true);
    bench.cancel(thread, id, CancelAction::Interrupt).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.run(id).await.unwrap().status, RunStatus::Running);
    assert_eq!(bench.log.ends(id), 0);
    worker.link.cut(false);
    assert_eq!(bench.ended(id).await.status, RunStatus::Interrupted);
    let expected = lines([("human", "a"), ("ai", "so far"), ("ai", "half an")]);
    assert_eq!(bench.talk(thread).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_the_database_refuses_fails_the_run_and_frees_the_thread() {
    let bench = Bench::new();
    let worker = bench.scripted([answer("ok")]);
    worker.link.plan("settle", [Fault::Break]);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "a").await;
    let second = bench.enqueue(thread, "b").await;
    let run = bench.ended(first).await;
    assert_eq!(run.status, RunStatus::Error);
    assert_eq!(run.error.unwrap().error, "DatabaseError");
    assert_eq!(bench.ended(second).await.status, RunStatus::Success);
}

#[tokio::test(start_paused = true)]
async fn a_fault_around_the_graph_is_tried_again_ever_later_and_not_for_ever() {
    let bench = Bench::new();
    let error = RunError::new("Network", "gone");
    let script = Arc::new(bench.script([answer("so far"), Step::Retry(error.clone())]));
    let history = script.history().clone();
    let _worker = bench.worker(script);
    let thread = ThreadId::new();
    let begun = Instant::now();
    let id = bench.enqueue(thread, "a").await;
    let run = bench.ended(id).await;
    assert_eq!((run.status, run.error), (RunStatus::Error, Some(error)));
    assert_eq!(run.attempt, MAX_ATTEMPTS);
    assert_eq!(history.executions().len(), MAX_ATTEMPTS as usize);
    assert!(
        begun.elapsed() >= Duration::from_secs(3),
        "a second, then two"
    );
    let names = bench.event_names(id);
    assert_eq!(
        names,
        ["metadata", "values", "metadata", "metadata", "error"]
    );
    let events = bench.log.events(id);
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].id.millis <= pair[1].id.millis)
    );
    assert!(events[0].epoch < events[2].epoch && events[2].epoch < events[3].epoch);
    assert_eq!(
        bench.log.ends(id),
        1,
        "only the last attempt ends the stream"
    );
    assert_eq!(bench.talk(thread).await.len(), 0, "no head was known");
}

#[tokio::test(start_paused = true)]
async fn other_threads_go_on_while_one_waits_for_its_next_attempt() {
    let bench = Bench::new();
    let retry = Step::Retry(RunError::new("Network", "gone"));
    let script = bench.script([retry]).with("other", [answer("ok")]);
    let _worker = bench.worker(Arc::new(script));
    let stuck = bench.enqueue(ThreadId::new(), "a").await;
    let mut new = crate::support::new_run(ThreadId::new(), "b", MultitaskStrategy::Enqueue);
    new.assistant.graph_id = "other".into();
    let begun = Instant::now();
    let (other, effects) = bench.submit_new(new).await;
    effects.carry_out(&*bench.notifier, &*bench.log).await;
    bench.ended(other).await;
    assert!(begun.elapsed() < Duration::from_millis(500));
    assert!(!bench.run(stuck).await.unwrap().status.is_terminal());
}
