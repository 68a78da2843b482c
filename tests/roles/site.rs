//! Gateways and workers as processes, on servers of the test's own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use runloom_testkit::services::{Port, nats, postgres};
use runloom_tests::http::Http;
use runloom_tests::process::Role;
use runloom_tests::product;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

/// The lease of the workers, in seconds.
pub(crate) const LEASE: u64 = 2;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Two gateways, and the workers that a test starts.
pub(crate) struct Site {
    pub(crate) postgres: postgres::Server,
    pub(crate) nats: nats::Server,
    pub(crate) http: Http,
    gateways: Vec<(Role, Port)>,
    binary: PathBuf,
    folder: TempDir,
    workers: usize,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let nats = nats::Server::start(nats::Version::Newest).await;
        let mut site = Self {
            postgres: postgres::Server::start().await,
            nats,
            http: Http::new(Vec::new()),
            gateways: Vec::new(),
            binary: product::binary(),
            folder: tempfile::tempdir().expect("a folder"),
            workers: 0,
        };
        for name in ["a", "b"] {
            let port = Port::choose();
            let number = port.to_string();
            let mut gateway = site.role(name, "gateway", &["--migrate", "--port", &number]);
            gateway.start();
            site.gateways.push((gateway, port));
        }
        let urls = site.gateways.iter();
        let urls = urls
            .map(|(_, port)| format!("http://127.0.0.1:{port}"))
            .collect();
        site.http = Http::new(urls);
        for gateway in 0..2 {
            let ready = async || site.get(gateway, "/ok?check_db=1").await.0 == 200;
            until(ready, "a gateway that answers").await;
        }
        site
    }

    /// A role of the product that is not started yet.
    pub(crate) fn role(&self, name: &str, role: &str, own: &[&str]) -> Role {
        let (database, nats, lease) = (self.postgres.url(), self.nats.url(), LEASE.to_string());
        let mut words = vec![role, "--database-url", &database, "--nats-url", &nats];
        words.extend(["--test-graphs", "--lease", &lease]);
        if !own.contains(&"--drain-budget") {
            words.extend(["--drain-budget", "5"]);
        }
        words.extend(own);
        let words: Vec<_> = words.into_iter().map(str::to_owned).collect();
        Role::new(name, &self.binary, &words, self.folder.path())
    }

    /// Starts one more worker.
    pub(crate) fn worker(&mut self) -> Role {
        self.workers += 1;
        let mut worker = self.role(&format!("worker-{}", self.workers), "worker", &[]);
        worker.start();
        worker
    }

    pub(crate) async fn get(&self, gateway: usize, path: &str) -> (u16, Value) {
        self.http.ask(gateway, path, None).await.unwrap_or_default()
    }

    pub(crate) async fn thread(&self) -> String {
        let thread = self.http.insist("/threads", Some(&json!({}))).await;
        let id = thread.expect("a thread")["thread_id"].clone();
        id.as_str().expect("an id").to_owned()
    }

    /// Starts the graph `slow`, of three steps that take `delay` seconds each. Answers with the run's
    /// path.
    pub(crate) async fn run(&self, gateway: usize, thread: &str, delay: f64) -> String {
        let path = format!("/threads/{thread}/runs");
        let run = self.http.ask(gateway, &path, Some(&slow(delay))).await;
        let (status, run) = run.expect("an answer");
        assert_eq!(status, 200, "{run}");
        format!("{path}/{}", run["run_id"].as_str().expect("an id"))
    }

    /// What was said on a thread.
    pub(crate) async fn said(&self, thread: &str) -> Vec<String> {
        let path = format!("/threads/{thread}/state");
        let state = self.http.insist(&path, None).await;
        contents(&state.expect("an answer")["values"])
    }

    pub(crate) async fn says(&self, thread: &str, word: &str) {
        let said = async || self.said(thread).await.iter().any(|said| said == word);
        until(said, word).await;
    }

    /// Waits until the run has succeeded.
    pub(crate) async fn succeeds(&self, run: &str) {
        let status = async || self.get(1, run).await.1["status"] == "success";
        until(status, "success").await;
    }

    /// How many attempts of the run count, and how many were handed back.
    pub(crate) async fn attempts(&self, run: &str) -> (String, String) {
        let id = run.rsplit('/').next().expect("an id");
        let ask = async |what| {
            let statement = format!("select {what} from runs where id = '{id}'");
            self.postgres.sql(&statement).await.trim().to_owned()
        };
        (ask("attempt - handed_back").await, ask("handed_back").await)
    }
}

pub(crate) fn slow(delay: f64) -> Value {
    json!({
        "assistant_id": "slow",
        "stream_mode": "updates",
        "stream_resumable": true,
        "input": {"delay": delay, "messages": [{"role": "human", "content": "a"}]},
    })
}

pub(crate) fn contents(values: &Value) -> Vec<String> {
    let messages = values["messages"].as_array().cloned().unwrap_or_default();
    let texts = messages.iter().map(|message| message["content"].as_str());
    texts
        .map(|text| text.unwrap_or_default().to_owned())
        .collect()
}

/// Waits until `condition` holds. It is about other processes, so it can only be looked at.
pub(crate) async fn until(condition: impl AsyncFn() -> bool, what: &str) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "no {what} in time");
        sleep(Duration::from_millis(20)).await;
    }
}
