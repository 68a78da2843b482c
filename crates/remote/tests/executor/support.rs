//! A project in Python, its processes, and runs in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runloom_core::event::StreamMode;
use runloom_core::executor::{Attempt, Emission, Executor, Host, Outcome, StopKind, Work};
use runloom_core::ids::{AssistantId, GraphId, RunId, ThreadId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::run::RunKwargs;
use runloom_remote::executor::{Config, RemoteExecutor};
use runloom_remote::pool::PoolConfig;
use runloom_remote::project::{Overrides, Project};
use runloom_testkit::doubles::{HostDouble, TokioClock};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything takes, on any machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// A file that graphs wait for.
pub(crate) struct Gate(TempDir);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn open() -> Self {
        let gate = Self::closed();
        gate.let_through();
        gate
    }

    pub(crate) fn let_through(&self) {
        std::fs::write(self.path(), "").unwrap();
    }

    /// Waits until a graph has opened it.
    pub(crate) async fn opened(&self) {
        until("the file was never made", || self.path().exists()).await;
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("open")
    }
}

/// The project beside these tests.
pub(crate) async fn project() -> Arc<Project> {
    project_in(&beside()).await
}

/// A project in a folder, which the interpreter of the project beside these tests runs.
pub(crate) async fn project_in(folder: &Path) -> Arc<Project> {
    let own = beside();
    let venv = own.ancestors().map(|folder| folder.join(".venv"));
    let venv = venv.into_iter().find(|venv| venv.is_dir());
    let overrides = Overrides {
        python: python().or(venv),
        ..Overrides::default()
    };
    let read = Project::read(&folder.join("langgraph.json"), &overrides).await;
    let (project, _) = read.unwrap_or_else(|error| {
        panic!("{error}\nThese tests need a Python with langgraph: scripts/venv.sh makes one")
    });
    Arc::new(project)
}

fn beside() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/executor/agents")
}

fn python() -> Option<PathBuf> {
    std::env::var_os("RUNLOOM_TEST_PYTHON").map(PathBuf::from)
}

pub(crate) async fn executor() -> Arc<RemoteExecutor> {
    executor_with(PoolConfig::default(), Duration::from_secs(20)).await
}

pub(crate) async fn executor_with(pool: PoolConfig, grace: Duration) -> Arc<RemoteExecutor> {
    let config = Config {
        pool,
        grace,
        ..Config::default()
    };
    RemoteExecutor::start(project().await, config)
        .await
        .unwrap()
}

/// A thread with its host.
#[derive(Clone)]
pub(crate) struct Thread {
    pub(crate) id: ThreadId,
    pub(crate) host: Arc<HostDouble>,
}

impl Thread {
    pub(crate) fn new() -> Self {
        let id = ThreadId::new();
        let host = HostDouble::new(id, Arc::new(TokioClock::start()));
        Self { id, host }
    }

    /// Data of the events that were published under this name.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        let emitted = self.host.emitted().into_iter();
        let data = |event: Emission| serde_json::from_slice(&event.data).unwrap();
        emitted
            .filter(|event| event.event == name)
            .map(data)
            .collect()
    }

    /// Waits until an event of this name was published.
    pub(crate) async fn heard(&self, name: &str) {
        until("the event never came", || !self.events(name).is_empty()).await;
    }
}

/// A run that is about to be executed, again and again if need be.
pub(crate) struct Run {
    pub(crate) attempt: Attempt,
    pub(crate) stop: Arc<watch::Sender<Option<StopKind>>>,
    pub(crate) thread: Thread,
}

impl Run {
    pub(crate) fn of(graph: &str, thread: &Thread, input: &Value) -> Self {
        let (stop, heard) = watch::channel(None);
        let run_id = RunId::new();
        let graph_id = GraphId(graph.to_owned());
        let metadata = json!({"run_id": run_id.to_string(), "user": "ann"});
        let attempt = Attempt {
            run_id,
            thread_id: thread.id,
            assistant_id: AssistantId::of_graph(&graph_id),
            graph_id,
            attempt: 1,
            kwargs: RunKwargs {
                input: Some(Json::from_value(input)),
                config: as_map(json!({"configurable": {"thread_id": thread.id.to_string()}})),
                stream_mode: vec![
                    StreamMode::Values,
                    StreamMode::MessagesTuple,
                    StreamMode::Custom,
                ],
                ..RunKwargs::default()
            },
            metadata: as_map(metadata),
            work: Work::Run,
            stop: heard,
        };
        Self {
            attempt,
            stop: Arc::new(stop),
            thread: thread.clone(),
        }
    }

    /// Of the graph that waits at `gate` between its two steps.
    pub(crate) fn steps(thread: &Thread, gate: &Gate, entries: &[&str]) -> Self {
        let input = json!({"entries": entries, "path": gate.path()});
        Self::of("steps", thread, &input)
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Attempt)) -> Self {
        change(&mut self.attempt);
        self
    }

    pub(crate) fn ask_to_stop(&self, kind: StopKind) {
        self.stop.send_replace(Some(kind));
    }

    /// Executes it to its end.
    pub(crate) async fn execute(&self, executor: &Arc<RemoteExecutor>) -> Outcome {
        ended(self.start(executor)).await
    }

    /// Executes it meanwhile.
    pub(crate) fn start(&self, executor: &Arc<RemoteExecutor>) -> JoinHandle<Outcome> {
        let executor = executor.clone();
        let attempt = self.attempt.clone();
        let host: Arc<dyn Host> = self.thread.host.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "the test waits for it, or ends it"
        )]
        tokio::spawn(async move { executor.execute(attempt, host).await })
    }
}

pub(crate) async fn ended(run: JoinHandle<Outcome>) -> Outcome {
    timeout(LIMIT, run)
        .await
        .expect("the run never ended")
        .unwrap()
}

pub(crate) fn as_map(value: Value) -> JsonMap {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

pub(crate) fn values(outcome: &Outcome) -> Value {
    let head = outcome.head.as_ref().expect("a head");
    head.values.to_value()
}

async fn until(problem: &str, is_true: impl Fn() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, waiting).await.expect(problem);
}
