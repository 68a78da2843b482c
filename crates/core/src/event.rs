//! What a run emits while it executes: names, order and ids.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a client may ask a run to stream.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum StreamMode {
    /// The whole state after the input and after each superstep.
    Values,
    /// What each node wrote.
    Updates,
    /// Chat messages, accumulated: `messages/metadata`, `messages/partial`, `messages/complete`.
    Messages,
    /// Chat message chunks as they come, each with its metadata.
    MessagesTuple,
    /// Whatever a node chose to send.
    Custom,
    /// Start and end of each task.
    Tasks,
    /// Each checkpoint.
    Checkpoints,
    /// Tasks and checkpoints in one envelope.
    Debug,
    /// Callback events of the graph's own runtime; only foreign graphs have them.
    Events,
}

/// The id of an event on the wire, `<milliseconds>-<number>`. Strictly grows along a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Unix time in milliseconds, by the database's clock at the claim plus the time since then, plus
    /// the number of the attempt. So it grows from one attempt to the next, even within a
    /// millisecond.
    pub millis: u64,
    /// Position within the attempt, from 0, without gaps.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

/// A text that is not an event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id has the form <milliseconds>-<number>")]
pub struct InvalidEventId;

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (millis, number) = text.split_once('-').ok_or(InvalidEventId)?;
        Ok(Self {
            millis: millis.parse().map_err(|_| InvalidEventId)?,
            number: number.parse().map_err(|_| InvalidEventId)?,
        })
    }
}

/// One event of a run, encoded once and shared by all its readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it stands in the run.
    pub id: EventId,
    /// The epoch of the attempt that emitted it. Readers drop what an older epoch says once they
    /// have seen a newer one; numbers start again at 0 with each epoch.
    pub epoch: i64,
    /// Its name on the wire, with the namespace of a subgraph: `values`, `updates|child:1f0c…`.
    pub name: Arc<str>,
    /// One JSON document in one line.
    pub data: Bytes,
}

/// How long the events of a run are kept for readers that come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Only for who is reading now.
    Live,
    /// Until some time after the run ended, so that a stream can be resumed.
    Resumable,
}

impl Retention {
    /// What a run asked for with `stream_resumable`.
    pub fn of(resumable: bool) -> Self {
        if resumable {
            Self::Resumable
        } else {
            Self::Live
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_read_back_and_order_by_time_then_number() {
        let early = EventId {
            millis: 9,
            number: 10,
        };
        let late = EventId {
            millis: 10,
            number: 2,
        };
        assert_eq!(early.to_string().parse(), Ok(early));
        assert!(early < late);
        assert_eq!("-1".parse::<EventId>(), Err(InvalidEventId));
        assert_eq!("abc".parse::<EventId>(), Err(InvalidEventId));
    }

    #[test]
    fn stream_modes_have_their_wire_names() {
        assert_eq!(StreamMode::MessagesTuple.to_string(), "messages-tuple");
        assert_eq!("debug".parse(), Ok(StreamMode::Debug));
    }
}
