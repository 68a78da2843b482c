//! Streams on the wire: frames of server-sent events, byte for byte, and what a reader may ask for.
//!
//! A frame's lines are `event`, `data` and, if the stream can be resumed, `id`, each ended by CR LF.

use bytes::Bytes;
use runloom_core::bus::From as Place;
use runloom_core::event::{EventId, StreamMode};
use runloom_core::ids::RunId;
use runloom_core::run::{Run, RunError, RunStatus};
use serde::Serialize;

/// The content type of a stream.
pub const CONTENT_TYPE: &str = "text/event-stream; charset=utf-8";

/// The comment that says that the server is still there.
pub const HEARTBEAT: Bytes = Bytes::from_static(b": heartbeat\r\n\r\n");

/// The event that says that a run failed.
pub const ERROR: &str = "error";

/// The event that says how a run ended, where the server is set to send it.
pub const END: &str = "end";

/// One event as a frame. `data` must be one JSON document in one line.
pub fn frame(name: &str, data: &[u8], id: Option<EventId>) -> Bytes {
    debug_assert!(!data.contains(&b'\n'), "an event's data is one line");
    let mut frame = Vec::with_capacity(name.len() + data.len() + 64);
    frame.extend_from_slice(b"event: ");
    // A line break in the name of a user's node would otherwise begin a line of its own.
    frame.extend(
        name.bytes()
            .map(|byte| if byte < b' ' { b' ' } else { byte }),
    );
    frame.extend_from_slice(b"\r\ndata: ");
    frame.extend_from_slice(data);
    if let Some(id) = id {
        frame.extend_from_slice(b"\r\nid: ");
        frame.extend_from_slice(id.to_string().as_bytes());
    }
    frame.extend_from_slice(b"\r\n\r\n");
    frame.into()
}

/// A comment. All clients pass over it.
pub fn comment(text: &str) -> Bytes {
    format!(": {text}\r\n\r\n").into()
}

/// The frame that says why a run failed, or why there is nothing to stream.
pub fn error_frame(error: &RunError) -> Bytes {
    encoded(ERROR, error)
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct End {
    /// The run.
    pub run_id: RunId,
    /// Its final status; `null` if the run was rolled back.
    pub status: Option<RunStatus>,
    /// The run that took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<RunId>,
}

impl End {
    /// How `run` ended.
    pub fn of(run: &Run) -> Self {
        Self {
            run_id: run.id,
            status: Some(run.status),
            superseded_by: run.superseded_by,
        }
    }

    /// The end of a run that is gone.
    pub fn gone(run_id: RunId) -> Self {
        Self {
            run_id,
            status: None,
            superseded_by: None,
        }
    }
}

/// The frame that says how a run ended.
pub fn end_frame(end: &End) -> Bytes {
    encoded(END, end)
}

fn encoded(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_vec(data).expect("plain fields encode");
    frame(name, &data, None)
}

/// The stream mode that an event's name belongs to; none for those that every reader gets.
pub fn mode_of(name: &str) -> Option<StreamMode> {
    let name = name.split_once('|').map_or(name, |(name, _namespace)| name);
    match name {
        "messages" => Some(StreamMode::MessagesTuple),
        "messages/metadata" | "messages/partial" | "messages/complete" => {
            Some(StreamMode::Messages)
        }
        // Asks for the accumulated form when a client names it, but is no event's name itself.
        "messages-tuple" => None,
        name => name.parse().ok(),
    }
}

/// The modes that a reader wants: all that the run emits, or some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes(Option<Vec<StreamMode>>);

impl Modes {
    /// Reads the values of `stream_mode` parameters: single modes, lists in JSON, lists with commas.
    /// The error is what is not a mode.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut modes = Vec::new();
        for value in values.into_iter().filter(|value| !value.is_empty()) {
            if value.starts_with('[') {
                let list: Vec<StreamMode> =
                    serde_json::from_str(value).map_err(|_| value.to_owned())?;
                modes.extend(list);
                continue;
            }
            for name in value.split(',') {
                modes.push(name.trim().parse().map_err(|_| name.to_owned())?);
            }
        }
        Ok(Self((!modes.is_empty()).then_some(modes)))
    }

    /// Whether an event of `mode` is wanted.
    pub fn want(&self, mode: Option<StreamMode>) -> bool {
        match (&self.0, mode) {
            (Some(wanted), Some(mode)) => wanted.contains(&mode),
            (None, _) | (_, None) => true,
        }
    }
}

