//! What every test sits on: a thread with a host, and graphs that run on it.

use std::sync::Arc;
use std::time::Duration;

use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple};
use runloom_core::event::StreamMode;
use runloom_core::executor::{Attempt, Ended, Executor, Outcome, StopKind, Work};
use runloom_core::ids::{AssistantId, GraphId, RunId, ThreadId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::run::{Durability, RunKwargs};
use runloom_core::state::{HistoryQuery, StateQuery, ThreadState};
use runloom_graph::{CompiledGraph, GraphExecutor};
use runloom_testkit::doubles::{HostCall, HostDouble, TokioClock};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cut::CutHost;

/// A thread, its host and an executor with one graph, `g`.
pub(crate) struct Bench {
    pub(crate) host: Arc<HostDouble>,
    pub(crate) executor: Arc<GraphExecutor>,
    pub(crate) thread: ThreadId,
}

/// A run as a test describes it.
pub(crate) struct Request {
    pub(crate) kwargs: RunKwargs,
    pub(crate) run_id: RunId,
    pub(crate) attempt: u32,
    pub(crate) work: Work,
    pub(crate) stop: watch::Receiver<Option<StopKind>>,
    /// Keeps the signal alive.
    pub(crate) stopper: Arc<watch::Sender<Option<StopKind>>>,
}

impl Bench {
    pub(crate) fn new(graph: CompiledGraph) -> Self {
        Self::with(|executor| executor.with("g", graph))
    }

    pub(crate) fn with(build: impl FnOnce(GraphExecutor) -> GraphExecutor) -> Self {
        let clock = Arc::new(TokioClock::start());
        let thread = ThreadId::new();
        Self {
            host: HostDouble::new(thread, clock.clone()),
            executor: Arc::new(build(GraphExecutor::new(clock))),
            thread,
        }
    }

    /// The attempt that `request` stands for.
    pub(crate) fn attempt(&self, request: &Request) -> Attempt {
        Attempt {
            run_id: request.run_id,
            thread_id: self.thread,
            assistant_id: AssistantId::of_graph(&"g".into()),
            graph_id: GraphId("g".to_owned()),
            attempt: request.attempt,
            kwargs: request.kwargs.clone(),
            metadata: JsonMap::new(),
            work: request.work,
            stop: request.stop.clone(),
        }
    }

    /// Runs to the end.
    pub(crate) async fn run(&self, request: &Request) -> Outcome {
        let attempt = self.attempt(request);
        self.executor.execute(attempt, self.host.clone()).await
    }

    /// Runs until something was stored for the `count`-th time, and abandons the attempt before it
    /// hears of that. `false` if it ended before.
    pub(crate) async fn run_until_put(&self, request: &Request, count: usize) -> bool {
        let host = CutHost::new(self.host.clone(), count);
        let attempt = self.attempt(request);
        tokio::select! {
            biased;
            () = host.cut.cancelled() => true,
            _ = self.executor.execute(attempt, host.clone()) => false,
        }
    }

    /// Runs in the background.
    pub(crate) fn spawn(&self, request: &Request) -> tokio::task::JoinHandle<Outcome> {
        let (attempt, host) = (self.attempt(request), self.host.clone());
        let executor = self.executor.clone();
        let handle = tokio::runtime::Handle::current();
        handle.spawn(async move { executor.execute(attempt, host).await })
    }

    /// Runs with `input` and expects success.
    pub(crate) async fn succeed(&self, input: Value) -> Value {
        let outcome = self.run(&Request::input(input)).await;
        assert_eq!(outcome.ended, Ended::Success);
        outcome.head.unwrap().values.to_value()
    }

    /// The names and data of all events so far, namespaces joined to the names as on the wire.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        let events = self.host.emitted().into_iter().map(|event| {
            let name = std::iter::once(event.event.to_owned()).chain(event.ns);
            let name: Vec<_> = name.collect();
            (name.join("|"), serde_json::from_slice(&event.data).unwrap())
        });
        events.collect()
    }

    /// The data of the events called `name`.
    pub(crate) fn events_named(&self, name: &str) -> Vec<Value> {
        let events = self.events().into_iter();
        events
            .filter(|(event, _)| event == name)
            .map(|(_, data)| data)
            .collect()
    }

    pub(crate) async fn state(&self) -> ThreadState {
        self.state_with(false).await
    }

    pub(crate) async fn state_with(&self, subgraphs: bool) -> ThreadState {
        let query = StateQuery {
            thread_id: self.thread,
            ns: String::new(),
            checkpoint_id: None,
            subgraphs,
        };
        let state = self
            .executor
            .state(&"g".into(), query, self.host.clone())
            .await;
        state.unwrap().unwrap_or_else(ThreadState::empty)
    }

    pub(crate) async fn history(&self) -> Vec<ThreadState> {
        let query = HistoryQuery {
            thread_id: self.thread,
            ns: String::new(),
            checkpoint_id: None,
            before: None,
            metadata: JsonMap::new(),
            limit: 1000,
        };
        let history = self
            .executor
            .history(&"g".into(), query, self.host.clone())
            .await;
        history.unwrap()
    }

    /// The stored checkpoints of the root graph, oldest first.
    pub(crate) fn stored(&self) -> Vec<CheckpointTuple> {
        let query = CheckpointQuery {
            ns: Some(String::new()),
            ..CheckpointQuery::default()
        };
        let mut stored = self.host.stored(&query);
        stored.reverse();
        stored
    }

    /// `source step` of the stored checkpoints of the root graph, oldest first.
    pub(crate) fn steps(&self) -> Vec<String> {
        let step = |tuple: &CheckpointTuple| {
            let metadata = &tuple.checkpoint.metadata;
            format!(
                "{} {}",
                metadata["source"].as_str().unwrap(),
                metadata["step"]
            )
        };
        self.stored().iter().map(step).collect()
    }

    /// How often something was stored.
    pub(crate) fn puts(&self) -> usize {
        let calls = self.host.calls();
        calls
            .iter()
            .filter(|call| !matches!(call, HostCall::Emit(_)))
            .count()
    }
}

