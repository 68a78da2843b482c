//! A thread on which runs were played keeps the invariants, and each way to break one is noticed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use runloom_core::assistant::Assistant;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites};
use runloom_core::clock::Clock;
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{
    CancelRequest, Checkpoints, Database, DatabaseError, Guard, Items, Settlement, Submission,
    Transit,
};
use runloom_core::event::{Event, EventId};
use runloom_core::executor::{
    Attempt, CheckpointReader, Emission, Ended, Executor, Host, HostError, Work,
};
use runloom_core::ids::{AssistantId, CheckpointId, ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::lease::{ClaimReply, Claimed};
use runloom_core::partial::PartialPolicy;
use runloom_core::run::{CancelAction, MultitaskStrategy, RunKwargs, RunStatus};
use runloom_core::search::CancelSelection;
use runloom_core::thread::ThreadStatus;
use runloom_testkit::doubles::{ManualClock, ScriptedExecutor, Step};
use runloom_testkit::history::Execution;
use runloom_testkit::invariants::{
    Accepted, Dump, ThreadDump, check_rest, check_resumed, check_step,
};
use runloom_testkit::memory::Memory;
use serde_json::json;
use tokio::sync::watch;

/// Writes for an attempt, as a worker does.
struct AttemptHost {
    db: Arc<Memory>,
    thread: ThreadId,
    guard: Guard,
}

impl AttemptHost {
    async fn put(
        &self,
        checkpoints: Vec<NewCheckpoint>,
        writes: Vec<NewWrites>,
    ) -> Result<(), HostError> {
        let put = self
            .db
            .put_checkpoints(self.thread, self.guard.clone(), checkpoints, writes)
            .await;
        put.map_err(|error| match error {
            DatabaseError::Fenced => HostError::Fenced,
            other => HostError::Unavailable(other.to_string()),
        })
    }
}

#[async_trait]
impl CheckpointReader for AttemptHost {
    async fn checkpoint(
        &self,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, HostError> {
        Ok(self.db.checkpoint(self.thread, ns, id).await.unwrap())
    }

    async fn checkpoints(&self, query: CheckpointQuery) -> Result<Vec<CheckpointTuple>, HostError> {
        Ok(self.db.checkpoints(self.thread, query).await.unwrap())
    }
}

#[async_trait]
impl Host for AttemptHost {
    async fn put_checkpoint(&self, checkpoint: NewCheckpoint) -> Result<(), HostError> {
        self.put(vec![checkpoint], vec![]).await
    }

    async fn put_writes(&self, writes: NewWrites) -> Result<(), HostError> {
        self.put(vec![], vec![writes]).await
    }

    async fn emit(&self, _: Vec<Emission>) {}

    fn items(&self) -> Arc<dyn Items> {
        self.db.clone()
    }
}

/// A thread, a worker and a graph of two supersteps.
struct Scene {
    db: Arc<Memory>,
    clock: Arc<ManualClock>,
    thread: ThreadId,
    worker: WorkerId,
    executor: ScriptedExecutor,
}

impl Scene {
    async fn new() -> Self {
        let clock = ManualClock::new();
        let db = Memory::new(clock.clone());
        let worker = WorkerId::new();
        let db: Arc<Memory> = Arc::new(db);
        runloom_core::database::Queue::enlist(db.as_ref(), worker, Duration::from_hours(1))
            .await
            .unwrap();
        let answer = |text: &str| Step::Superstep(json!({"role": "ai", "content": text}));
        let executor = ScriptedExecutor::new(clock.clone())
            .with("agent", [answer("thinking"), answer("done")]);
        Self {
            db,
            clock,
            thread: ThreadId::new(),
            worker,
            executor,
        }
    }

    fn port(&self) -> &dyn Database {
        self.db.as_ref()
    }

    async fn submit(&self, strategy: MultitaskStrategy) -> RunId {
        let graph = "agent".into();
        let new = NewRun {
            id: RunId::new(),
            thread_id: self.thread,
            assistant: Assistant {
                id: AssistantId::of_graph(&graph),
                graph_id: graph,
                config: JsonMap::new(),
                context: JsonMap::new(),
                created_at: DateTime::UNIX_EPOCH,
                updated_at: DateTime::UNIX_EPOCH,
                metadata: JsonMap::new(),
                version: 1,
                name: String::new(),
                description: None,
            },
            kwargs: RunKwargs {
                input: Some(Json::from_value(&json!({"messages": ["hi"]}))),
                ..RunKwargs::default()
            },
            metadata: JsonMap::new(),
            multitask_strategy: strategy,
            delay: TimeDelta::zero(),
            if_thread_missing: IfThreadMissing::Create,
            policy: PartialPolicy::default(),
            server_configurable: JsonMap::new(),
            thread_ttl: None,
        };
        let id = new.id;
        self.clock.advance(Duration::from_millis(1));
        let submission = self.port().submit_run(new).await.unwrap();
        assert!(matches!(submission, Submission::Accepted(..)));
        id
    }

    async fn claim(&self) -> Option<Claimed> {
        let claim = ClaimId::new();
        match self.port().claim(self.thread, self.worker, claim).await {
            Ok(ClaimReply::Claimed(claimed)) => Some(*claimed),
            _ => None,
        }
    }

    /// Executes one attempt and settles it.
    async fn play(&self, claimed: &Claimed) {
        let run = &claimed.run;
        let (_stop, stop) = watch::channel(None);
        let attempt = Attempt {
            run_id: run.id,
            thread_id: run.thread_id,
            assistant_id: run.assistant_id,
            graph_id: run.graph_id.clone(),
            attempt: run.attempt,
            kwargs: run.kwargs.clone(),
            metadata: JsonMap::new(),
            work: run.cancel.map_or(Work::Run, |_| Work::ApplyInput),
            stop,
        };
        let host = AttemptHost {
            db: self.db.clone(),
            thread: self.thread,
            guard: Guard::Attempt(claimed.lease.fence, run.id),
        };
        let outcome = self.executor.execute(attempt, Arc::new(host)).await;
        let settlement = Settlement {
            transit: match outcome.ended {
                Ended::Success => Transit::Succeed,
                Ended::Stopped => Transit::Interrupt,
                other => panic!("{other:?}"),
            },
            head: outcome.head,
            residue: None,
            output: None,
            interrupted_output: None,
        };
        self.clock.advance(Duration::from_millis(1));
        let settled = self.port().settle(&claimed.lease, settlement, None).await;
        settled.unwrap();
    }

    /// Works until nothing is left to do.
    async fn work(&self) {
        while let Some(claimed) = self.claim().await {
            self.play(&claimed).await;
        }
    }

    async fn dump(&self) -> Dump {
        Dump::of(self.port(), &[self.thread]).await
    }
}

/// What is known of a thread at rest: two plain runs, one that was interrupted before it began and
/// its successor, one that was rolled back.
struct AtRest {
    dump: ThreadDump,
    accepted: Vec<Accepted>,
    executions: Vec<Execution>,
}

impl AtRest {
    async fn played() -> Self {
        let scene = Scene::new().await;
        let mut ids = vec![
            scene.submit(MultitaskStrategy::Enqueue).await,
            scene.submit(MultitaskStrategy::Enqueue).await,
        ];
        scene.work().await;
        ids.push(scene.submit(MultitaskStrategy::Enqueue).await);
        ids.push(scene.submit(MultitaskStrategy::Interrupt).await);
        scene.work().await;
        ids.push(scene.submit(MultitaskStrategy::Enqueue).await);
        let cancel = CancelRequest {
            selection: CancelSelection::All,
            action: CancelAction::Rollback,
            reason: String::new(),
        };
        scene.port().cancel_runs(cancel).await.unwrap();
        let accepted = ids.into_iter().enumerate().map(|(place, id)| Accepted {
            id,
            may_be_gone: place == 4,
            keeps_input: true,
        });
        let mut threads = scene.dump().await.threads;
        Self {
            dump: threads.remove(&scene.thread).unwrap(),
            accepted: accepted.collect(),
            executions: scene.executor.history().executions(),
        }
    }

    fn verdict(&self) -> Result<(), &'static str> {
        let verdict = check_rest(&self.dump, &self.accepted, &self.executions);
        verdict.map_err(|violation| violation.invariant)
    }
}

#[tokio::test]
async fn what_was_played_keeps_the_invariants() {
    let rest = AtRest::played().await;
    assert_eq!(rest.verdict(), Ok(()));
    let statuses: Vec<_> = rest.dump.runs.iter().map(|run| run.status).collect();
    let expected = [
        RunStatus::Success,
        RunStatus::Interrupted,
        RunStatus::Success,
        RunStatus::Success,
    ];
    assert_eq!(statuses, expected);
    assert_eq!(rest.executions.len(), 4);
}

#[tokio::test]
async fn each_broken_invariant_is_noticed() {
    type Breakage = fn(&mut AtRest);
    let breakages: [(&str, Breakage); 10] = [
        ("I1", |rest| rest.dump.runs[0].status = RunStatus::Pending),
        ("I1", |rest| drop(rest.dump.runs.remove(0))),
        ("I2", |rest| rest.executions[0].ended = Some(100)),
        ("I2", |rest| rest.executions[3].ended = None),
        ("I3", |rest| {
            let root = rest.dump.checkpoints[2].checkpoint.id.clone();
            rest.dump.checkpoints[0].checkpoint.parent = Some(root);
        }),
        ("I3", |rest| {
            let first = rest.accepted[0].id;
            rest.dump.checkpoints[0].checkpoint.run_id = Some(first);
        }),
        ("I4", |rest| rest.accepted.swap(0, 1)),
        ("I5", |rest| {
            let discarded = rest.accepted[4].id;
            rest.dump.checkpoints[0].checkpoint.run_id = Some(discarded);
        }),
        ("I6", |rest| rest.dump.runs[1].status = RunStatus::Running),
        ("I9", |rest| rest.dump.thread.status = ThreadStatus::Busy),
    ];
    for (invariant, break_it) in breakages {
        let mut rest = AtRest::played().await;
        break_it(&mut rest);
        assert_eq!(rest.verdict(), Err(invariant));
    }
}

#[tokio::test]
async fn an_input_that_is_lost_or_doubled_is_noticed() {
    let mut rest = AtRest::played().await;
    let inputs: Vec<_> = (0..rest.dump.checkpoints.len())
        .filter(|place| rest.dump.checkpoints[*place].checkpoint.metadata["source"] == "input")
        .collect();
    assert_eq!(inputs.len(), 4, "the run that was superseded is among them");
    let metadata = &mut rest.dump.checkpoints[inputs[1]].checkpoint.metadata;
    metadata.insert("source".to_owned(), "loop".into());
    assert_eq!(rest.verdict(), Err("I7"));

    let mut rest = AtRest::played().await;
    let after = &mut rest.dump.checkpoints[inputs[0] - 1].checkpoint.metadata;
    after.insert("source".to_owned(), "input".into());
    assert_eq!(rest.verdict(), Err("I7"));
}

#[tokio::test]
async fn what_must_hold_at_every_step_is_noticed() {
    type Breakage = fn(&mut ThreadDump);
    let breakages: [(&str, Breakage); 4] = [
        ("I1", |dump| dump.runs[1].status = RunStatus::Error),
        ("I2", |dump| dump.runs[0].worker_id = Some(WorkerId::new())),
        ("I6", |dump| dump.runs[0].seq += 1),
        ("I9", |dump| dump.thread.status = ThreadStatus::Idle),
    ];
    for (invariant, break_it) in breakages {
        let scene = Scene::new().await;
        scene.submit(MultitaskStrategy::Enqueue).await;
        scene.work().await;
        scene.submit(MultitaskStrategy::Enqueue).await;
        let before = scene.dump().await;
        let mut after = before.clone();
        assert_eq!(check_step(&before, &after), Ok(()));
        break_it(after.threads.get_mut(&scene.thread).unwrap());
        let verdict = check_step(&before, &after);
        assert_eq!(verdict.map_err(|found| found.invariant), Err(invariant));
    }
    let nothing = Dump::default();
    assert_eq!(check_step(&nothing, &nothing), Ok(()));
}

#[test]
fn a_resumed_stream_has_exactly_the_rest() {
    let event = |number| Event {
        id: EventId { millis: 1, number },
        epoch: 1,
        name: "values".into(),
        data: "{}".into(),
    };
    let whole: Vec<_> = (0..5).map(event).collect();
    assert_eq!(check_resumed(&whole, &whole[1], &whole[2..]), Ok(()));
    for wrong in [&whole[1..], &whole[3..], &whole[2..4]] {
        let verdict = check_resumed(&whole, &whole[1], wrong);
        assert_eq!(verdict.map_err(|found| found.invariant), Err("I8"));
    }
}

#[test]
fn the_clock_of_a_test_stands_still() {
    let clock = ManualClock::new();
    let before = clock.now();
    clock.advance(Duration::from_secs(2));
    clock.step_back(Duration::from_secs(1));
    assert_eq!(clock.now(), before + TimeDelta::seconds(1));
}
