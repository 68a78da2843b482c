//! Reading a run's stream to its end, over as many connections as it takes.

use std::time::{Duration, Instant};

use runloom_tests::http::Http;
use runloom_tests::sse::{Frame, Frames};
use serde_json::Value;
use tokio::time::sleep;

use crate::cluster::PATIENCE;

/// How long to wait before another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What a server says that was asked to stop. Nothing is missing then.
const FAREWELL: &str = "the server stops; go on elsewhere";

/// What a client read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The steps that said they began, with their attempts.
    pub(crate) steps: Vec<(u64, String)>,
    /// How often it was resumed and got more.
    pub(crate) resumed: usize,
    /// The status that the stream ended with.
    pub(crate) end: Option<String>,
    /// What the server said of events that are missing.
    pub(crate) announced: Vec<String>,
    /// Everything that is not as it should be.
    gaps: Vec<String>,
    last: Option<String>,
    /// The server has just said that something is missing here.
    excused: bool,
}

impl Reading {
    /// Reads the stream of the run at `path` to its end. `first` is a connection that is open already.
    pub(crate) async fn follow(http: Http, path: String, first: Option<reqwest::Response>) -> Self {
        let mut reading = Self::default();
        let began = Instant::now();
        let mut open = first;
        let stream = format!("{path}/stream");
        for gateway in 0.. {
            if reading.end.is_some() {
                break;
            }
            if began.elapsed() > PATIENCE {
                reading.gaps.push("it did not end".to_owned());
                break;
            }
            let response = if let Some(response) = open.take() {
                Ok(response)
            } else {
                let last = reading.last.as_deref().or(Some("-"));
                http.send(gateway, &stream, None, last).await
            };
            match response {
                Ok(response) if response.status().is_success() => {
                    reading.read(response, gateway > 0).await;
                }
                _ => sleep(PAUSE).await,
            }
        }
        reading
    }

    async fn read(&mut self, response: reqwest::Response, mut resuming: bool) {
        let mut frames = Frames::new(response);
        while self.end.is_none()
            && let Some(frame) = frames.next().await
        {
            if std::mem::take(&mut resuming) {
                self.resumed += 1;
            }
            self.take(&frame);
        }
    }

    fn take(&mut self, frame: &Frame) {
        if let Some(comment) = &frame.comment
            && comment != "heartbeat"
            && comment != FAREWELL
        {
            self.announced.push(comment.clone());
            self.excused = true;
        }
        let data: Value = serde_json::from_str(&frame.data).unwrap_or_default();
        match frame.event.as_str() {
            "end" => self.end = Some(data["status"].as_str().unwrap_or("gone").to_owned()),
            "custom" => {
                let step = data["step"].as_str().unwrap_or_default().to_owned();
                self.steps
                    .push((data["attempt"].as_u64().unwrap_or_default(), step));
            }
            _ => {}
        }
        let Some(id) = &frame.id else { return };
        let number = |id: &str| id.split_once('-')?.1.parse::<u64>().ok();
        let (now, before) = (number(id), self.last.as_deref().and_then(number));
        let follows = now == before.map_or(Some(0), |before| Some(before + 1));
        // Another attempt begins anew.
        let excused = std::mem::take(&mut self.excused);
        if !follows && now != Some(0) && !excused {
            self.gaps.push(format!("{id} came after {:?}", self.last));
        }
        self.last = Some(id.clone());
    }

    /// What is missing or doubled for a run of so many steps of which none may be repeated, unless the
    /// server has said so.
    pub(crate) fn faults(&self, steps: usize) -> Vec<String> {
        let mut faults = self.gaps.clone();
        let expected: Vec<String> = (1..=steps).map(|step| step.to_string()).collect();
        let read: Vec<&String> = self.steps.iter().map(|(_, step)| step).collect();
        if self.announced.is_empty() && !read.iter().copied().eq(&expected) {
            faults.push(format!("it has the steps {read:?} of {steps}"));
        }
        if self.end.as_deref() != Some("success") {
            faults.push(format!("it ended with {:?}", self.end));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_event_is_noticed() {
        let mut reading = Reading::default();
        let frames = [
            "event: metadata\r\ndata: {}\r\nid: 5-0\r\n",
            "event: custom\r\ndata: {\"attempt\":1,\"step\":\"1\"}\r\nid: 5-1\r\n",
            "event: custom\r\ndata: {\"attempt\":1,\"step\":\"2\"}\r\nid: 6-2\r\n",
            "event: end\r\ndata: {\"status\":\"success\"}\r\n",
        ];
        for frame in frames {
            reading.take(&Frame::of(frame));
        }
        assert_eq!(reading.faults(2), [""; 0]);
        assert_eq!(reading.faults(3).len(), 1);
        reading.take(&Frame::of("event: values\r\ndata: {}\r\nid: 6-4\r\n"));
        assert_eq!(reading.faults(2).len(), 1);
        reading.take(&Frame::of(": earlier events are no longer kept\r\n"));
        reading.take(&Frame::of("event: values\r\ndata: {}\r\nid: 6-9\r\n"));
        assert_eq!((reading.faults(2).len(), reading.announced.len()), (1, 1));
    }
}
