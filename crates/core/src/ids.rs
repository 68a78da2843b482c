//! Identifiers, each its own type, and the only place that makes new ones.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id. Ids made later sort later, so that indexes stay warm.
            #[expect(clippy::disallowed_methods, reason = "ids are made here and nowhere else")]
            #[expect(clippy::new_without_default, reason = "no id is a default id")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

uuid_id! {
    /// Names a thread: a conversation, the unit of order and of state.
    ThreadId
}
uuid_id! {
    /// Names a run: one execution of an assistant on a thread.
    RunId
}
uuid_id! {
    /// Names an assistant: a graph with its configuration.
    AssistantId
}
uuid_id! {
    /// Names one incarnation of a worker process. Made anew at every start, never reused.
    WorkerId
}
uuid_id! {
    /// A nonce that the claimer makes for each claim. Together with the epoch it is the fence: it
    /// stays invalid even if a database loses its last commits and an epoch repeats.
    ClaimId
}

/// The namespace in which the published servers derive the ids of system assistants from graph
/// names. Clients hard-code the results.
const GRAPH_NAMESPACE: Uuid = Uuid::from_u128(0x6ba7_b821_9dad_11d1_80b4_00c0_4fd4_30c8);

impl AssistantId {
    /// The id of the assistant that the server itself keeps for `graph`.
    pub fn of_graph(graph: &GraphId) -> Self {
        Self(Uuid::new_v5(&GRAPH_NAMESPACE, graph.0.as_bytes()))
    }
}

/// Names a graph that an executor can run, such as `agent`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GraphId(pub String);

impl fmt::Display for GraphId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&str> for GraphId {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// Names a checkpoint within its thread and namespace. The text is a UUIDv6, so comparing texts
/// compares times; "the latest checkpoint" is the greatest text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckpointId(pub String);

impl CheckpointId {
    /// A new id that is greater than `previous`, even if the clock `now` stepped back meanwhile.
    pub fn after(previous: Option<&Self>, now: DateTime<Utc>) -> Self {
        let least = previous.and_then(Self::ticks).map_or(0, |ticks| ticks + 1);
        let ticks = least.max(unix_to_ticks(now));
        let entropy = random();
        let node = <[u8; 6]>::try_from(&entropy[..6]).expect("six of sixteen bytes");
        let counter = u16::from_be_bytes([entropy[6], entropy[7]]);
        Self(Uuid::new_v6(uuid::Timestamp::from_gregorian_time(ticks, counter), &node).to_string())
    }

    /// Time since the Gregorian epoch in units of 100 ns, if this is a UUIDv6.
    fn ticks(&self) -> Option<u64> {
        let id: Uuid = self.0.parse().ok()?;
        id.get_timestamp().map(|time| time.to_gregorian().0)
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A random id as text, for messages and the like.
pub fn random_id() -> String {
    Uuid::from_bytes(random()).to_string()
}

#[expect(
    clippy::disallowed_methods,
    reason = "ids are made here and nowhere else"
)]
fn random() -> [u8; 16] {
    Uuid::new_v4().into_bytes()
}

fn unix_to_ticks(time: DateTime<Utc>) -> u64 {
    /// 1582-10-15 to 1970-01-01 in units of 100 ns.
    const OFFSET: i128 = 0x01B2_1DD2_1381_4000;
    let nanos =
        i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos());
    u64::try_from(nanos / 100 + OFFSET).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_assistant_of_agent_has_the_id_that_clients_hard_code() {
        assert_eq!(
            AssistantId::of_graph(&"agent".into()).to_string(),
            "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
        );
    }

    #[test]
    fn checkpoint_ids_grow_even_when_the_clock_stands_still_or_steps_back() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut last = CheckpointId::after(None, now);
        for step in 0..1_000 {
            let next = CheckpointId::after(Some(&last), now - chrono::Duration::seconds(step));
            assert!(next > last, "{next} after {last}");
            last = next;
        }
    }
}