impl Request {
    fn of(kwargs: RunKwargs) -> Self {
        let (stopper, stop) = watch::channel(None);
        Self {
            kwargs,
            run_id: RunId::new(),
            attempt: 1,
            work: Work::Run,
            stop,
            stopper: Arc::new(stopper),
        }
    }

    pub(crate) fn input(input: Value) -> Self {
        Self::of(RunKwargs {
            input: Some(Json::from_value(&input)),
            stream_mode: vec![StreamMode::Values],
            ..RunKwargs::default()
        })
    }

    /// Continues where the thread stands.
    pub(crate) fn resume() -> Self {
        Self::of(RunKwargs {
            stream_mode: vec![StreamMode::Values],
            ..RunKwargs::default()
        })
    }

    pub(crate) fn command(command: Value) -> Self {
        let mut request = Self::resume();
        request.kwargs.command = Some(Json::from_value(&command));
        request
    }

    pub(crate) fn modes(mut self, modes: &[StreamMode]) -> Self {
        self.kwargs.stream_mode = modes.to_vec();
        self
    }

    pub(crate) fn durability(mut self, durability: Durability) -> Self {
        self.kwargs.durability = durability;
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut RunKwargs)) -> Self {
        change(&mut self.kwargs);
        self
    }

    /// From the checkpoint `id`.
    pub(crate) fn at_checkpoint(self, id: &str) -> Self {
        let id = id.to_owned();
        self.with(|kwargs| {
            let configurable = json!({"checkpoint_id": id});
            kwargs
                .config
                .insert("configurable".to_owned(), configurable);
        })
    }

    /// The next attempt of the same run.
    pub(crate) fn again(&self) -> Self {
        let fresh = Self::of(self.kwargs.clone());
        Self {
            run_id: self.run_id,
            attempt: self.attempt + 1,
            ..fresh
        }
    }

    pub(crate) fn stop(&self, kind: StopKind) {
        self.stopper.send_replace(Some(kind));
    }

    /// Asks it to stop after some time.
    pub(crate) fn stop_after(&self, time: Duration, kind: StopKind) -> tokio::task::JoinHandle<()> {
        let stopper = self.stopper.clone();
        tokio::runtime::Handle::current().spawn(async move {
            tokio::time::sleep(time).await;
            stopper.send_replace(Some(kind));
        })
    }
}

/// `ms` milliseconds.
pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The outcome as a short word.
pub(crate) fn word(outcome: &Outcome) -> String {
    match &outcome.ended {
        Ended::Success => "success".to_owned(),
        Ended::Paused => "paused".to_owned(),
        Ended::Stopped => "stopped".to_owned(),
        Ended::Drained => "drained".to_owned(),
        Ended::Evicted => "evicted".to_owned(),
        Ended::Failed(error) => format!("failed {}", error.error),
        Ended::Retry(error) => format!("retry {}", error.error),
    }
}
