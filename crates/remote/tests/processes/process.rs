//! What goes on between the worker and one process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use runloom_remote::peer::{Answers, Call, CallError, Heard};
use runloom_remote::process::Process;
use runloom_remote::protocol::{self, RemoteError, RunEnded, item};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{Runs, launch, run_of, soon, stop, until, values};

async fn start() -> Process {
    soon(Process::start(&launch(&[]))).await.unwrap()
}

#[tokio::test]
async fn a_run_is_stopped_while_another_one_goes_on() {
    let process = start().await;
    let mut first = process.run("wait", json!(null));
    let second = process.run("wait", json!(null));
    stop(&first);
    let ended: RunEnded = soon(first.reply()).await.unwrap();
    assert_eq!(ended.outcome, protocol::OutcomeKind::Stopped);
    drop(second);
    assert_eq!(values(&mut process.run("echo", json!(1))).await, 1);
}

#[tokio::test]
async fn items_come_in_order_and_before_the_answer() {
    let process = start().await;
    let mut call = process.run("flood", json!(5000));
    let mut next = 0;
    loop {
        match soon(call.next()).await {
            Heard::Item(said) => {
                assert_eq!(said.name, item::EVENTS);
                let events: Vec<protocol::Event> = protocol::decode(&said.body).unwrap();
                assert_eq!(events[0].2, next.to_string());
                next += 1;
            }
            Heard::Done(answer) => {
                answer.unwrap();
                break;
            }
        }
    }
    assert_eq!(next, 5000);
}

#[tokio::test]
async fn what_nobody_reads_holds_up_nobody() {
    let process = start().await;
    let unread = process.run("flood", json!(20_000));
    assert_eq!(values(&mut process.run("echo", json!(2))).await, 2);
    drop(unread);
}

#[tokio::test]
async fn errors_of_the_executor_reach_who_asked() {
    let process = start().await;
    let error = soon(process.run("nothing", json!(null)).reply::<RunEnded>()).await;
    assert!(
        matches!(&error, Err(CallError::Refused(error)) if error.kind == RemoteError::UNKNOWN_GRAPH),
        "{error:?}"
    );
}

/// Notes the order of requests and answers none before it is allowed to.
struct Ledger {
    started: Mutex<Vec<u64>>,
    answered: AtomicUsize,
    allowed: Semaphore,
}

impl Ledger {
    fn new(allowed: usize) -> Arc<Self> {
        Arc::new(Self {
            started: Mutex::default(),
            answered: AtomicUsize::new(0),
            allowed: Semaphore::new(allowed),
        })
    }

    async fn has_started(&self, number: usize) {
        until(|| self.started.lock().unwrap().len() == number).await;
    }
}

/// A run that writes so many times at once, and goes on when all of that was answered.
fn writes(process: &Process, number: u64, ledger: &Arc<Ledger>) -> Call {
    let answers = Arc::clone(ledger) as Arc<dyn Answers>;
    let run = run_of("write", &json!(number));
    process.open("run", &run, Some(answers)).unwrap()
}

#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

#[async_trait]
impl Answers for Ledger {
    async fn answer(&self, method: &str, body: Bytes) -> Result<Bytes, RemoteError> {
        assert_eq!(method, "put_writes");
        let Numbered { n } = protocol::decode(&body).unwrap();
        self.started.lock().unwrap().push(n);
        let _allowed = self.allowed.acquire().await.unwrap();
        self.answered.fetch_add(1, Ordering::SeqCst);
        Ok(protocol::encode(&()).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_run_start_in_order_and_are_answered_beside_each_other() {
    let process = start().await;
    let ledger = Ledger::new(0);
    let mut call = writes(&process, 300, &ledger);
    ledger.has_started(300).await;
    ledger.allowed.add_permits(1);
    assert_eq!(values(&mut call).await, 300);
    assert!(ledger.started.lock().unwrap().is_sorted());
    assert_eq!(ledger.answered.load(Ordering::SeqCst), 300);
}

#[tokio::test]
async fn a_run_that_is_not_listened_to_any_more_is_fenced() {
    let process = start().await;
    let ledger = Ledger::new(1);
    let mut call = writes(&process, 1, &ledger);
    assert_eq!(values(&mut call).await, 1);
    soon(call.close()).await;
    // The fake writes once more when it is stopped, and tells another run what came of it.
    stop(&call);
    let late = values(&mut process.run("late", json!(null))).await;
    assert_eq!(late, json!([2, "Fenced"]));
    assert_eq!(*ledger.started.lock().unwrap(), [0]);
}

#[tokio::test]
async fn closing_a_call_waits_for_what_was_taken() {
    let process = start().await;
    let ledger = Ledger::new(0);
    let mut call = writes(&process, 3, &ledger);
    ledger.has_started(3).await;
    process.kill();
    soon(process.gone()).await;
    assert!(matches!(
        soon(call.next()).await,
        Heard::Done(Err(CallError::Gone))
    ));
    {
        let mut closing = std::pin::pin!(call.close());
        assert!(futures::poll!(&mut closing).is_pending());
        ledger.allowed.add_permits(1);
        soon(closing).await;
    }
    assert_eq!(ledger.answered.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_process_that_dies_takes_its_runs_along() {
    let process = start().await;
    let mut waits = process.run("wait", json!(null));
    crate::support::goes_on(&mut waits).await;
    drop(process.run("die", json!(null)));
    assert!(matches!(
        soon(waits.next()).await,
        Heard::Done(Err(CallError::Gone))
    ));
    let exit = soon(process.gone()).await;
    assert!(exit.how.contains("signal"), "{exit}");
    assert!(exit.said.contains("about to die"), "{}", exit.said);
    let late = process.open("ping", &(), None);
    assert!(matches!(late, Err(CallError::Gone)));
}

#[tokio::test]
async fn a_process_that_says_nonsense_is_killed() {
    let process = start().await;
    let mut waits = process.run("wait", json!(null));
    crate::support::goes_on(&mut waits).await;
    drop(process.run("garbage", json!(null)));
    assert!(matches!(
        soon(waits.next()).await,
        Heard::Done(Err(CallError::Gone))
    ));
    soon(process.gone()).await;
}

#[tokio::test]
async fn much_output_holds_up_nobody() {
    let process = start().await;
    values(&mut process.run("print", json!(null))).await;
    assert_eq!(values(&mut process.run("echo", json!(3))).await, 3);
}
