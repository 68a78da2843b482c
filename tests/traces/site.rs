//! The product as its users start it: alone, on many machines, with a project in Python.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use runloom_testkit::services::{Port, nats, postgres};
use runloom_tests::process::Role;
use runloom_tests::product;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

/// How long anything may take: processes start beside all other tests.
const PATIENCE: Duration = Duration::from_secs(90);

/// Two nodes that say where OpenTelemetry sees them.
const AGENT: &str = r#"
import operator
from typing import Annotated, TypedDict
from langgraph.graph import END, START, StateGraph
from opentelemetry import trace

class State(TypedDict):
    seen: Annotated[list, operator.add]

def here():
    print("a line of the graph")
    place = trace.get_current_span().get_span_context()
    return {"seen": [f"{place.trace_id:032x} {place.span_id:016x}"]}

async def waiting(state):
    return here()

def blocking(state):
    return here()

builder = StateGraph(State).add_node("waiting", waiting).add_node("blocking", blocking)
builder.add_edge(START, "waiting").add_edge("waiting", "blocking").add_edge("blocking", END)
graph = builder.compile()
"#;

/// Processes of the product.
pub(crate) struct Site {
    roles: Vec<Role>,
    url: String,
    client: reqwest::Client,
    /// Where the logs are.
    _folder: TempDir,
    /// A worker that is not needed yet.
    relief: Option<Role>,
    /// What they serve.
    project: Option<TempDir>,
    /// What the processes stand on.
    _servers: Option<(postgres::Server, nats::Server)>,
    /// Keeps other tests away from it.
    _port: Port,
}

impl Site {
    /// One process, which sends traces to `receiver`.
    pub(crate) async fn alone(receiver: &str) -> Self {
        Self::dev(&["--test-graphs", "--otlp-endpoint", receiver]).await
    }

    /// One process that sends no traces.
    pub(crate) async fn silent() -> Self {
        Self::dev(&["--test-graphs"]).await
    }

    /// One process that sends no traces and logs whatever it does.
    pub(crate) async fn chatty() -> Self {
        Self::dev(&["--test-graphs", "--log", "runloom=debug,info"]).await
    }

    /// One process that serves a project in Python.
    pub(crate) async fn of_python(receiver: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = json!({"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}});
        let write = |name, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("the file can be written");
        };
        write("agent.py", AGENT);
        write("langgraph.json", &config.to_string());
        let config = folder.path().join("langgraph.json").display().to_string();
        let python = python().display().to_string();
        let own = [
            "--config",
            &config,
            "--python",
            &python,
            "--otlp-endpoint",
            receiver,
        ];
        let mut site = Self::dev(&own).await;
        site.project = Some(folder);
        site
    }

    async fn dev(own: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = Port::choose();
        let number = port.to_string();
        let mut words = vec!["dev", "--memory", "--log-format", "json", "--port", &number];
        words.extend(own);
        let role = role("dev", &words, &folder);
        Self::of(vec![role], port, folder, None).await
    }

    /// A gateway and a worker on Postgres and NATS, which send traces to `receiver`.
    pub(crate) async fn many(receiver: &str) -> Self {
        let nats = nats::Server::start(nats::Version::Newest).await;
        let postgres = postgres::Server::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let port = Port::choose();
        let (database, bus, number) = (postgres.url(), nats.url(), port.to_string());
        let both = [
            "--database-url",
            &database,
            "--nats-url",
            &bus,
            "--test-graphs",
        ];
        let logs = ["--log-format", "json", "--otlp-endpoint", receiver];
        let words = |own: &[&'static str]| [own, &both, &logs].concat();
        let gateway = [&words(&["gateway", "--migrate"])[..], &["--port", &number]].concat();
        let gateway = role("gateway", &gateway, &folder);
        let words = words(&["worker", "--lease", "2"]);
        let worker = role("worker", &words, &folder);
        let relief = role("relief", &words, &folder);
        let mut site = Self::of(vec![gateway, worker], port, folder, Some((postgres, nats))).await;
        site.relief = Some(relief);
        site
    }

    async fn of(
        roles: Vec<Role>,
        port: Port,
        folder: TempDir,
        servers: Option<(postgres::Server, nats::Server)>,
    ) -> Self {
        let mut site = Self {
            roles,
            url: format!("http://127.0.0.1:{port}"),
            client: reqwest::Client::new(),
            _folder: folder,
            project: None,
            relief: None,
            _servers: servers,
            _port: port,
        };
        for role in &mut site.roles {
            role.start();
            // The first of them makes what the others stand on.
            let ready = async || {
                site.client
                    .get(format!("{}/ok", site.url))
                    .send()
                    .await
                    .is_ok()
            };
            until(ready, "a server that answers").await;
        }
        site
    }

    /// Answers with status and JSON.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &Value,
        parent: Option<&str>,
    ) -> (u16, Value) {
        let mut request = self.client.post(format!("{}{path}", self.url)).json(body);
        if let Some(parent) = parent {
            request = request.header("traceparent", parent);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await;
        let text = answer.expect("an answer").text().await.expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }

    pub(crate) async fn thread(&self) -> String {
        let (_, thread) = self.post("/threads", &json!({}), None).await;
        thread["thread_id"].as_str().expect("an id").to_owned()
    }

    /// What was said on a thread.
    pub(crate) async fn said(&self, thread: &str) -> Vec<String> {
        let state = self.get(&format!("/threads/{thread}/state")).await;
        let messages = state["values"]["messages"].as_array().cloned();
        let texts = messages.into_iter().flatten();
        texts
            .map(|message| message["content"].to_string())
            .collect()
    }

    /// Starts another worker and takes away the one that there is, by a signal.
    pub(crate) fn relieve(&mut self, signal: Signal) {
        let mut relief = self.relief.take().expect("many machines");
        relief.start();
        self.roles.last().expect("a worker").signal(signal);
        self.roles.push(relief);
    }

    /// Stops all processes as their users do, and waits for it.
    pub(crate) async fn stop(&mut self) {
        for role in &mut self.roles {
            role.signal(Signal::TERM);
            let begun = Instant::now();
            while role.is_running() {
                assert!(begun.elapsed() < PATIENCE, "{} does not stop", role.name);
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// What all processes logged.
    pub(crate) fn log(&self) -> String {
        let logs = self
            .roles
            .iter()
            .map(|role| std::fs::read_to_string(role.log()));
        logs.map(|log| log.expect("a log")).collect()
    }
}

fn role(name: &str, words: &[&str], folder: &TempDir) -> Role {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    // Spans are sent often, so that nobody has to wait for them.
    let environment = ["env", "OTEL_BSP_SCHEDULE_DELAY=100"].map(str::to_owned);
    Role::new(name, &product::binary(), &words, folder.path()).by(&environment)
}

/// The interpreter that has LangGraph.
fn python() -> PathBuf {
    let given = std::env::var_os("RUNLOOM_TEST_PYTHON").map(PathBuf::from);
    given.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python"))
}

/// A run of the graph `slow`, of three steps that take `delay` seconds each.
pub(crate) fn slow(delay: f64, strategy: &str) -> Value {
    json!({
        "assistant_id": "slow",
        "multitask_strategy": strategy,
        "input": {"delay": delay, "messages": [{"role": "human", "content": "a"}]},
    })
}

/// Waits until `condition` holds. It is about other processes, so it can only be looked at.
pub(crate) async fn until(condition: impl AsyncFn() -> bool, what: &str) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "no {what} in time");
        sleep(Duration::from_millis(20)).await;
    }
}
