//! Frames: what is published of a run's events.
//!
//! A frame is one message: `{"v":1,"epoch":7,"events":[{"id":"1700000000000-0","event":"values",
//! "data":{…}}]}`, the events in the order of their numbers. The last frame of a run is
//! `{"v":1,"end":true}`, with the id of the last event as `last` if its publisher knows it. A frame
//! that is larger than the server takes is cut into messages with the header
//! `Runloom-Part: <id>/<place>/<count>`, places from 0, whose bodies joined are the frame.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use runloom_core::bus::BusError;
use runloom_core::event::{Event, EventId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Says that a message is part of a frame, and which.
const PART: &str = "Runloom-Part";

/// Room for the headers of a part.
const HEADERS: usize = 256;

/// Frames of which parts came and not all; beyond so many the oldest are given up.
const INCOMPLETE: usize = 4;

const VERSION: u8 = 1;

/// What a frame says.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    /// These events came next.
    Events(Vec<Event>),
    /// The run is over; perhaps, which event was the last.
    End(Option<EventId>),
}

/// One message of a frame.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) headers: Option<HeaderMap>,
    pub(super) body: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    events: Vec<BodyEvent<'a>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    end: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct BodyEvent<'a> {
    id: String,
    event: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The messages that say that these events came, none larger than `most`. Events of one attempt
/// share frames.
pub(super) fn events(events: &[Event], most: usize) -> Result<Vec<Message>, BusError> {
    /// What an event takes beside its data and its name, at most.
    const AROUND: usize = 100;
    let room = most.saturating_sub(HEADERS).max(HEADERS);
    let mut messages = Vec::new();
    let mut rest = events;
    while let Some(first) = rest.first() {
        let mut size = AROUND;
        let fits = |event: &&Event| {
            size += event.data.len() + event.name.len() * 2 + AROUND;
            event.epoch == first.epoch && size <= room
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (frame, later) = rest.split_at(count);
        messages.extend(cut(encode_events(frame)?, room));
        rest = later;
    }
    Ok(messages)
}

fn encode_events(events: &[Event]) -> Result<Bytes, BusError> {
    let mut frame = Vec::with_capacity(events.len());
    for event in events {
        let data = serde_json::from_slice(&event.data)
            .map_err(|error| BusError(format!("the data of an event is not JSON: {error}")))?;
        frame.push(BodyEvent {
            id: event.id.to_string(),
            event: event.name.to_string(),
            data,
        });
    }
    Ok(encode(&Body {
        v: VERSION,
        epoch: events.first().map(|event| event.epoch),
        events: frame,
        end: false,
        last: None,
    }))
}

/// The message that says that the run is over.
pub(super) fn end(last: Option<EventId>) -> Bytes {
    encode(&Body {
        v: VERSION,
        epoch: None,
        events: Vec::new(),
        end: true,
        last: last.map(|id| id.to_string()),
    })
}

fn encode(body: &Body<'_>) -> Bytes {
    serde_json::to_vec(body)
        .expect("plain structures are always JSON")
        .into()
}

fn cut(frame: Bytes, room: usize) -> Vec<Message> {
    if frame.len() <= room {
        return vec![Message {
            headers: None,
            body: frame,
        }];
    }
    let (id, count) = (fastrand::u64(..), frame.len().div_ceil(room));
    let part = |place: usize| {
        let mut headers = HeaderMap::new();
        headers.insert(PART, format!("{id:016x}/{place}/{count}"));
        let end = frame.len().min((place + 1) * room);
        Message {
            headers: Some(headers),
            body: frame.slice(place * room..end),
        }
    };
    (0..count).map(part).collect()
}

/// Reads a whole frame.
fn read(body: &[u8]) -> Result<Frame, String> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if body.end {
        return Ok(Frame::End(body.last.and_then(|id| id.parse().ok())));
    }
    let epoch = body.epoch.ok_or("an epoch is missing")?;
    let event = |event: BodyEvent<'_>| {
        Ok(Event {
            id: event.id.parse().map_err(|_| "an id is not one of ours")?,
            epoch,
            name: Arc::from(event.event),
            data: Bytes::copy_from_slice(event.data.get().as_bytes()),
        })
    };
    let events: Result<_, &str> = body.events.into_iter().map(event).collect();
    Ok(Frame::Events(events?))
}

