//! Server-sent events as they come off the wire, with the comments.

use std::time::Duration;

/// How long a stream may be silent: three of the server's heartbeats.
const SILENCE: Duration = Duration::from_secs(16);

/// What one connection brings.
pub struct Frames {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

/// A frame: a comment, or an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The text of a comment.
    pub comment: Option<String>,
    /// The event's name.
    pub event: String,
    /// Its data, of one line.
    pub data: String,
    /// Its id.
    pub id: Option<String>,
}

impl Frames {
    /// Reads the body of `response`.
    pub fn new(response: reqwest::Response) -> Self {
        let buffer = Vec::new();
        Self { response, buffer }
    }

    /// The next frame; `None` if the connection ended, broke or went silent.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let frame: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Some(Frame::of(&String::from_utf8_lossy(&frame)));
            }
            let chunk = tokio::time::timeout(SILENCE, self.response.chunk()).await;
            self.buffer.extend_from_slice(&chunk.ok()?.ok()??);
        }
    }
}

impl Frame {
    /// Reads a frame as the server writes it.
    pub fn of(text: &str) -> Self {
        let mut frame = Self::default();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix(": ") {
                frame.comment = Some(comment.to_owned());
            } else if let Some(name) = line.strip_prefix("event: ") {
                name.clone_into(&mut frame.event);
            } else if let Some(data) = line.strip_prefix("data: ") {
                data.clone_into(&mut frame.data);
            } else if let Some(id) = line.strip_prefix("id: ") {
                frame.id = Some(id.to_owned());
            }
        }
        frame
    }
}
