//! Server-sent events as they come off the wire, with the comments, which say what is missing.

use std::time::Duration;

use crate::history::Received;

/// How long a stream may be silent: three of the server's heartbeats.
const SILENCE: Duration = Duration::from_secs(16);

/// What one connection brings.
pub(crate) struct Frames {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

/// A frame.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// An event that is part of the run's log, or a comment that says that some are missing.
    Received(Received),
    /// The run is over, with this status; `None` if it is gone.
    End(Option<String>),
    /// There is nothing to read into it.
    Other,
}

impl Frames {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        let buffer = Vec::new();
        Self { response, buffer }
    }

    /// The next frame; `None` if the connection ended, broke or went silent.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let frame: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Some(read(&String::from_utf8_lossy(&frame)));
            }
            let chunk = tokio::time::timeout(SILENCE, self.response.chunk()).await;
            self.buffer.extend_from_slice(&chunk.ok()?.ok()??);
        }
    }
}

fn read(frame: &str) -> Frame {
    let (mut name, mut data, mut id) = ("", "", None);
    for line in frame.lines() {
        if let Some(comment) = line.strip_prefix(": ") {
            // Anything but the heartbeat is the server's excuse.
            if comment != "heartbeat" {
                return Frame::Received(Received::Announced(comment.to_owned()));
            }
        } else if let Some(value) = line.strip_prefix("event: ") {
            name = value;
        } else if let Some(value) = line.strip_prefix("data: ") {
            data = value;
        } else if let Some(value) = line.strip_prefix("id: ") {
            id = value.split_once('-');
        }
    }
    let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    if name == "end" {
        return Frame::End(data["status"].as_str().map(str::to_owned));
    }
    let gone = data["message"].as_str() == Some("404: Run not found");
    if name == "error" && gone {
        return Frame::End(None);
    }
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    let Some((millis, counter)) = id else {
        return Frame::Other;
    };
    let step = (name == "custom").then(|| {
        let step = data["step"].as_str().unwrap_or_default();
        (
            data["attempt"].as_u64().unwrap_or_default(),
            step.to_owned(),
        )
    });
    Frame::Received(Received::Event {
        millis: number(millis),
        number: number(counter),
        name: name.to_owned(),
        step,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_the_server_writes_them() {
        let event = "event: custom\r\ndata: {\"attempt\":2,\"step\":\"3\"}\r\nid: 17-4\r\n\r\n";
        let expected = Received::Event {
            millis: 17,
            number: 4,
            name: "custom".into(),
            step: Some((2, "3".into())),
        };
        assert_eq!(read(event), Frame::Received(expected));
        assert_eq!(read(": heartbeat\r\n\r\n"), Frame::Other);
        let missing = ": earlier events are no longer kept\r\n\r\n";
        let expected = Received::Announced("earlier events are no longer kept".into());
        assert_eq!(read(missing), Frame::Received(expected));
        let end = "event: end\r\ndata: {\"run_id\":\"a\",\"status\":null}\r\n\r\n";
        assert_eq!(read(end), Frame::End(None));
        let end = "event: end\r\ndata: {\"run_id\":\"a\",\"status\":\"success\"}\r\n\r\n";
        assert_eq!(read(end), Frame::End(Some("success".into())));
    }
}
