//! Following a run to its end, over as many connections as it takes, each to the other gateway.

use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::frames::{Frame, Frames};
use super::http::Http;
use crate::history::{End, History, Join, Reading, Received, Sighting, now};

/// How long to wait before another connection.
const PAUSE: Duration = Duration::from_millis(150);

/// One run, and who reads it.
pub(super) struct Follower {
    pub(super) http: Http,
    pub(super) thread: String,
    pub(super) run: String,
    /// The gateway to go on with.
    pub(super) gateway: usize,
    /// Nobody waits any longer.
    pub(super) last_call: CancellationToken,
}

impl Follower {
    fn path(&self, rest: &str) -> String {
        format!("/threads/{}/runs/{}{rest}", self.thread, self.run)
    }

    /// Reads the run's stream to its end. `first` is a connection that is open already.
    pub(super) async fn stream(mut self, first: Option<reqwest::Response>) -> History {
        let mut reading = Reading {
            run: self.run.clone(),
            ..Reading::default()
        };
        let last_call = self.last_call.clone();
        let whole = self.read(first, &mut reading);
        if last_call.run_until_cancelled(whole).await.is_none() {
            reading.given_up = Some("the storm was over".to_owned());
        }
        let run = reading.run.clone();
        let mut history = History {
            readings: vec![reading],
            ..History::default()
        };
        self.look(&run, &mut history).await;
        history
    }

    async fn read(&mut self, first: Option<reqwest::Response>, reading: &mut Reading) {
        let mut response = first;
        let mut last = String::from("-");
        let mut resuming = false;
        loop {
            let opened = if let Some(response) = response.take() {
                Ok(response)
            } else {
                resuming = true;
                reading.received.push(Received::Resumed);
                let path = self.path("/stream");
                self.http.send(self.gateway, &path, None, Some(&last)).await
            };
            self.gateway += 1;
            if let Ok(response) = opened
                && response.status().is_success()
            {
                let mut frames = Frames::new(response);
                while let Some(frame) = frames.next().await {
                    if std::mem::take(&mut resuming) {
                        reading.resumed += 1;
                    }
                    match frame {
                        Frame::Received(received) => {
                            if let Received::Event { millis, number, .. } = &received {
                                last = format!("{millis}-{number}");
                            }
                            reading.received.push(received);
                        }
                        Frame::End(status) => {
                            reading.end = Some(End { status });
                            reading.ended = now();
                            return;
                        }
                        Frame::Other => {}
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits for the run's end. `first` is an answer whose head has come.
    pub(super) async fn join(mut self, first: Option<reqwest::Response>) -> History {
        let mut history = History::default();
        let last_call = self.last_call.clone();
        let run = self.run.clone();
        if last_call
            .run_until_cancelled(self.wait(first))
            .await
            .is_some()
        {
            let answered = now();
            let run = run.clone();
            history.joins.push(Join { run, answered });
        }
        self.look(&run, &mut history).await;
        history
    }

    async fn wait(&mut self, first: Option<reqwest::Response>) {
        let mut response = first;
        loop {
            let answer = if let Some(response) = response.take() {
                Ok(response)
            } else {
                let path = self.path("/join");
                self.http.send(self.gateway, &path, None, None).await
            };
            self.gateway += 1;
            if let Ok(answer) = answer
                && answer.status().is_success()
                && let Ok(text) = answer.text().await
                // An answer that was cut off is not JSON.
                && serde_json::from_str::<Value>(&text).is_ok()
            {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads the run once.
    async fn look(&self, run: &str, history: &mut History) {
        history
            .sightings
            .extend(look(&self.http, self.gateway, &self.thread, run).await);
    }
}

/// Reads a run once, if a gateway answers.
pub(super) async fn look(http: &Http, gateway: usize, thread: &str, run: &str) -> Option<Sighting> {
    let asked = now();
    let path = format!("/threads/{thread}/runs/{run}");
    let (code, body) = http.ask(gateway, &path, None).await.ok()?;
    let status = match code {
        200 => Some(body["status"].as_str()?.to_owned()),
        404 => None,
        _ => return None,
    };
    Some(Sighting {
        run: run.to_owned(),
        asked,
        answered: now(),
        status,
    })
}
