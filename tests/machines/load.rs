//! Clients that keep the servers busy, and write down what they were told.

use std::time::{Duration, Instant};

use futures::future::join_all;
use runloom_core::ids::random_id;
use runloom_tests::http::Http;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::stream::Reading;

/// How many steps each run takes before its last answer.
pub(crate) const STEPS: usize = 4;

/// How long to wait after a refusal, and between two acts.
const PAUSE: Duration = Duration::from_millis(200);

/// Clients at work, one on each thread.
pub(crate) struct Load {
    stop: CancellationToken,
    clients: JoinSet<Talk>,
}

/// What one client was told.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    pub(crate) thread: String,
    /// The runs that were accepted, in this order, with the texts of their messages.
    pub(crate) accepted: Vec<(String, String)>,
    /// The texts of messages of which nobody knows whether they were accepted.
    pub(crate) unknown: Vec<String>,
    /// How often the server said that it cannot for now, and when to come again.
    pub(crate) put_off: usize,
    /// Other refusals.
    pub(crate) refused: Vec<String>,
    /// Ends of runs that were read.
    pub(crate) ends: Vec<(String, String)>,
    /// Streams of the runs that were read to their ends.
    pub(crate) readings: Vec<(String, Reading)>,
    /// The longest time from the wish for a run to its acceptance.
    pub(crate) longest: Duration,
}

impl Load {
    /// Begins to talk on so many threads.
    pub(crate) async fn begin(http: &Http, threads: usize) -> Self {
        let ids: Vec<String> = (0..threads).map(|_| random_id()).collect();
        let made = ids.iter().map(async |id| {
            let body = json!({"thread_id": id, "if_exists": "do_nothing"});
            http.insist("/threads", Some(&body)).await
        });
        let made = join_all(made).await;
        assert!(made.iter().all(Option::is_some), "threads cannot be made");
        let (stop, mut clients) = (CancellationToken::new(), JoinSet::new());
        for (number, thread) in ids.into_iter().enumerate() {
            clients.spawn(talk(http.clone(), number, thread, stop.clone()));
        }
        Self { stop, clients }
    }

    /// Lets the clients end what they are at, and returns what they were told.
    pub(crate) async fn end(self) -> Vec<Talk> {
        self.stop.cancel();
        self.clients.join_all().await
    }
}

/// The body of a request for a run of the graph that writes down what it does.
pub(crate) fn run(mark: &str, steps: usize, delay: f64) -> Value {
    json!({
        "assistant_id": "witness",
        "input": {
            "messages": [{"role": "human", "content": mark}],
            "count": steps,
            "delay": delay,
        },
        "config": {"recursion_limit": steps + 5},
        "metadata": {"mark": mark},
        "multitask_strategy": "enqueue",
        "stream_mode": ["custom"],
        "stream_resumable": true,
    })
}

/// Asks for two runs at once and follows the second to its end, again and again.
async fn talk(http: Http, number: usize, thread: String, stop: CancellationToken) -> Talk {
    let mut talk = Talk {
        thread,
        ..Talk::default()
    };
    let mut count = number;
    while !stop.is_cancelled() {
        let first = talk.create(&http, count, "", &stop).await;
        let second = talk.create(&http, count + 1, "/stream", &stop).await;
        count += 1;
        let Some((run, response)) = second.or(first) else {
            continue;
        };
        let path = format!("/threads/{}/runs/{run}", talk.thread);
        let streams = response.url().path().ends_with("/stream");
        let open = streams.then_some(response);
        let reading = Reading::follow(http.clone(), path.clone(), open).await;
        if let Some(end) = &reading.end {
            talk.ends.push((run.clone(), end.clone()));
        }
        talk.readings.push((run.clone(), reading));
        if let Ok((200, body)) = http.ask(count, &path, None).await {
            let status = body["status"].as_str().unwrap_or_default();
            talk.ends.push((run, status.to_owned()));
        }
        sleep(PAUSE).await;
    }
    talk
}

impl Talk {
    /// Asks for a run until one is accepted, at one gateway after the other.
    async fn create(
        &mut self,
        http: &Http,
        gateway: usize,
        end: &str,
        stop: &CancellationToken,
    ) -> Option<(String, reqwest::Response)> {
        let path = format!("/threads/{}/runs{end}", self.thread);
        let began = Instant::now();
        for try_number in 0.. {
            if stop.is_cancelled() {
                break;
            }
            let mark = random_id();
            let body = run(&mark, STEPS, 0.02);
            let response = http
                .send(gateway + try_number, &path, Some(&body), None)
                .await;
            let Ok(response) = response else {
                self.unknown.push(mark);
                sleep(PAUSE).await;
                continue;
            };
            let place = response.headers().get("content-location");
            let accepted = place.and_then(|place| place.to_str().ok()?.rsplit('/').next());
            match (response.status().as_u16(), accepted) {
                (200..300, Some(run)) => {
                    let run = run.to_owned();
                    self.accepted.push((run.clone(), mark));
                    self.longest = self.longest.max(began.elapsed());
                    return Some((run, response));
                }
                (503, _) if response.headers().contains_key("retry-after") => {
                    self.put_off += 1;
                    // It may have been stored although nobody could say so.
                    self.unknown.push(mark);
                }
                (code, _) => {
                    self.refused.push(format!("{code} to POST {path}"));
                    self.unknown.push(mark);
                }
            }
            sleep(PAUSE).await;
        }
        None
    }
}