/// Joins parts and reads frames.
#[derive(Default)]
pub(super) struct Joiner {
    incomplete: HashMap<String, Parts>,
}

struct Parts {
    /// Where the first of them is kept.
    place: u64,
    bodies: Vec<Option<Bytes>>,
}

impl Joiner {
    /// The frame that a message is or completes. `place` says where it is kept, if it is.
    pub(super) fn take(
        &mut self,
        headers: Option<&HeaderMap>,
        body: &Bytes,
        place: u64,
    ) -> Option<Frame> {
        let whole = match headers.and_then(|headers| headers.get(PART)) {
            None => read(body),
            Some(part) => read(&self.join(part.as_str(), body, place)?),
        };
        whole
            .inspect_err(|error| tracing::warn!(error, "a frame of events is not understood"))
            .ok()
    }

    /// Where the first part of what is still incomplete is kept.
    pub(super) fn first_incomplete(&self) -> Option<u64> {
        self.incomplete.values().map(|parts| parts.place).min()
    }

    fn join(&mut self, part: &str, body: &Bytes, place: u64) -> Option<Vec<u8>> {
        let mut fields = part.split('/');
        let id = fields.next()?;
        let number: usize = fields.next()?.parse().ok()?;
        let count: usize = fields.next()?.parse().ok()?;
        let parts = self
            .incomplete
            .entry(id.to_owned())
            .or_insert_with(|| Parts {
                place,
                bodies: vec![None; count.min(1 << 16)],
            });
        *parts.bodies.get_mut(number)? = Some(body.clone());
        if parts.bodies.iter().all(Option::is_some) {
            let parts = self.incomplete.remove(id)?;
            return Some(parts.bodies.into_iter().flatten().flatten().collect());
        }
        if self.incomplete.len() > INCOMPLETE {
            let oldest = self.incomplete.iter().min_by_key(|(_, parts)| parts.place);
            let oldest = oldest.map(|(id, _)| id.clone())?;
            self.incomplete.remove(&oldest);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64, data: String) -> Event {
        Event {
            id: EventId {
                millis: 1_700_000_000_000,
                number,
            },
            epoch: 7,
            name: "values".into(),
            data: data.into(),
        }
    }

    #[test]
    fn frames_have_their_documented_shape() {
        let said = [event(0, "{\"a\": [1, \"é\"]}".to_owned())];
        let messages = events(&said, 1 << 20).unwrap();
        let expected = "{\"v\":1,\"epoch\":7,\"events\":[{\"id\":\"1700000000000-0\",\
            \"event\":\"values\",\"data\":{\"a\": [1, \"é\"]}}]}";
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].body, expected);
        assert_eq!(end(None), "{\"v\":1,\"end\":true}");
        let last = end(Some(said[0].id));
        assert_eq!(last, "{\"v\":1,\"end\":true,\"last\":\"1700000000000-0\"}");
        assert_eq!(read(&last), Ok(Frame::End(Some(said[0].id))));
    }

    #[test]
    fn what_does_not_fit_is_spread_and_read_back() {
        const MOST: usize = 2_000;
        let sizes = [10, 900, 900, 1_500, 9_000, 3, 3];
        let said: Vec<_> = (0..)
            .zip(sizes)
            .map(|(number, size)| event(number, format!("\"{}\"", "x".repeat(size))))
            .collect();
        let messages = events(&said, MOST).unwrap();
        assert!(
            messages
                .iter()
                .all(|message| message.body.len() + HEADERS <= MOST)
        );
        let (mut joiner, mut read) = (Joiner::default(), Vec::new());
        for (place, message) in (1..).zip(&messages) {
            match joiner.take(message.headers.as_ref(), &message.body, place) {
                Some(Frame::Events(events)) => read.extend(events),
                Some(Frame::End(_)) => panic!("not the end"),
                None => assert!(joiner.first_incomplete().is_some()),
            }
        }
        assert_eq!(read, said);
        assert_eq!(joiner.first_incomplete(), None);
    }

    #[test]
    fn what_others_write_on_the_subject_is_left_out() {
        let mut joiner = Joiner::default();
        for noise in [
            "",
            "hello",
            "{}",
            "{\"v\":1,\"epoch\":1,\"events\":[{\"id\":\"x\"}]}",
        ] {
            assert_eq!(joiner.take(None, &Bytes::from(noise), 1), None);
        }
    }
}
