//! The few calls that the scenarios need.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use memchr::memmem;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::http::{Connection, Head, Place};
use crate::sse::Scanner;

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server under test: one or several gateways to the same threads.
pub(crate) struct Server {
    places: Arc<[Place]>,
    clients: AtomicUsize,
}

impl Server {
    pub(crate) async fn at(urls: &[String]) -> anyhow::Result<Self> {
        let mut places = Vec::new();
        for url in urls {
            places.push(Place::of(url).await?);
        }
        Ok(Self {
            places: places.into(),
            clients: AtomicUsize::new(0),
        })
    }

    /// A client with connections of its own. Each next one begins at the next gateway.
    pub(crate) fn client(&self) -> Client {
        Client {
            places: self.places.clone(),
            connections: self.places.iter().map(|_| None).collect(),
            turn: self.clients.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Asks one thing at a time; requests alternate between the gateways.
pub(crate) struct Client {
    places: Arc<[Place]>,
    connections: Vec<Option<Connection>>,
    turn: usize,
}

/// A run to be created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRun<'a> {
    pub(crate) graph: &'a str,
    pub(crate) text: &'a str,
    pub(crate) strategy: &'a str,
    pub(crate) mode: Mode,
}

/// What is streamed of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Values,
    /// The tokens of a run that says so many, so many in a second.
    Tokens(usize, f64),
}

impl<'a> NewRun<'a> {
    /// A run that waits for those before it.
    pub(crate) fn of(graph: &'a str, text: &'a str) -> Self {
        Self {
            graph,
            text,
            strategy: "enqueue",
            mode: Mode::Values,
        }
    }

    fn body(&self) -> Vec<u8> {
        let message = json!([{"role": "human", "content": self.text}]);
        let (input, mode) = match self.mode {
            Mode::Values => (json!({"messages": message}), "values"),
            Mode::Tokens(count, rate) => (
                json!({"messages": message, "count": count, "rate": rate}),
                "messages-tuple",
            ),
        };
        let body = json!({
            "assistant_id": self.graph,
            "input": input,
            "multitask_strategy": self.strategy,
            "stream_mode": [mode],
        });
        body.to_string().into_bytes()
    }
}

impl Client {
    /// Sends a request and gives its connection, with the body unread.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> anyhow::Result<(&mut Connection, Head)> {
        let at = self.turn % self.places.len();
        self.turn += 1;
        let (place, slot) = (&self.places[at], &mut self.connections[at]);
        if !slot.as_ref().is_some_and(Connection::is_reusable) {
            *slot = Some(Connection::to(place).await?);
        }
        let connection = slot.as_mut().expect("just made");
        let head = connection.send(place, method, path, body).await;
        let head = head.with_context(|| format!("{method} {}", shape(path)))?;
        if !(200..300).contains(&head.status) {
            let text = rest(connection).await?;
            let text: String = String::from_utf8_lossy(&text).chars().take(300).collect();
            bail!("{method} {}: {} {text}", shape(path), head.status);
        }
        Ok((connection, head))
    }

    /// Sends a request and gives the whole body.
    async fn whole(&mut self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        let asked = async {
            let (connection, _) = self.ask(method, path, body).await?;
            rest(connection).await
        };
        patient(path, asked).await
    }

    /// Creates a thread and gives its id.
    pub(crate) async fn thread(&mut self) -> anyhow::Result<String> {
        let body = self.whole("POST", "/threads", b"{}").await?;
        text_of(&body, "thread_id").context("a thread has an id")
    }

    /// Runs `new` to its end. False if it did not answer as `echo` does.
    pub(crate) async fn wait(&mut self, thread: &str, new: NewRun<'_>) -> anyhow::Result<bool> {
        let path = format!("/threads/{thread}/runs/wait");
        let values = self.whole("POST", &path, &new.body()).await?;
        let answer = format!("echo: {}", new.text);
        Ok(memmem::find(&values, answer.as_bytes()).is_some())
    }

    /// Creates a run and gives its id.
    pub(crate) async fn create(&mut self, thread: &str, new: NewRun<'_>) -> anyhow::Result<String> {
        let path = format!("/threads/{thread}/runs");
        let run = self.whole("POST", &path, &new.body()).await?;
        text_of(&run, "run_id").context("a run has an id")
    }

    /// Waits until a run is over.
    pub(crate) async fn join(&mut self, thread: &str, run: &str) -> anyhow::Result<()> {
        let path = format!("/threads/{thread}/runs/{run}/join");
        self.whole("GET", &path, b"").await.map(drop)
    }

