//! A project in Python, served by the product as its users start it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use runloom_testkit::services::Port;
use runloom_tests::http::Http;
use runloom_tests::process::Role;
use runloom_tests::product;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

/// How long anything may take: processes load their graphs beside all other tests.
const PATIENCE: Duration = Duration::from_secs(90);

/// Answers with the word of another module and its process, at once or when there is a file.
const AGENT: &str = r#"
import asyncio, os, pathlib
from typing import Annotated, TypedDict
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from words import WORD

HERE = pathlib.Path(__file__).parent

class State(TypedDict):
    messages: Annotated[list, add_messages]

async def answer(state):
    if state["messages"][-1].content == "wait":
        (HERE / "waits").touch()
        while not (HERE / "gate").exists():
            await asyncio.sleep(0.05)
    return {"messages": [("ai", f"{WORD} {os.environ['SETTING']} {os.getpid()}")]}

builder = StateGraph(State).add_node("answer", answer)
graph = builder.add_edge(START, "answer").add_edge("answer", END).compile()
"#;

/// A project, and the product that serves it.
struct Site {
    folder: TempDir,
    role: Role,
    http: Http,
    /// Keeps other tests away from it.
    _port: Port,
}

impl Site {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (port, python) = (Port::choose(), python());
        let config = folder.path().join("langgraph.json");
        let mut words = vec!["dev".to_owned(), "--memory".to_owned()];
        words.extend(["--port".to_owned(), port.to_string()]);
        words.extend(["--config".to_owned(), config.display().to_string()]);
        words.extend(["--python".to_owned(), python.display().to_string()]);
        let role = Role::new("dev", &product::binary(), &words, folder.path());
        let http = Http::new(vec![format!("http://127.0.0.1:{port}")]);
        let mut site = Self {
            folder,
            role,
            http,
            _port: port,
        };
        site.write("agent.py", AGENT);
        site.write("words.py", "WORD = 'one'\n");
        site.write(".env", "SETTING=first\n");
        site.graphs(&["agent"]);
        site.role.start();
        let ready = async || matches!(site.http.ask(0, "/ok", None).await, Ok((200, _)));
        until(ready, "a server that answers").await;
        site
    }

    fn write(&self, name: &str, text: &str) {
        // As editors do: nobody finds half a file.
        let (path, new) = (self.path(name), self.path("new"));
        std::fs::write(&new, text).expect("the file can be written");
        std::fs::rename(new, path).expect("the file can be renamed");
    }

    /// The project serves the same graph under all of these names.
    fn graphs(&self, names: &[&str]) {
        let graphs = names
            .iter()
            .map(|name| (name.to_string(), "./agent.py:graph".into()));
        let graphs: serde_json::Map<String, Value> = graphs.collect();
        let file = json!({"dependencies": ["."], "graphs": graphs, "env": ".env"});
        self.write("langgraph.json", &file.to_string());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn thread(&self) -> String {
        let thread = self.http.insist("/threads", Some(&json!({}))).await;
        let id = thread.expect("a thread")["thread_id"].clone();
        id.as_str().expect("an id").to_owned()
    }

    /// Starts a run. Answers with its thread.
    async fn run(&self, graph: &str, text: &str) -> String {
        let thread = self.thread().await;
        let run = json!({
            "assistant_id": graph,
            "input": {"messages": [{"role": "human", "content": text}]},
        });
        let path = format!("/threads/{thread}/runs");
        let (status, run) = self
            .http
            .ask(0, &path, Some(&run))
            .await
            .expect("an answer");
        assert_eq!(status, 200, "{run}");
        thread
    }

    /// The word, the setting and the process that answered, once the thread has an answer.
    async fn answer(&self, thread: &str) -> [String; 3] {
        let started = Instant::now();
        loop {
            let path = format!("/threads/{thread}/state");
            let state = self.http.insist(&path, None).await.expect("a state");
            let last = &state["values"]["messages"][1]["content"];
            if let Some(said) = last.as_str() {
                let parts: Vec<_> = said.split(' ').map(str::to_owned).collect();
                return parts.try_into().expect("three words");
            }
            assert!(
                started.elapsed() < PATIENCE,
                "no answer: {state}\n{}",
                self.log()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn asked(&self, graph: &str) -> [String; 3] {
        self.answer(&self.run(graph, "now").await).await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.role.log()).expect("a log")
    }
}

/// The interpreter to test with: it has langgraph.
fn python() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv");
    std::env::var_os("RUNLOOM_TEST_PYTHON").map_or_else(own, PathBuf::from)
}

async fn until(mut done: impl AsyncFnMut() -> bool, what: &str) {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < PATIENCE, "no {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn is_there(process: &str) -> bool {
    // One that nobody has waited for yet is gone all the same.
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

#[tokio::test]
async fn a_project_follows_its_files_and_runs_in_flight_end_where_they_are() {
    let site = Site::start().await;
    let waiting = site.run("agent", "wait").await;
    until(async || site.path("waits").exists(), "run that waits").await;

    site.write("words.py", "WORD = 'two'\n");
    site.write(".env", "SETTING=second\n");
    site.graphs(&["agent", "more"]);
    let is_new = async || {
        let found = site
            .http
            .ask(0, "/assistants/search", Some(&json!({})))
            .await;
        let found = found.map(|(_, assistants)| assistants.to_string());
        found.is_ok_and(|assistants| assistants.contains(r#""more""#))
    };
    until(is_new, "new graph").await;
    let [word, setting, newer] = site.asked("more").await;
    assert_eq!([word, setting], ["two", "second"]);

    site.write("gate", "");
    let [word, setting, older] = site.answer(&waiting).await;
    assert_eq!([word, setting], ["one", "first"]);
    until(async || !is_there(&older), "end of the old process").await;

    // What cannot be read changes nothing.
    site.write("langgraph.json", "{");
    let told = async || site.log().contains("the project goes on as it was before");
    until(told, "word about a file that cannot be read").await;
    assert_eq!(site.asked("agent").await[0], "two");
    site.graphs(&["agent"]);
    site.write("words.py", "WORD = 'three'\n");
    until(
        async || site.asked("agent").await[0] == "three",
        "repaired project",
    )
    .await;

    let [.., process] = site.asked("agent").await;
    site.role.signal(Signal::INT);
    let mut role = site.role;
    until(async || !role.is_running(), "end").await;
    until(
        async || !is_there(&process) && !is_there(&newer),
        "end of processes",
    )
    .await;
}

#[tokio::test]
async fn what_a_project_asks_for_in_vain_keeps_it_from_starting() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("langgraph.json");
    let file = json!({
        "graphs": {"agent": "./agent.py"},
        "auth": {"path": "./auth.py:auth"},
        "store": {"index": {"embed": "openai:small", "dims": 3}},
    });
    std::fs::write(&config, file.to_string()).expect("the file can be written");
    let mut dev = Command::new(product::binary());
    dev.args(["dev", "--memory", "--port", "0", "--config"])
        .arg(&config);
    let output = dev
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("it can be started");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    for named in [
        "graphs.agent: `./agent.py` does not say",
        "auth: ",
        "store.index: ",
    ] {
        assert!(said.contains(named), "{named} in {said}");
    }
}
