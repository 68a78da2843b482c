//! One thread, one agent, and a host that keeps what the agent does.

use std::sync::Arc;
use std::time::Duration;

use runloom_core::event::StreamMode;
use runloom_core::executor::{Attempt, Ended, Executor, StopKind, Work};
use runloom_core::ids::{AssistantId, GraphId, RunId, ThreadId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::run::RunKwargs;
use runloom_core::state::{StateQuery, ThreadState};
use runloom_graph::{CompiledGraph, GraphExecutor};
use runloom_testkit::doubles::{HostDouble, TokioClock};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

/// The name of the agent.
const AGENT: &str = "agent";

/// A thread of an agent.
pub(crate) struct Stage {
    executor: GraphExecutor,
    host: Arc<HostDouble>,
    thread: ThreadId,
}

impl Stage {
    pub(crate) fn new(agent: CompiledGraph) -> Self {
        let clock = Arc::new(TokioClock::start());
        let thread = ThreadId::new();
        Self {
            executor: GraphExecutor::new(clock.clone()).with(AGENT, agent),
            host: HostDouble::new(thread, clock),
            thread,
        }
    }

    /// A whole turn of the human who says `text`.
    pub(crate) async fn say(&self, text: &str) -> Ended {
        self.run(said(text)).await
    }

    /// The same, but somebody interrupts it after a while.
    pub(crate) async fn say_and_interrupt(&self, text: &str, after: Duration) -> Ended {
        let (stop, signal) = watch::channel(None);
        let attempt = self.attempt(said(text), signal);
        let interrupt = async {
            sleep(after).await;
            stop.send(Some(StopKind::Interrupt)).unwrap();
        };
        let (outcome, ()) =
            tokio::join!(self.executor.execute(attempt, self.host.clone()), interrupt);
        outcome.ended
    }

    /// Goes on where the last run stopped.
    pub(crate) async fn go_on(&self) -> Ended {
        self.run(RunKwargs::default()).await
    }

    /// Answers the question that the last run paused with.
    pub(crate) async fn resume(&self, answer: Value) -> Ended {
        let command = json!({"resume": answer});
        self.run(RunKwargs {
            command: Some(Json::from_value(&command)),
            ..RunKwargs::default()
        })
        .await
    }

    pub(crate) async fn run(&self, kwargs: RunKwargs) -> Ended {
        let (_stop, signal) = watch::channel(None);
        let attempt = self.attempt(kwargs, signal);
        self.executor
            .execute(attempt, self.host.clone())
            .await
            .ended
    }

    fn attempt(&self, kwargs: RunKwargs, stop: watch::Receiver<Option<StopKind>>) -> Attempt {
        let graph_id = GraphId::from(AGENT);
        Attempt {
            run_id: RunId::new(),
            thread_id: self.thread,
            assistant_id: AssistantId::of_graph(&graph_id),
            graph_id,
            attempt: 1,
            kwargs,
            metadata: JsonMap::new(),
            work: Work::Run,
            stop,
        }
    }

    pub(crate) async fn state(&self) -> ThreadState {
        let query = StateQuery {
            thread_id: self.thread,
            ns: String::new(),
            checkpoint_id: None,
            subgraphs: false,
        };
        let state = self
            .executor
            .state(&AGENT.into(), query, self.host.clone())
            .await;
        state.unwrap().unwrap()
    }

    /// The messages of the thread.
    pub(crate) async fn messages(&self) -> Vec<Value> {
        let values = self.state().await.values.to_value();
        values["messages"].as_array().unwrap().clone()
    }

    /// What was shown of answers in the making, in order.
    pub(crate) fn heard(&self) -> Vec<String> {
        let said = self
            .host
            .emitted()
            .into_iter()
            .filter_map(|event| event.said);
        said.map(|said| said.text).collect()
    }
}

/// What a human says, while somebody listens.
pub(crate) fn said(text: &str) -> RunKwargs {
    let input = json!({"messages": [{"role": "human", "content": text}]});
    RunKwargs {
        input: Some(Json::from_value(&input)),
        stream_mode: vec![StreamMode::Messages],
        ..RunKwargs::default()
    }
}

/// The types of messages.
pub(crate) fn types(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["type"].as_str().unwrap())
        .collect()
}
