//! Many at once, over real connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::Fresh;
use common::scene::{LEASE, a_checkpoint, a_run, a_worker, accepted, guard, settled_as};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use runloom_core::database::{
    CancelRequest, Checkpoints, DatabaseError, Queue, Runs, ThreadDeletion, Threads, Transit,
};
use runloom_core::ids::{ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::lease::{ClaimReply, Claimed};
use runloom_core::run::{CancelAction, MultitaskStrategy, RunStatus};
use runloom_core::search::{CancelSelection, Page, RunFilter};
use runloom_core::thread::ThreadStatus;
use runloom_postgres::{Config, Postgres};
use runloom_testkit::invariants::{Dump, check_step};
use tokio::task::JoinSet;

const ALL: Page = Page {
    limit: 100_000,
    offset: 0,
};

/// Runs everything on the threads to its end.
async fn drain(db: &Postgres, threads: &[ThreadId]) {
    let worker = a_worker(db).await;
    for thread in threads {
        let mut next = match db.claim(*thread, worker, ClaimId::new()).await.unwrap() {
            ClaimReply::Claimed(claimed) => Some(claimed),
            ClaimReply::Empty => None,
            other => panic!("{other:?}"),
        };
        while let Some(claimed) = next {
            let settlement = settled_as(match claimed.run.cancel {
                Some(_) => Transit::Interrupt,
                None => Transit::Succeed,
            });
            let settled = db
                .settle(&claimed.lease, settlement, Some(ClaimId::new()))
                .await;
            next = settled.unwrap().next;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_runs_that_interrupt_each_other_are_all_accepted_in_one_order() {
    let fresh = Fresh::new().await;
    let gateways = [(); 2].map(|()| Arc::new(fresh.open(Config::default())));
    let thread = ThreadId::new();
    let mut set = JoinSet::new();
    for number in 0..100 {
        let db = gateways[number % 2].clone();
        set.spawn(async move { accepted(&db, a_run(thread, MultitaskStrategy::Interrupt)).await });
    }
    let runs = set.join_all().await;
    let places: BTreeSet<_> = runs.iter().map(|run| run.seq).collect();
    assert_eq!(places, (1..=100).collect());

    let db = &gateways[0];
    let before = Dump::of(db.as_ref(), &[thread]).await;
    drain(db, &[thread]).await;
    let after = Dump::of(db.as_ref(), &[thread]).await;
    check_step(&before, &after).unwrap();
    let ended = &after.threads[&thread].runs;
    assert_eq!(ended.len(), 100);
    let succeeded = ended.iter().filter(|run| run.status == RunStatus::Success);
    let succeeded: Vec<_> = succeeded.map(|run| run.seq).collect();
    assert_eq!(succeeded, [100], "the last one took everybody's place");
    let superseded = ended
        .iter()
        .filter(|run| run.status == RunStatus::Interrupted);
    assert_eq!(superseded.count(), 99);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_workers_that_claim_a_thread_at_once_one_gets_it() {
    let fresh = Fresh::new().await;
    let processes = [(); 4].map(|()| Arc::new(fresh.open(Config::default())));
    let mut workers = Vec::new();
    for number in 0..12 {
        workers.push((processes[number % 4].clone(), a_worker(&processes[0]).await));
    }
    for round in 0..40 {
        let thread = ThreadId::new();
        for _ in 0..2 {
            accepted(&processes[0], a_run(thread, MultitaskStrategy::Enqueue)).await;
        }
        let mut set = JoinSet::new();
        for (db, worker) in workers.clone() {
            set.spawn(async move { db.claim(thread, worker, ClaimId::new()).await.unwrap() });
        }
        let replies = set.join_all().await;
        let held = replies
            .iter()
            .filter(|reply| matches!(reply, ClaimReply::Claimed(_)));
        assert_eq!(held.count(), 1, "round {round}: {replies:?}");
        let busy = replies.iter().filter(|reply| **reply == ClaimReply::Busy);
        assert_eq!(
            busy.count(),
            workers.len() - 1,
            "round {round}: {replies:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_submitted_many_times_at_once_is_accepted_once() {
    let fresh = Fresh::new().await;
    let db = Arc::new(fresh.open(Config::default()));
    for _ in 0..10 {
        let threads = [ThreadId::new(), ThreadId::new()];
        let run = RunId::new();
        let mut set = JoinSet::new();
        for number in 0..10 {
            let db = db.clone();
            let mut new = a_run(threads[number % 2], MultitaskStrategy::Enqueue);
            new.id = run;
            set.spawn(async move { accepted(&db, new).await });
        }
        let answers = set.join_all().await;
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:#?}"
        );
        let mut stored = Vec::new();
        for thread in threads {
            stored.extend(db.runs(thread, RunFilter::default(), ALL).await.unwrap());
        }
        assert_eq!(stored, [answers[0].clone()]);
    }
}

/// Who executes what, as the workers see it.
#[derive(Default)]
struct Board(Mutex<BTreeMap<ThreadId, RunId>>);

impl Board {
    fn begin(&self, claimed: &Claimed) {
        let mut board = self.0.lock().unwrap();
        let other = board.insert(claimed.run.thread_id, claimed.run.id);
        assert_eq!(other, None, "{} is executed beside it", claimed.run.id);
    }

    fn end(&self, claimed: &Claimed) {
        self.0.lock().unwrap().remove(&claimed.run.thread_id);
    }
}

/// What all parts of the mixed load share.
struct Load {
    processes: Vec<Arc<Postgres>>,
    threads: Vec<ThreadId>,
    board: Board,
    accepted: Mutex<BTreeSet<RunId>>,
    until: Instant,
}

impl Load {
    /// One of the many clients: asks for random things.
    async fn ask(self: Arc<Self>, seed: u64) {
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        while Instant::now() < self.until {
            let db = self.processes.choose(&mut rng).unwrap();
            let thread = *self.threads.choose(&mut rng).unwrap();
            match rng.random_range(0..20) {
                0 => {
                    let request = CancelRequest {
                        selection: CancelSelection::All,
                        action: CancelAction::Interrupt,
                        reason: "asked by a test".to_owned(),
                    };
                    fine(db.cancel_runs(request).await);
                }
                1 => match fine(db.delete_thread(thread).await) {
                    Some(ThreadDeletion::Deleted(_) | ThreadDeletion::Stopping(_)) | None => {}
                },
                2 => drop(fine(db.waiting(Duration::ZERO, 3).await)),
                3 | 4 => drop(fine(db.sweep(2).await)),
                _ => {
                    let strategies = [
                        MultitaskStrategy::Enqueue,
                        MultitaskStrategy::Interrupt,
                        MultitaskStrategy::Rollback,
                        MultitaskStrategy::Reject,
                    ];
                    let new = a_run(thread, *strategies.choose(&mut rng).unwrap());
                    let id = new.id;
                    self.accepted.lock().unwrap().insert(id);
                    fine(db.submit_run(new).await);
                }
            }
        }
    }

    /// A worker that is lost now and then.
    async fn work(self: Arc<Self>, seed: u64) {
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut number = seed * 1_000_000;
        while Instant::now() < self.until {
            let db = self.processes.choose(&mut rng).unwrap();
            let worker = WorkerId::new();
            fine(db.enlist(worker, LEASE).await);
            for _ in 0..rng.random_range(1..20) {
                let thread = *self.threads.choose(&mut rng).unwrap();
                let reply = fine(db.claim(thread, worker, ClaimId::new()).await);
                let mut next = match reply {
                    Some(ClaimReply::Claimed(claimed)) => Some(claimed),
                    _ => None,
                };
                while let Some(claimed) = next.take() {
                    self.board.begin(&claimed);
                    number += 1;
                    let new = vec![a_checkpoint(thread, number)];
                    let put = db
                        .put_checkpoints(thread, guard(&claimed), new, Vec::new())
                        .await;
                    put.unwrap();
                    self.board.end(&claimed);
                    if rng.random_ratio(1, 10) {
                        break;
                    }
                    let transit = match claimed.run.cancel {
                        Some(_) => Transit::Interrupt,
                        None => Transit::Succeed,
                    };
                    let claim = rng.random::<bool>().then(ClaimId::new);
                    let settled = db.settle(&claimed.lease, settled_as(transit), claim).await;
                    next = settled.unwrap().next;
                }
                fine(db.renew(worker, LEASE).await);
            }
            fine(db.retire(worker).await);
        }
    }
}

/// What was asked for, or that it could not be had; nothing else may happen.
fn fine<T>(result: Result<T, DatabaseError>) -> Option<T> {
    match result {
        Ok(answer) => Some(answer),
        Err(DatabaseError::NotFound(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_load_on_a_few_threads_neither_deadlocks_nor_breaks_a_promise() {
    let fresh = Fresh::new().await;
    let load = Arc::new(Load {
        processes: (0..3)
            .map(|_| Arc::new(fresh.open(Config::default())))
            .collect(),
        threads: (0..5).map(|_| ThreadId::new()).collect(),
        board: Board::default(),
        accepted: Mutex::default(),
        until: Instant::now() + Duration::from_secs(4),
    });
    let mut set = JoinSet::new();
    for seed in 0..8 {
        set.spawn(load.clone().ask(seed));
        set.spawn(load.clone().work(100 + seed));
    }
    set.join_all().await;

    let db = &load.processes[0];
    while db.sweep(100).await.unwrap().reaped > 0 {}
    drain(db, &load.threads).await;
    let dump = Dump::of(db.as_ref(), &load.threads).await;
    check_step(&Dump::default(), &dump).unwrap();
    for thread in dump.threads.values() {
        assert_ne!(
            thread.thread.status,
            ThreadStatus::Busy,
            "{:?}",
            thread.thread
        );
        let known = load.accepted.lock().unwrap();
        let runs = &thread.runs;
        assert!(
            runs.iter()
                .all(|run| run.status.is_terminal() && known.contains(&run.id))
        );
    }
    let mut connection = fresh.connection().await;
    let deadlocks: i64 = sqlx::query_scalar(
        "select deadlocks from pg_stat_database where datname = current_database()",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(deadlocks, 0);
}
