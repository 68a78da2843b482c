//! Each change of a run is noted in the transaction that makes it, whoever makes it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::scene::{a_run, accepted};
use common::{Fresh, execute};
use runloom_core::database::{CancelRequest, Outbox, Queue, Runs, Settlement, Threads, Transit};
use runloom_core::ids::{AssistantId, ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::json::JsonMap;
use runloom_core::lease::{ClaimReply, Claimed};
use runloom_core::lifecycle::{LifecycleEvent, Stage};
use runloom_core::run::{CancelAction, MultitaskStrategy, RunError};
use runloom_core::search::CancelSelection;
use runloom_core::thread::{IfExists, NewThread};
use runloom_postgres::{Config, Postgres};
use runloom_testkit::doubles::ManualClock;

const LEASE: Duration = Duration::from_secs(10);

/// An empty database, a thread, and a worker.
struct Scene {
    db: Postgres,
    clock: Arc<ManualClock>,
    thread: ThreadId,
    worker: WorkerId,
    relay: WorkerId,
    fresh: Fresh,
}

impl Scene {
    async fn new() -> Self {
        let (fresh, clock) = (Fresh::new().await, ManualClock::new());
        let config = Config {
            max_attempts: 2,
            ..Config::default()
        };
        let db = fresh.open_by(&clock, config);
        let scene = Self {
            db,
            clock,
            thread: ThreadId::new(),
            worker: WorkerId::new(),
            relay: WorkerId::new(),
            fresh,
        };
        let thread = NewThread {
            id: scene.thread,
            metadata: JsonMap::new(),
            if_exists: IfExists::Raise,
            ttl: None,
        };
        scene.db.create_thread(thread).await.unwrap();
        scene.db.enlist(scene.worker, LEASE).await.unwrap();
        scene
    }

    async fn submit(&self, strategy: MultitaskStrategy) -> RunId {
        let run = accepted(&self.db, a_run(self.thread, strategy)).await;
        run.id
    }

    async fn enqueue(&self) -> RunId {
        self.submit(MultitaskStrategy::Enqueue).await
    }

    async fn claim(&self) -> Claimed {
        let claim = ClaimId::new();
        match self.db.claim(self.thread, self.worker, claim).await {
            Ok(ClaimReply::Claimed(claimed)) => *claimed,
            other => panic!("nothing was claimed: {other:?}"),
        }
    }

    async fn settle(&self, claimed: &Claimed, transit: Transit, next: Option<ClaimId>) {
        let settlement = Settlement {
            transit,
            head: None,
            residue: None,
            output: None,
            interrupted_output: None,
        };
        let lease = &claimed.lease;
        self.db.settle(lease, settlement, next).await.unwrap();
    }

    async fn cancel(&self, run: RunId, action: CancelAction) {
        let request = CancelRequest {
            selection: CancelSelection::Runs(self.thread, vec![run]),
            action,
            reason: "asked by a test".to_owned(),
        };
        self.db.cancel_runs(request).await.unwrap();
    }

    /// All that is untold.
    async fn untold(&self) -> Vec<LifecycleEvent> {
        let untold = self.db.untold(self.relay, LEASE, 1_000).await.unwrap();
        untold.expect("this relay has the outbox")
    }

    /// What is untold of `run`, and how many attempts there were then.
    async fn stages(&self, run: RunId) -> Vec<(Stage, u32)> {
        let all = self.untold().await.into_iter();
        let own = all.filter(|event| event.run_id == run);
        own.map(|event| (event.stage, event.attempt)).collect()
    }

    /// The worker is lost, and found to be.
    async fn lose_worker(&mut self) {
        self.clock.advance(LEASE * 2);
        assert_eq!(self.db.sweep(10).await.unwrap().reaped, 1);
        self.worker = WorkerId::new();
        self.db.enlist(self.worker, LEASE).await.unwrap();
    }
}

#[tokio::test]
async fn a_run_is_told_from_its_acceptance_to_its_end() {
    use Stage::{Pending, Running};
    let error = || RunError::new("ValueError", "kaboom");
    for (transit, end) in [
        (Transit::Succeed, Stage::Success),
        (Transit::Fail(error()), Stage::Error),
        (Transit::TimeOut(error()), Stage::Timeout),
        (Transit::Interrupt, Stage::Interrupted),
    ] {
        let scene = Scene::new().await;
        let run = scene.enqueue().await;
        let claimed = scene.claim().await;
        scene.settle(&claimed, transit, None).await;
        let expected = [(Pending, 0), (Running, 1), (end, 1)];
        assert_eq!(scene.stages(run).await, expected);
        let told = scene.untold().await.remove(0);
        assert_eq!(told.thread_id, scene.thread);
        assert_eq!(told.graph_id, "agent".into());
        assert_eq!(told.assistant_id, AssistantId::of_graph(&told.graph_id));
    }
}

#[tokio::test]
async fn an_end_comes_before_the_start_of_the_next_run() {
    let scene = Scene::new().await;
    let first = scene.enqueue().await;
    let claimed = scene.claim().await;
    let second = scene.enqueue().await;
    let next = Some(ClaimId::new());
    scene.settle(&claimed, Transit::Succeed, next).await;
    let all = scene.untold().await;
    assert!(all.is_sorted_by(|one, other| one.id < other.id));
    let order: Vec<_> = all
        .iter()
        .map(|event| (event.run_id, event.stage))
        .collect();
    let expected = [
        (first, Stage::Pending),
        (first, Stage::Running),
        (second, Stage::Pending),
        (first, Stage::Success),
        (second, Stage::Running),
    ];
    assert_eq!(order, expected);
}

#[tokio::test]
async fn an_attempt_that_is_given_back_or_lost_is_told() {
    use Stage::{Error, Pending, Running};
    let mut scene = Scene::new().await;
    let run = scene.enqueue().await;
    let claimed = scene.claim().await;
    scene.settle(&claimed, Transit::HandBack, None).await;
    scene.claim().await;
    scene.lose_worker().await;
    scene.claim().await;
    scene.lose_worker().await;
    let expected = [
        (Pending, 0),
        (Running, 1),
        (Pending, 1),
        (Running, 2),
        (Pending, 2),
        (Running, 3),
        // No attempt is left: the first did not count.
        (Error, 3),
    ];
    assert_eq!(scene.stages(run).await, expected);
}

#[tokio::test]
async fn a_run_that_is_rolled_back_is_discarded_pending_or_running() {
    use Stage::{Discarded, Pending, Running};
    let scene = Scene::new().await;
    let running = scene.enqueue().await;
    let claimed = scene.claim().await;
    let pending = scene.enqueue().await;
    scene.cancel(pending, CancelAction::Rollback).await;
    assert_eq!(scene.stages(pending).await, [(Pending, 0), (Discarded, 0)]);
    let last = scene.submit(MultitaskStrategy::Rollback).await;
    scene.settle(&claimed, Transit::Interrupt, None).await;
    let expected = [(Pending, 0), (Running, 1), (Discarded, 1)];
    assert_eq!(scene.stages(running).await, expected);
    assert_eq!(scene.stages(last).await, [(Pending, 0)]);
}

#[tokio::test]
async fn a_lost_run_that_was_to_be_rolled_back_is_discarded() {
    use Stage::{Discarded, Pending, Running};
    let mut scene = Scene::new().await;
    let run = scene.enqueue().await;
    scene.claim().await;
    scene.cancel(run, CancelAction::Rollback).await;
    scene.lose_worker().await;
    let expected = [(Pending, 0), (Running, 1), (Discarded, 1)];
    assert_eq!(scene.stages(run).await, expected);
}

#[tokio::test]
async fn a_deleted_thread_discards_what_was_in_flight_and_tells_nothing_of_what_was_over() {
    let scene = Scene::new().await;
    let over = scene.enqueue().await;
    let claimed = scene.claim().await;
    scene.settle(&claimed, Transit::Succeed, None).await;
    let pending = scene.enqueue().await;
    let mut connection = scene.fresh.connection().await;
    execute(&mut connection, "delete from threads").await;
    let last = |stages: Vec<(Stage, u32)>| stages.last().map(|(stage, _)| *stage);
    assert_eq!(last(scene.stages(over).await), Some(Stage::Success));
    assert_eq!(last(scene.stages(pending).await), Some(Stage::Discarded));
}

#[tokio::test]
async fn what_did_not_happen_is_not_told() {
    let scene = Scene::new().await;
    let run = scene.enqueue().await;
    let mut connection = scene.fresh.connection().await;
    let nothing = "begin; update runs set status = 'interrupted'; rollback;
        update runs set cancel = 'interrupt', updated_at = now()";
    execute(&mut connection, nothing).await;
    assert_eq!(scene.stages(run).await, [(Stage::Pending, 0)]);
}

#[tokio::test]
async fn what_was_told_is_forgotten_and_the_rest_waits_in_order() {
    let scene = Scene::new().await;
    for _ in 0..5 {
        scene.enqueue().await;
    }
    let ids: Vec<_> = scene.untold().await.iter().map(|event| event.id).collect();
    scene.db.told(&[ids[0], ids[3]]).await.unwrap();
    let first = scene.db.untold(scene.relay, LEASE, 2).await.unwrap();
    let first: Vec<_> = first.unwrap().iter().map(|event| event.id).collect();
    assert_eq!(first, ids[1..3]);
    let rest: Vec<_> = scene.untold().await.iter().map(|event| event.id).collect();
    assert_eq!(rest, [ids[1], ids[2], ids[4]]);
}

#[tokio::test]
async fn one_relay_at_a_time_has_the_outbox() {
    let scene = Scene::new().await;
    let (first, second) = (WorkerId::new(), WorkerId::new());
    let short = Duration::from_millis(2_400);
    let read = async |relay| scene.db.untold(relay, short, 1).await.unwrap();
    assert_eq!(read(first).await, Some(Vec::new()), "even if it is empty");
    assert_eq!(read(second).await, None);
    // It keeps its lease as long as it asks.
    for _ in 0..3 {
        tokio::time::sleep(short / 2).await;
        assert!(read(first).await.is_some());
        assert_eq!(read(second).await, None);
    }
    tokio::time::sleep(short).await;
    assert!(
        read(second).await.is_some(),
        "the lease of the first is over"
    );
    assert_eq!(read(first).await, None);
    scene.db.resign(first).await.unwrap();
    assert_eq!(read(first).await, None, "it had nothing to resign");
    scene.db.resign(second).await.unwrap();
    assert!(read(first).await.is_some());
}

#[tokio::test]
async fn of_relays_that_ask_at_once_one_gets_the_outbox() {
    let scene = Scene::new().await;
    let asking = (0..8).map(|_| scene.db.untold(WorkerId::new(), LEASE, 1));
    let answers = futures::future::join_all(asking).await;
    let taken = answers
        .into_iter()
        .filter(|answer| answer.as_ref().unwrap().is_some());
    assert_eq!(taken.count(), 1);
}

#[tokio::test]
async fn what_nobody_took_for_long_is_forgotten() {
    let scene = Scene::new().await;
    scene.enqueue().await;
    scene.enqueue().await;
    let mut connection = scene.fresh.connection().await;
    let older =
        "update outbox set at = at - interval '25 h' where id = (select min(id) from outbox)";
    execute(&mut connection, older).await;
    let day = Duration::from_hours(24);
    assert_eq!(scene.db.expire(day, 1_000).await.unwrap(), 1);
    assert_eq!(scene.db.expire(day, 1_000).await.unwrap(), 0);
    assert_eq!(scene.untold().await.len(), 1);
}

#[tokio::test]
async fn the_outbox_works_without_prepared_statements() {
    let scene = Scene::new().await;
    scene.enqueue().await;
    let plain = scene.fresh.open(Config {
        prepared: false,
        ..Config::default()
    });
    let events = plain.untold(scene.relay, LEASE, 9).await.unwrap().unwrap();
    plain.told(&[events[0].id]).await.unwrap();
    assert_eq!(plain.expire(LEASE, 1).await.unwrap(), 0);
    plain.resign(scene.relay).await.unwrap();
    assert_eq!(scene.untold().await, []);
}
