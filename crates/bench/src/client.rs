//! The few calls that the scenarios need.

use anyhow::{Context as _, bail};
use eventsource_stream::{Event, Eventsource as _};
use futures::stream::{BoxStream, StreamExt as _};
use serde_json::{Value, json};

/// Speaks to one server.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub(crate) fn new(base: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().tcp_nodelay(true).build()?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<reqwest::Response> {
        let response = self
            .http
            .post(format!("{}{path}", self.base))
            .json(body)
            .send()
            .await?;
        if response.status().is_success() {
            return Ok(response);
        }
        bail!(
            "POST {path}: {} {}",
            response.status(),
            response.text().await?
        )
    }

    /// Creates a thread and gives its id.
    pub(crate) async fn thread(&self) -> anyhow::Result<String> {
        let thread: Value = self.post("/threads", &json!({})).await?.json().await?;
        thread["thread_id"]
            .as_str()
            .map(str::to_owned)
            .context("a thread has an id")
    }

    /// Runs `graph` to its end and gives the values.
    pub(crate) async fn wait(&self, thread: &str, graph: &str) -> anyhow::Result<Value> {
        let path = format!("/threads/{thread}/runs/wait");
        Ok(self
            .post(&path, &run(graph, "enqueue"))
            .await?
            .json()
            .await?)
    }

    /// Starts a run of `graph` and gives its id.
    pub(crate) async fn create(&self, thread: &str, graph: &str) -> anyhow::Result<String> {
        let path = format!("/threads/{thread}/runs");
        let run: Value = self
            .post(&path, &run(graph, "enqueue"))
            .await?
            .json()
            .await?;
        run["run_id"]
            .as_str()
            .map(str::to_owned)
            .context("a run has an id")
    }

    /// Starts a run of `graph` and gives its events.
    pub(crate) async fn stream(
        &self,
        thread: &str,
        graph: &str,
        strategy: &str,
    ) -> anyhow::Result<BoxStream<'static, anyhow::Result<Event>>> {
        let path = format!("/threads/{thread}/runs/stream");
        let response = self.post(&path, &run(graph, strategy)).await?;
        Ok(response
            .bytes_stream()
            .eventsource()
            .map(|event| event.context("a broken stream"))
            .boxed())
    }

    /// The events of a run from now on, to its end.
    pub(crate) async fn join(
        &self,
        thread: &str,
        run: &str,
    ) -> anyhow::Result<BoxStream<'static, anyhow::Result<Event>>> {
        let url = format!("{}/threads/{thread}/runs/{run}/stream", self.base);
        let response = self.http.get(url).send().await?.error_for_status()?;
        Ok(response
            .bytes_stream()
            .eventsource()
            .map(|event| event.context("a broken stream"))
            .boxed())
    }

    /// The status of a run.
    pub(crate) async fn status(&self, thread: &str, run: &str) -> anyhow::Result<String> {
        let url = format!("{}/threads/{thread}/runs/{run}", self.base);
        let run: Value = self.http.get(url).send().await?.json().await?;
        run["status"]
            .as_str()
            .map(str::to_owned)
            .context("a run has a status")
    }
}

fn run(graph: &str, strategy: &str) -> Value {
    json!({
        "assistant_id": graph,
        "input": {"messages": [{"role": "human", "content": "hello"}]},
        "multitask_strategy": strategy,
    })
}
