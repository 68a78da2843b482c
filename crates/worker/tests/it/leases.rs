//! Workers that lose their lease: paused, cut off, or gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use runloom_core::executor::Emission;
use runloom_core::ids::ThreadId;
use runloom_core::run::{CancelAction, MultitaskStrategy, RunStatus};
use runloom_testkit::doubles::{Gate, Step};
use runloom_testkit::history::History;
use runloom_worker::{Config, Monotonic, Simulated};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::link::Fault;
use crate::odd::{Odd, writers};
use crate::support::{Bench, answer, assert_no_overlap, lines};

/// The clock of a worker that is paused without noticing: the worst moment to go on is just before
/// it looks at its clock.
struct Pausable {
    inner: Simulated,
    paused: AtomicBool,
}

impl Pausable {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Simulated::new(),
            paused: AtomicBool::new(false),
        })
    }
}

impl Monotonic for Pausable {
    fn elapsed(&self) -> Duration {
        if self.paused.load(Ordering::SeqCst) {
            return Duration::ZERO;
        }
        self.inner.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_paused_past_its_lease_changes_nothing_more() {
    let bench = Bench::new();
    let (held, finishing) = (Gate::new(), Gate::new());
    let clock = Pausable::new();
    let script = [
        answer("one"),
        Step::PassDeaf(held.clone()),
        answer("stale"),
        Step::Emit(serde_json::json!("stale")),
    ];
    let stale = bench.worker_at(
        Arc::new(bench.script(script)),
        Config::default(),
        clock.clone(),
    );
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    held.reached(1).await;
    // Nothing of it reaches the database, and it does not see the time pass.
    clock.paused.store(true, Ordering::SeqCst);
    stale.link.cut(true);
    let script = [
        answer("one"),
        Step::PassDeaf(finishing.clone()),
        answer("two"),
    ];
    let _fresh = bench.scripted(script);
    finishing.reached(1).await;
    assert_eq!(bench.run(id).await.unwrap().attempt, 2);

    stale.link.cut(false);
    held.open();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let run = bench.run(id).await.unwrap();
    assert_eq!(
        (run.status, run.attempt),
        (RunStatus::Running, 2),
        "nothing terminal is a lie"
    );
    assert_eq!(bench.log.ends(id), 0);
    finishing.open();
    assert_eq!(bench.ended(id).await.status, RunStatus::Success);
    let expected = lines([("human", "a"), ("ai", "one"), ("ai", "two")]);
    assert_eq!(bench.talk(thread).await, expected);
    let written = writers(&bench.checkpoints(thread).await);
    assert_eq!(written, [(Some(id), 1), (Some(id), 1), (Some(id), 2)]);
    let stale_events = bench.log.events(id);
    assert!(stale_events.iter().all(|event| event.data != "\"stale\""));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_cut_off_stops_before_anybody_else_begins() {
    let bench = Bench::new();
    let history = Arc::new(History::default());
    let gate = Gate::new();
    let first = bench.script([answer("one"), Step::Pass(gate.clone()), answer("two")]);
    let cut = bench.worker(Arc::new(first.recording(history.clone())));
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    cut.link.cut(true);
    let second = bench.script([answer("one"), answer("two")]);
    let _other = bench.worker(Arc::new(second.recording(history.clone())));
    let run = bench.ended(id).await;
    assert_eq!((run.status, run.attempt), (RunStatus::Success, 2));
    assert_eq!(history.executions().len(), 2);
    assert_no_overlap(&history);
    let expected = lines([("human", "a"), ("ai", "one"), ("ai", "two")]);
    assert_eq!(
        bench.talk(thread).await,
        expected,
        "resumed, without a second input"
    );
    assert_eq!(
        bench
            .event_names(id)
            .iter()
            .filter(|name| *name == "metadata")
            .count(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn code_that_goes_on_after_the_lease_says_nothing_more() {
    let bench = Bench::new();
    let gate = Gate::new();
    let (held, said) = (gate.clone(), Arc::new(Notify::new()));
    let told = said.clone();
    let speaking = Odd::new(bench.script([]), move |_, _, host| {
        let (held, told) = (held.clone(), told.clone());
        async move {
            held.pass().await;
            let emission = Emission {
                event: "custom",
                ns: Vec::new(),
                data: "\"stale\"".into(),
                said: None,
            };
            host.emit(vec![emission]).await;
            told.notify_one();
            std::future::pending().await
        }
        .boxed()
    });
    let worker = bench.worker(speaking);
    let id = bench.enqueue(ThreadId::new(), "a").await;
    gate.reached(1).await;
    worker.link.cut(true);
    tokio::time::sleep(Duration::from_millis(9_500)).await;
    gate.open();
    said.notified().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.event_names(id), ["metadata"]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_lease_was_taken_begins_anew() {
    let bench = Bench::new();
    let gate = Gate::new();
    let config = Config {
        slots: 1,
        ..Config::default()
    };
    let script = [Step::Pass(gate.clone()), answer("ok")];
    let cut = bench.worker_with(Arc::new(bench.script(script)), config);
    let other = bench.scripted([Step::Pass(gate.clone()), answer("ok")]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    let before = bench.run(id).await.unwrap().worker_id.unwrap();
    // Whichever of them has it loses the database; the other takes over.
    cut.link.cut(true);
    tokio::time::sleep(Duration::from_secs(30)).await;
    cut.link.cut(false);
    tokio::time::sleep(Duration::from_secs(10)).await;
    other.stop().await;
    gate.open();
    assert_eq!(bench.ended(id).await.status, RunStatus::Success);
    let next = bench.enqueue(thread, "b").await;
    let run = bench.ended(next).await;
    assert_eq!(run.status, RunStatus::Success);
    assert_eq!(bench.statuses(thread).await, [RunStatus::Success; 2]);
    assert_ne!(Some(before), run.worker_id);
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_lease_disturbs_nobody() {
    let bench = Bench::new();
    let gate = Gate::new();
    let worker = bench.scripted([Step::Pass(gate.clone()), answer("ok")]);
    let id = bench.enqueue(ThreadId::new(), "a").await;
    gate.reached(1).await;
    worker.link.cut(true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    worker.link.cut(false);
    tokio::time::sleep(Duration::from_secs(30)).await;
    gate.open();
    let run = bench.ended(id).await;
    assert_eq!((run.status, run.attempt), (RunStatus::Success, 1));
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_nobody_used_gives_the_run_back() {
    // No other worker sweeps, so the lease that ran out can still be renewed.
    let bench = Bench::new();
    let gate = Gate::new();
    let worker = bench.scripted([answer("one"), Step::Pass(gate.clone()), answer("two")]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    worker.link.cut(true);
    tokio::time::sleep(Duration::from_secs(15)).await;
    gate.open();
    worker.link.cut(false);
    let run = bench.ended(id).await;
    assert_eq!((run.status, run.attempt), (RunStatus::Success, 2));
    let expected = lines([("human", "a"), ("ai", "one"), ("ai", "two")]);
    assert_eq!(bench.talk(thread).await, expected);
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_outlives_the_worker_that_was_to_obey() {
    let bench = Bench::new();
    let gate = Gate::new();
    let lost = bench.scripted([answer("one"), Step::PassDeaf(gate.clone())]);
    let thread = ThreadId::new();
    let first = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    lost.link.cut(true);
    let _other = bench.scripted([answer("two")]);
    let begun = Instant::now();
    let second = bench
        .submit(thread, "b", MultitaskStrategy::Interrupt)
        .await;
    assert_eq!(bench.ended(first).await.status, RunStatus::Interrupted);
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(bench.ended(second).await.status, RunStatus::Success);
    let expected = lines([("human", "a"), ("ai", "one"), ("human", "b"), ("ai", "two")]);
    assert_eq!(bench.talk(thread).await, expected);
    bench.cancel(thread, first, CancelAction::Rollback).await;
    assert_eq!(
        bench.run(first).await.unwrap().status,
        RunStatus::Interrupted
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_said_by_an_attempt_that_lost_its_lease_is_not_kept() {
    let bench = Bench::new();
    let gate = Gate::new();
    let say = Step::Say {
        message_id: "m",
        text: "half an",
    };
    let worker = bench.scripted([answer("so far"), say, Step::PassDeaf(gate.clone())]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    // Its lease runs out before the code is left behind. Renewals alone are lost, so its settlement is
    // accepted all the same; but what it says may answer what was never stored.
    worker.link.plan("renew", vec![Fault::Refuse; 28]);
    bench.cancel(thread, id, CancelAction::Interrupt).await;
    let run = bench.ended(id).await;
    assert_eq!((run.status, run.attempt), (RunStatus::Interrupted, 1));
    let expected = lines([("human", "a"), ("ai", "so far")]);
    assert_eq!(bench.talk(thread).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ran_out_locally_claims_nothing_until_it_is_renewed() {
    let bench = Bench::new();
    let gate = Gate::new();
    let script = Arc::new(bench.script([Step::Pass(gate.clone()), answer("ok")]));
    let history = script.history().clone();
    let worker = bench.worker(script);
    let id = bench.enqueue(ThreadId::new(), "a").await;
    gate.reached(1).await;
    // Renewals alone are lost, and not so long that the database would take the lease: everything
    // else would still be accepted.
    worker.link.plan("renew", vec![Fault::Refuse; 28]);
    let run = bench
        .until(id, |run| run.unwrap().attempt > 1)
        .await
        .unwrap();
    assert_eq!(run.attempt, 2);
    assert!(
        worker.link.left("renew") == 0,
        "not before a renewal succeeded"
    );
    gate.open();
    assert_eq!(bench.ended(id).await.attempt, 2);
    assert_eq!(history.executions().len(), 2);
}