    /// Creates a run and streams it.
    pub(crate) async fn stream(
        &mut self,
        thread: &str,
        new: NewRun<'_>,
    ) -> anyhow::Result<Events<'_>> {
        let path = format!("/threads/{thread}/runs/stream");
        let body = new.body();
        let (connection, head) = patient(&path, self.ask("POST", &path, &body)).await?;
        Ok(Events::new(connection, head))
    }

    /// Streams a run from now on, to its end.
    pub(crate) async fn follow(
        &mut self,
        thread: &str,
        run: &str,
        mode: &str,
    ) -> anyhow::Result<Events<'_>> {
        let path = format!("/threads/{thread}/runs/{run}/stream?stream_mode={mode}");
        let (connection, head) = patient(&path, self.ask("GET", &path, b"")).await?;
        Ok(Events::new(connection, head))
    }

    /// A run as it is stored.
    pub(crate) async fn run(&mut self, thread: &str, run: &str) -> anyhow::Result<Value> {
        let path = format!("/threads/{thread}/runs/{run}");
        Ok(serde_json::from_slice(
            &self.whole("GET", &path, b"").await?,
        )?)
    }

    /// How many of the latest runs of a thread have ended well.
    pub(crate) async fn successes(&mut self, thread: &str) -> anyhow::Result<usize> {
        let path = format!("/threads/{thread}/runs?limit=100");
        let runs: Vec<Value> = serde_json::from_slice(&self.whole("GET", &path, b"").await?)?;
        let ended_well = runs.iter().filter(|run| run["status"] == "success");
        Ok(ended_well.count())
    }

    /// The messages of a thread: who says what.
    pub(crate) async fn messages(&mut self, thread: &str) -> anyhow::Result<Vec<(String, String)>> {
        let path = format!("/threads/{thread}/state");
        let state: Value = serde_json::from_slice(&self.whole("GET", &path, b"").await?)?;
        let messages = state["values"]["messages"].as_array();
        let said = messages.into_iter().flatten().map(|message| {
            let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
            (text("type"), text("content"))
        });
        Ok(said.collect())
    }
}

/// A path without its ids, so that the same fault always reads the same.
fn shape(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let parts = path.split('/');
    let parts: Vec<_> = parts
        .map(|part| if part.len() > 20 { "…" } else { part })
        .collect();
    parts.join("/")
}

async fn rest(connection: &mut Connection) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(1024);
    while let Some(piece) = connection.piece().await? {
        body.extend_from_slice(piece);
    }
    Ok(body)
}

async fn patient<T>(
    path: &str,
    asked: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let answer = timeout(PATIENCE, asked).await;
    answer.unwrap_or_else(|_| bail!("{}: no answer in {PATIENCE:?}", shape(path)))
}

/// The first string that stands under `key` in a JSON text, which is not read for this.
fn text_of(json: &[u8], key: &str) -> Option<String> {
    let at = memmem::find(json, format!("\"{key}\"").as_bytes())?;
    let value = json[at + key.len() + 2..].trim_ascii_start();
    let value = value.strip_prefix(b":")?.trim_ascii_start();
    let value = value.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', value)?;
    String::from_utf8(value[..end].to_vec()).ok()
}

/// An event of a stream.
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) at: Instant,
    run: Option<String>,
}

impl Event {
    /// Whether it says something of the run, beyond that there is one.
    pub(crate) fn is_content(&self) -> bool {
        self.name != "metadata"
    }
}

/// The events of a run.
pub(crate) struct Events<'a> {
    connection: &'a mut Connection,
    scanner: Scanner,
    found: VecDeque<Event>,
    /// The run's id, once it is known.
    pub(crate) run: Option<String>,
}

impl<'a> Events<'a> {
    fn new(connection: &'a mut Connection, head: Head) -> Self {
        let place = head.content_location;
        let run = place.and_then(|place| {
            let (_, run) = place.rsplit_once("/runs/")?;
            Some(run.trim_end_matches("/stream").to_owned())
        });
        Self {
            connection,
            scanner: Scanner::default(),
            found: VecDeque::new(),
            run,
        }
    }

    /// Reads what comes next; `on` is told the name and the data of each event in it, and when it
    /// came. False at the end.
    pub(crate) async fn read(
        &mut self,
        mut on: impl FnMut(&[u8], &[u8], Instant),
    ) -> anyhow::Result<bool> {
        let now = match self.connection.piece().await? {
            None => return Ok(false),
            Some(_) => self.connection.read_at,
        };
        let piece = self.connection.last();
        self.scanner.push(piece, |name, data| on(name, data, now));
        Ok(true)
    }

    /// The next event, or none at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(event) = self.found.pop_front() {
                self.run = self.run.take().or(event.run.clone());
                return Ok(Some(event));
            }
            let mut found = std::mem::take(&mut self.found);
            let more = timeout(
                PATIENCE,
                self.read(|name, data, at| {
                    found.push_back(Event {
                        name: String::from_utf8_lossy(name).into_owned(),
                        at,
                        run: (name == b"metadata")
                            .then(|| text_of(data, "run_id"))
                            .flatten(),
                    });
                }),
            );
            let more = more.await;
            self.found = found;
            let Ok(more) = more else {
                bail!("a stream was silent for {PATIENCE:?}");
            };
            if !more? && self.found.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Reads to the end, and says when that came.
    pub(crate) async fn end(mut self) -> anyhow::Result<Instant> {
        while let Some(event) = self.next().await? {
            if event.name == "error" {
                return Ok(Instant::now());
            }
        }
        Ok(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_found_without_reading_the_whole() {
        let text = br#"{"a": 1, "thread_id" : "x-1", "metadata": {"thread_id": "y"}}"#;
        assert_eq!(text_of(text, "thread_id").as_deref(), Some("x-1"));
        assert_eq!(text_of(text, "run_id"), None);
        assert_eq!(text_of(br#"{"run_id": null}"#, "run_id"), None);
    }

    #[test]
    fn a_fault_names_no_ids() {
        let path = "/threads/01a20774-1811-70ba-b59f-062caf00fab2/runs/wait?x=1";
        assert_eq!(shape(path), "/threads/…/runs/wait");
    }
}
