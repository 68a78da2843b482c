//! What workers delete in time.

use std::sync::Arc;
use std::time::Duration;

use runloom_core::compose::NewRun;
use runloom_core::database::Threads;
use runloom_core::ids::ThreadId;
use runloom_core::run::MultitaskStrategy;
use runloom_core::thread::{Ttl, TtlStrategy};
use runloom_worker::Config;

use crate::link::Fault;
use crate::support::{Bench, answer, new_run};

/// A minute, then the thread is dealt with.
fn brief(strategy: TtlStrategy) -> Option<Ttl> {
    Ttl::new(1.0, strategy)
}

/// A run that brings a thread which is kept for a minute.
fn bringing(strategy: TtlStrategy) -> NewRun {
    NewRun {
        thread_ttl: brief(strategy),
        ..new_run(ThreadId::new(), "hi", MultitaskStrategy::Enqueue)
    }
}

#[tokio::test(start_paused = true)]
async fn threads_whose_time_is_up_go_or_lose_their_history() {
    let bench = Bench::new();
    let _worker = bench.scripted([answer("hello")]);
    let (deleted, kept) = (
        bringing(TtlStrategy::Delete),
        bringing(TtlStrategy::KeepLatest),
    );
    let (first, second) = (deleted.thread_id, kept.thread_id);
    let mut runs = Vec::new();
    for new in [deleted, kept] {
        let (run, effects) = bench.submit_new(new).await;
        effects.carry_out(&*bench.notifier, &*bench.log).await;
        bench.ended(run).await;
        runs.push(run);
    }
    assert!(bench.checkpoints(second).await.len() > 1);
    let said = bench.talk(second).await;
    bench.until(runs[0], |run| run.is_none()).await;
    assert_eq!(bench.memory.thread(first).await.unwrap(), None);
    while bench.checkpoints(second).await.len() > 1 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.talk(second).await, said);
    assert!(bench.run(runs[1]).await.is_some(), "its record stays");
}

#[tokio::test(start_paused = true)]
async fn records_of_runs_go_when_they_are_old_enough_and_only_if_asked_for() {
    let bench = Bench::new();
    let executor = Arc::new(bench.script([answer("hello")]));
    let worker = bench.worker(executor.clone());
    let thread = ThreadId::new();
    let run = bench.enqueue(thread, "hi").await;
    bench.ended(run).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!(bench.run(run).await.is_some());
    worker.stop().await;
    let config = Config {
        run_age: Some(Duration::from_mins(70)),
        ..Config::default()
    };
    let _worker = bench.worker_with(executor, config);
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert!(bench.run(run).await.is_some());
    bench.until(run, |run| run.is_none()).await;
    assert_eq!(bench.talk(thread).await.len(), 2, "what it left stays");
}

#[tokio::test(start_paused = true)]
async fn fewer_threads_are_dealt_with_at_once_where_all_of_them_are_too_much() {
    let bench = Bench::new();
    let worker = bench.scripted([answer("hello")]);
    let (run, effects) = bench.submit_new(bringing(TtlStrategy::Delete)).await;
    effects.carry_out(&*bench.notifier, &*bench.log).await;
    bench.ended(run).await;
    // Every look fails until only one thread is asked for; that one fails once, too.
    worker.link.plan("expire_threads", vec![Fault::Refuse; 3]);
    bench.until(run, |run| run.is_none()).await;
    assert_eq!(worker.link.left("expire_threads"), 0);
}
