//! A bench: the model, a bus, and as many workers as a test wants.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use runloom_bus::LocalNotifier;
use runloom_core::assistant::Assistant;
use runloom_core::bus::Notifier;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple};
use runloom_core::clock::Clock;
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{CancelRequest, Checkpoints, Runs, Submission, Threads};
use runloom_core::effects::Effects;
use runloom_core::executor::Executor;
use runloom_core::ids::{AssistantId, RunId, ThreadId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::partial::PartialPolicy;
use runloom_core::registry::Registry;
use runloom_core::run::{CancelAction, MultitaskStrategy, Run, RunKwargs, RunStatus};
use runloom_core::search::{CancelSelection, Page, RunFilter};
use runloom_core::thread::Thread;
use runloom_testkit::doubles::{ScriptedExecutor, Step, TokioClock};
use runloom_testkit::history::History;
use runloom_testkit::memory::Memory;
use runloom_worker::{Config, Monotonic, Ports, Simulated, Worker};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checked_log::CheckedLog;
use crate::link::Link;

/// What tests work on.
pub(crate) struct Bench {
    pub(crate) memory: Arc<Memory>,
    pub(crate) notifier: Arc<dyn Notifier>,
    pub(crate) log: Arc<CheckedLog>,
    pub(crate) clock: Arc<TokioClock>,
}

/// A worker at work.
pub(crate) struct Hand {
    pub(crate) link: Arc<Link>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Hand {
    /// Asks the worker to shut down, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_notifier(Arc::new(LocalNotifier::new()))
    }

    pub(crate) fn with_notifier(notifier: Arc<dyn Notifier>) -> Self {
        let clock = Arc::new(TokioClock::start());
        let memory = Arc::new(Memory::new(clock.clone()));
        Self {
            log: CheckedLog::new(memory.clone()),
            memory,
            notifier,
            clock,
        }
    }

    /// A scripted executor of the graph `agent`.
    pub(crate) fn script(&self, script: impl IntoIterator<Item = Step>) -> ScriptedExecutor {
        let clock: Arc<dyn Clock> = self.clock.clone();
        ScriptedExecutor::new(clock).with("agent", script)
    }

    /// A worker with that graph only.
    pub(crate) fn scripted(&self, script: impl IntoIterator<Item = Step>) -> Hand {
        self.worker(Arc::new(self.script(script)))
    }

    pub(crate) fn worker(&self, executor: Arc<dyn Executor>) -> Hand {
        self.worker_with(executor, Config::default())
    }

    pub(crate) fn worker_with(&self, executor: Arc<dyn Executor>, config: Config) -> Hand {
        self.worker_at(executor, config, Arc::new(Simulated::new()))
    }

    /// A worker with a clock of its own.
    pub(crate) fn worker_at(
        &self,
        executor: Arc<dyn Executor>,
        config: Config,
        time: Arc<dyn Monotonic>,
    ) -> Hand {
        let link = Link::new(self.memory.clone());
        let ports = Ports {
            database: link.clone(),
            notifier: self.notifier.clone(),
            events: self.log.clone(),
            registry: Registry::new([executor]),
            time,
        };
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(Worker::new(config, ports).run(shutdown.clone()));
        Hand {
            link,
            shutdown,
            tasks,
        }
    }

    /// Submits a run of `agent` that says `text`, and tells everybody.
    pub(crate) async fn submit(
        &self,
        thread: ThreadId,
        text: &str,
        how: MultitaskStrategy,
    ) -> RunId {
        let (id, effects) = self.submit_silently(thread, text, how).await;
        effects.carry_out(&*self.notifier, &*self.log).await;
        id
    }

    pub(crate) async fn enqueue(&self, thread: ThreadId, text: &str) -> RunId {
        self.submit(thread, text, MultitaskStrategy::Enqueue).await
    }

    /// Submits a run and tells nobody.
    pub(crate) async fn submit_silently(
        &self,
        thread: ThreadId,
        text: &str,
        how: MultitaskStrategy,
    ) -> (RunId, Effects) {
        self.submit_new(new_run(thread, text, how)).await
    }

    pub(crate) async fn submit_new(&self, new: NewRun) -> (RunId, Effects) {
        match self.memory.submit_run(new).await.unwrap() {
            Submission::Accepted(run, effects) => (run.id, effects),
            Submission::Rejected => panic!("the run was refused"),
        }
    }

    /// Cancels a run, and tells everybody.
    pub(crate) async fn cancel(&self, thread: ThreadId, run: RunId, action: CancelAction) {
        let effects = self.cancel_silently(thread, run, action).await;
        effects.carry_out(&*self.notifier, &*self.log).await;
    }

    pub(crate) async fn cancel_silently(
        &self,
        thread: ThreadId,
        run: RunId,
        action: CancelAction,
    ) -> Effects {
        let request = CancelRequest {
            selection: CancelSelection::Runs(thread, vec![run]),
            action,
            reason: "a test".to_owned(),
        };
        self.memory.cancel_runs(request).await.unwrap().effects
    }

    pub(crate) async fn run(&self, run: RunId) -> Option<Run> {
        self.memory.run(None, run).await.unwrap()
    }

    /// Waits until the run is as `what` says. Looks again and again in simulated time, since all
    /// that could tell of it are hints, and tests take these away.
    pub(crate) async fn until(
        &self,
        run: RunId,
        what: impl Fn(Option<&Run>) -> bool,
    ) -> Option<Run> {
        let begun = Instant::now();
        loop {
            let run = self.run(run).await;
            if what(run.as_ref()) {
                return run;
            }
            assert!(begun.elapsed() < Duration::from_mins(10), "still {run:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the run is over, and its stream is, too.
    pub(crate) async fn ended(&self, run: RunId) -> Run {
        let run = self
            .until(run, |run| run.unwrap().status.is_terminal())
            .await
            .unwrap();
        self.told(run.id).await;
        run
    }

    /// Waits until the run's stream is over.
    pub(crate) async fn told(&self, run: RunId) {
        let begun = Instant::now();
        while self.log.ends(run) == 0 {
            assert!(
                begun.elapsed() < Duration::from_mins(1),
                "the stream never ended"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.log.check();
    }

    /// Waits until the run is executing.
    pub(crate) async fn running(&self, run: RunId) -> Run {
        let is_running = |run: Option<&Run>| run.unwrap().status == RunStatus::Running;
        self.until(run, is_running).await.unwrap()
    }

    /// Waits until the run has emitted `count` events.
    pub(crate) async fn emitted(&self, run: RunId, count: usize) {
        while self.log.events(run).len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn thread(&self, thread: ThreadId) -> Thread {
        self.memory.thread(thread).await.unwrap().unwrap()
    }

    /// The messages of the thread when its last run ended: who said what.
    pub(crate) async fn talk(&self, thread: ThreadId) -> Vec<(String, String)> {
        let values = self.thread(thread).await.values;
        said(&values.map_or(Value::Null, |values| values.to_value()))
    }

    /// All runs of the thread in the order of acceptance.
    pub(crate) async fn statuses(&self, thread: ThreadId) -> Vec<RunStatus> {
        let page = Page {
            limit: 1_000,
            offset: 0,
        };
        let runs = self
            .memory
            .runs(thread, RunFilter::default(), page)
            .await
            .unwrap();
        runs.iter().rev().map(|run| run.status).collect()
    }

    /// All checkpoints of the thread, newest first.
    pub(crate) async fn checkpoints(&self, thread: ThreadId) -> Vec<CheckpointTuple> {
        let query = CheckpointQuery::default();
        self.memory.checkpoints(thread, query).await.unwrap()
    }

    /// The names of the run's events, in order.
    pub(crate) fn event_names(&self, run: RunId) -> Vec<String> {
        let events = self.log.events(run).into_iter();
        events.map(|event| event.name.to_string()).collect()
    }
}

/// Who said what in `values`.
pub(crate) fn said(values: &Value) -> Vec<(String, String)> {
    let messages = values["messages"].as_array().cloned().unwrap_or_default();
    let line = |message: &Value| {
        let part = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        (part("type"), part("content"))
    };
    messages.iter().map(line).collect()
}

/// `lines` as [`said`] has them.
pub(crate) fn lines<const N: usize>(lines: [(&str, &str); N]) -> Vec<(String, String)> {
    lines
        .map(|(who, what)| (who.to_owned(), what.to_owned()))
        .to_vec()
}

/// A run that says `text`.
pub(crate) fn new_run(thread: ThreadId, text: &str, how: MultitaskStrategy) -> NewRun {
    let input = json!({"messages": [{"role": "user", "content": text}]});
    NewRun {
        id: RunId::new(),
        thread_id: thread,
        assistant: assistant(),
        kwargs: RunKwargs {
            input: Some(Json::from_value(&input)),
            ..RunKwargs::default()
        },
        metadata: JsonMap::new(),
        multitask_strategy: how,
        delay: TimeDelta::zero(),
        if_thread_missing: IfThreadMissing::Create,
        policy: PartialPolicy::default(),
        server_configurable: JsonMap::new(),
        thread_ttl: None,
    }
}

fn assistant() -> Assistant {
    let time = chrono::DateTime::UNIX_EPOCH;
    Assistant {
        id: AssistantId::of_graph(&"agent".into()),
        graph_id: "agent".into(),
        config: JsonMap::new(),
        context: JsonMap::new(),
        created_at: time,
        updated_at: time,
        metadata: JsonMap::new(),
        version: 1,
        name: "agent".to_owned(),
        description: None,
    }
}

/// What an agent answers, as a superstep.
pub(crate) fn answer(text: &str) -> Step {
    Step::Superstep(json!({"role": "ai", "content": text}))
}

/// Fails the test if two attempts executed on one thread at the same time.
pub(crate) fn assert_no_overlap(history: &History) {
    let executions = history.executions();
    for (place, first) in executions.iter().enumerate() {
        for second in &executions[place + 1..] {
            let apart = first.ended.is_some_and(|ended| ended < second.began);
            assert!(
                apart || first.thread_id != second.thread_id,
                "{first:?} beside {second:?}"
            );
        }
    }
}
