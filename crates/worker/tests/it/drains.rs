//! Workers that shut down, and runs that take too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;
use runloom_core::executor::{Ended, Executor, Outcome};
use runloom_core::ids::ThreadId;
use runloom_core::run::{CancelAction, MAX_ATTEMPTS, MultitaskStrategy, RunStatus};
use runloom_core::thread::ThreadStatus;
use runloom_testkit::doubles::{Gate, Step};
use runloom_testkit::history::History;
use runloom_worker::Config;
use tokio::time::Instant;

use crate::odd::Odd;
use crate::support::{Bench, answer, assert_no_overlap, lines};

#[tokio::test(start_paused = true)]
async fn a_worker_that_shuts_down_hands_its_runs_back_between_supersteps() {
    let bench = Bench::new();
    let history = Arc::new(History::default());
    let gate = Gate::new();
    let first = bench.script([Step::Pass(gate.clone()), answer("one"), answer("two")]);
    let leaving = bench.worker(Arc::new(first.recording(history.clone())));
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    let stopping = leaving.stop();
    tokio::pin!(stopping);
    assert!(futures::poll!(&mut stopping).is_pending());
    tokio::task::yield_now().await;
    gate.open();
    stopping.await;
    let run = bench.run(id).await.unwrap();
    assert_eq!((run.status, run.worker_id), (RunStatus::Pending, None));
    assert_eq!(bench.thread(thread).await.status, ThreadStatus::Busy);
    assert_eq!(bench.log.ends(id), 0);

    let begun = Instant::now();
    let second = bench.script([answer("one"), answer("two")]);
    let _coming = bench.worker(Arc::new(second.recording(history.clone())));
    assert_eq!(bench.ended(id).await.status, RunStatus::Success);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "no lease has to run out"
    );
    assert_no_overlap(&history);
    let expected = lines([("human", "a"), ("ai", "one"), ("ai", "two")]);
    assert_eq!(bench.talk(thread).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_process_had_to_end_goes_on_at_once_and_loses_no_attempt() {
    let bench = Bench::new();
    let evicted = Arc::new(AtomicU32::new(0));
    let counted = evicted.clone();
    let executor = Odd::new(bench.script([answer("ok")]), move |inner, attempt, host| {
        // More often than a run may be tried.
        let evict = counted.fetch_add(1, Ordering::Relaxed) < 2 * MAX_ATTEMPTS;
        async move {
            if evict {
                let ended = Ended::Evicted;
                return Outcome { ended, head: None };
            }
            inner.execute(attempt, host).await
        }
        .boxed()
    });
    let _worker = bench.worker(executor);
    let thread = ThreadId::new();
    let begun = Instant::now();
    let id = bench.enqueue(thread, "a").await;
    assert_eq!(bench.ended(id).await.status, RunStatus::Success);
    assert_eq!(evicted.load(Ordering::Relaxed), 2 * MAX_ATTEMPTS + 1);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "nothing had to be waited for"
    );
    let expected = lines([("human", "a"), ("ai", "ok")]);
    assert_eq!(bench.talk(thread).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_shuts_down_does_not_wait_for_ever() {
    let bench = Bench::new();
    let gate = Gate::new();
    let worker = bench.scripted([answer("one"), Step::PassDeaf(gate.clone())]);
    let id = bench.enqueue(ThreadId::new(), "a").await;
    gate.reached(1).await;
    let begun = Instant::now();
    worker.stop().await;
    let took = begun.elapsed();
    // Twenty seconds to drain, twelve to obey.
    assert!((32..34).contains(&took.as_secs()), "{took:?}");
    assert_eq!(bench.run(id).await.unwrap().status, RunStatus::Pending);
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_a_database_still_shuts_down() {
    let bench = Bench::new();
    let gate = Gate::new();
    let worker = bench.scripted([Step::Pass(gate.clone())]);
    let id = bench.enqueue(ThreadId::new(), "a").await;
    gate.reached(1).await;
    worker.link.cut(true);
    let begun = Instant::now();
    worker.stop().await;
    assert!(
        begun.elapsed() < Duration::from_mins(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(bench.run(id).await.unwrap().status, RunStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_during_a_drain_is_obeyed() {
    let bench = Bench::new();
    let gate = Gate::new();
    let worker = bench.scripted([answer("one"), Step::Pass(gate.clone())]);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    gate.reached(1).await;
    let stopping = worker.stop();
    tokio::pin!(stopping);
    assert!(futures::poll!(&mut stopping).is_pending());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let cancelling = bench.cancel(thread, id, CancelAction::Interrupt);
    futures::join!(stopping, cancelling);
    assert_eq!(bench.ended(id).await.status, RunStatus::Interrupted);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_too_long_is_stopped_and_keeps_what_it_said() {
    let bench = Bench::new();
    let gate = Gate::new();
    let config = Config {
        run_timeout: Some(Duration::from_mins(1)),
        ..Config::default()
    };
    let say = Step::Say {
        message_id: "m",
        text: "half an",
    };
    let script = bench.script([answer("one"), say, Step::Pass(gate.clone()), answer("two")]);
    let _worker = bench.worker_with(Arc::new(script), config);
    let thread = ThreadId::new();
    let id = bench.enqueue(thread, "a").await;
    let second = bench.submit(thread, "b", MultitaskStrategy::Enqueue).await;
    gate.reached(1).await;
    let begun = Instant::now();
    let run = bench.ended(id).await;
    assert_eq!(run.status, RunStatus::Timeout);
    assert!(
        (59..61).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );
    assert!(run.error.is_some());
    let own = run.interrupted_output.unwrap().to_value();
    assert_eq!(
        own[0]["additional_kwargs"]["interrupted"]["reason"],
        "timeout"
    );
    gate.open();
    assert_eq!(bench.ended(second).await.status, RunStatus::Success);
    let expected = lines([
        ("human", "a"),
        ("ai", "one"),
        ("ai", "half an"),
        ("human", "b"),
        ("ai", "one"),
        ("ai", "two"),
    ]);
    assert_eq!(bench.talk(thread).await, expected);
}
