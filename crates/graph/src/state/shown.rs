//! The state as clients see it, encoded where it is: a long conversation is never copied for that.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::compiled::Graph;
use crate::error::Interrupt;
use crate::node::Values;

/// Where clients find what a human is asked.
const INTERRUPTS: &str = "__interrupt__";

/// The channels of `values` that clients see, and the interrupts that wait for an answer, if any do.
pub(crate) struct Shown<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) values: &'a Values,
    pub(crate) interrupts: &'a [Interrupt],
}

impl<'a> Shown<'a> {
    /// The values alone.
    pub(crate) fn of(graph: &'a Graph, values: &'a Values) -> Self {
        Self {
            graph,
            values,
            interrupts: &[],
        }
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let asks = !self.interrupts.is_empty();
        let mut map = serializer.serialize_map(None)?;
        for (channel, value) in self.values {
            if self.graph.shows(channel) && !(asks && channel == INTERRUPTS) {
                map.serialize_entry(channel, &**value)?;
            }
        }
        if asks {
            map.serialize_entry(INTERRUPTS, self.interrupts)?;
        }
        map.end()
    }
}
