//! Server-sent events as they come off the wire, with the comments, which say what is missing.

use runloom_tests::sse;

use crate::history::Received;

/// What one connection brings.
pub(crate) struct Frames(sse::Frames);

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
        Self(sse::Frames::new(response))
    }

    /// The next frame; `None` if the connection ended, broke or went silent.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        self.0.next().await.map(|frame| read(&frame))
    }
}

fn read(frame: &sse::Frame) -> Frame {
    if let Some(comment) = &frame.comment {
        // Anything but the heartbeat is the server's excuse.
        if comment != "heartbeat" {
            return Frame::Received(Received::Announced(comment.clone()));
        }
    }
    let (name, data) = (frame.event.as_str(), frame.data.as_str());
    let id = frame.id.as_deref().and_then(|id| id.split_once('-'));
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
        assert_eq!(read(&sse::Frame::of(event)), Frame::Received(expected));
        assert_eq!(read(&sse::Frame::of(": heartbeat\r\n\r\n")), Frame::Other);
        let missing = ": earlier events are no longer kept\r\n\r\n";
        let expected = Received::Announced("earlier events are no longer kept".into());
        assert_eq!(read(&sse::Frame::of(missing)), Frame::Received(expected));
        let end = "event: end\r\ndata: {\"run_id\":\"a\",\"status\":null}\r\n\r\n";
        assert_eq!(read(&sse::Frame::of(end)), Frame::End(None));
        let end = "event: end\r\ndata: {\"run_id\":\"a\",\"status\":\"success\"}\r\n\r\n";
        assert_eq!(
            read(&sse::Frame::of(end)),
            Frame::End(Some("success".into()))
        );
    }
}