/// The place that a `Last-Event-ID` names. Readers send whatever they were told once, so anything
/// is understood: it is compared with the ids as text would be.
pub fn place_after(last_event_id: &str) -> Place {
    let text = last_event_id.trim();
    if let Ok(id) = text.parse() {
        return Place::After(id);
    }
    if let Ok(millis) = text.parse::<u64>() {
        return millis.checked_sub(1).map_or(Place::Start, |millis| {
            Place::After(EventId {
                millis,
                number: u64::MAX,
            })
        });
    }
    match text.bytes().next() {
        Some(first) if first > b'9' => Place::Now,
        _ => Place::Start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: EventId = EventId {
        millis: 1_795_376_645_863,
        number: 7,
    };

    #[test]
    fn frames_are_those_of_the_published_server() {
        assert_eq!(
            frame("values", br#"{"a":1}"#, None),
            "event: values\r\ndata: {\"a\":1}\r\n\r\n"
        );
        assert_eq!(
            frame("updates|child:1f", b"null", Some(ID)),
            "event: updates|child:1f\r\ndata: null\r\nid: 1795376645863-7\r\n\r\n"
        );
        assert_eq!(
            error_frame(&RunError::new("ValueError", "kaboom")),
            "event: error\r\ndata: {\"error\":\"ValueError\",\"message\":\"kaboom\"}\r\n\r\n"
        );
        assert_eq!(HEARTBEAT, ": heartbeat\r\n\r\n");
    }

    #[test]
    fn a_name_cannot_break_out_of_its_line() {
        assert_eq!(
            frame("values|a\r\ndata: x", b"1", None),
            "event: values|a  data: x\r\ndata: 1\r\n\r\n"
        );
    }

    #[test]
    fn event_names_belong_to_the_modes_that_ask_for_them() {
        assert_eq!(mode_of("messages"), Some(StreamMode::MessagesTuple));
        assert_eq!(mode_of("messages/partial"), Some(StreamMode::Messages));
        assert_eq!(mode_of("messages|child:1"), Some(StreamMode::MessagesTuple));
        assert_eq!(mode_of("values|child:1|inner:2"), Some(StreamMode::Values));
        for always in ["metadata", "error", "end", "feedback"] {
            assert_eq!(mode_of(always), None);
        }
    }

    #[test]
    fn all_three_ways_of_listing_modes_are_read() {
        let both = Modes(Some(vec![StreamMode::Values, StreamMode::MessagesTuple]));
        assert_eq!(Modes::parse(["values", "messages-tuple"]), Ok(both.clone()));
        assert_eq!(
            Modes::parse([r#"["values", "messages-tuple"]"#]),
            Ok(both.clone())
        );
        assert_eq!(Modes::parse(["values,messages-tuple"]), Ok(both.clone()));
        assert_eq!(Modes::parse([]), Ok(Modes::default()));
        assert_eq!(Modes::parse(["valeus"]), Err("valeus".to_owned()));
        assert!(both.want(None) && both.want(Some(StreamMode::Values)));
        assert!(!both.want(Some(StreamMode::Updates)));
        assert!(Modes::default().want(Some(StreamMode::Updates)));
    }

    #[test]
    fn any_text_names_a_place() {
        for all in ["", "-", "-1", "0"] {
            assert_eq!(place_after(all), Place::Start, "{all}");
        }
        assert_eq!(place_after("1795376645863-7"), Place::After(ID));
        // Ids sort after their first part alone.
        let first_of_it = EventId { number: 0, ..ID };
        let Place::After(before) = place_after("1795376645863") else {
            panic!("a number is a place in time");
        };
        assert!(before < first_of_it);
        assert_eq!(place_after("zebra"), Place::Now);
    }
}
