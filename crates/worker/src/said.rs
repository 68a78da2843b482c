//! What an attempt has shown to clients of chat messages that are not stored yet, and whether it has
//! stored anything.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use runloom_core::checkpoint::{NewCheckpoint, NewWrites};
use runloom_core::executor::Said;

/// A message as far as it was streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// The id that the finished message would have had.
    pub(crate) message_id: String,
    /// The node that speaks.
    pub(crate) node: String,
    /// All of its text so far.
    pub(crate) text: String,
    task_id: String,
}

/// What passed through an attempt's host.
#[derive(Default)]
pub(crate) struct Observed {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// In the order in which they began.
    spoken: Vec<Spoken>,
    places: HashMap<String, usize>,
    applied_input: bool,
}

impl Observed {
    /// A piece of a message was streamed.
    pub(crate) fn said(&self, said: &Said) {
        let mut inner = self.lock();
        let next = inner.spoken.len();
        let place = *inner.places.entry(said.message_id.clone()).or_insert(next);
        if place == next {
            inner.spoken.push(Spoken {
                message_id: said.message_id.clone(),
                node: said.node.clone(),
                text: String::new(),
                task_id: said.task_id.clone(),
            });
        }
        inner.spoken[place].text.push_str(&said.text);
    }

    /// Results of tasks were stored: what they said is theirs to keep or to drop.
    pub(crate) fn stored_writes(&self, writes: &NewWrites) {
        let finished = |task: &str| {
            let mut own = writes.writes.iter().filter(|write| write.task_id == task);
            writes.ns.is_empty() && own.any(|write| write.index >= 0)
        };
        let mut inner = self.lock();
        inner.spoken.retain(|spoken| !finished(&spoken.task_id));
        let places = inner.spoken.iter().enumerate();
        inner.places = places
            .map(|(place, spoken)| (spoken.message_id.clone(), place))
            .collect();
    }

    /// A checkpoint was stored.
    pub(crate) fn stored_checkpoint(&self, checkpoint: &NewCheckpoint) {
        let checkpoint = &checkpoint.checkpoint;
        // The one of the input only says that there is one: the channels get it with the next.
        let is_later = checkpoint.metadata.get("source") != Some(&"input".into());
        self.lock().applied_input |= checkpoint.ns.is_empty() && is_later;
    }

    /// Whether a checkpoint of the root graph was stored that has the input in its channels.
    pub(crate) fn has_applied_input(&self) -> bool {
        self.lock().applied_input
    }

    /// The messages of tasks whose results were not stored.
    pub(crate) fn spoken(&self) -> Vec<Spoken> {
        self.lock().spoken.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use runloom_core::checkpoint::{Blob, PendingWrite};
    use runloom_core::ids::CheckpointId;

    use super::*;

    fn said(task: &str, message: &str, text: &str) -> Said {
        Said {
            task_id: task.to_owned(),
            node: "model".to_owned(),
            message_id: message.to_owned(),
            text: text.to_owned(),
        }
    }

    fn writes(ns: &str, task: &str, index: i32) -> NewWrites {
        NewWrites {
            ns: ns.to_owned(),
            checkpoint_id: CheckpointId("c".to_owned()),
            writes: vec![PendingWrite {
                task_id: task.to_owned(),
                task_path: String::new(),
                index,
                channel: "messages".to_owned(),
                blob: Blob::json(&1).unwrap(),
            }],
        }
    }

    fn texts(observed: &Observed) -> Vec<(String, String)> {
        let spoken = observed.spoken().into_iter();
        spoken
            .map(|spoken| (spoken.message_id, spoken.text))
            .collect()
    }

    #[test]
    fn pieces_of_a_message_add_up_in_the_order_in_which_messages_began() {
        let observed = Observed::default();
        for piece in [
            said("1", "b", "be"),
            said("2", "a", "al"),
            said("1", "b", "ta"),
        ] {
            observed.said(&piece);
        }
        let expected = [("b", "beta"), ("a", "al")].map(|(id, text)| (id.into(), text.into()));
        assert_eq!(texts(&observed), expected);
    }

    #[test]
    fn what_a_task_said_is_let_go_when_its_result_is_stored() {
        let observed = Observed::default();
        for piece in [
            said("1", "a", "x"),
            said("2", "b", "y"),
            said("2", "c", "z"),
        ] {
            observed.said(&piece);
        }
        observed.stored_writes(&writes("", "2", -1));
        observed.stored_writes(&writes("child:1", "1", 0));
        assert_eq!(
            texts(&observed).len(),
            3,
            "an error, or a subgraph's task, is no result"
        );
        observed.stored_writes(&writes("", "1", 0));
        observed.said(&said("2", "c", "!"));
        let expected = [("b", "y"), ("c", "z!")].map(|(id, text)| (id.into(), text.into()));
        assert_eq!(texts(&observed), expected);
    }
}
