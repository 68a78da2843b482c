//! What runs say, on its way to the clients.

use runloom_core::executor::{Emission, Said};

use crate::protocol::{Event, SaidPiece};

/// The names that events have on the wire.
const NAMES: [&str; 11] = [
    "values",
    "updates",
    "messages",
    "messages/metadata",
    "messages/partial",
    "messages/complete",
    "custom",
    "tasks",
    "checkpoints",
    "debug",
    "events",
];

/// The event as hosts take it; `None` if the wire has no such event.
pub(super) fn emission(event: Event) -> Option<Emission> {
    let Event(name, ns, data, said) = event;
    let Some(event) = NAMES.into_iter().find(|known| **known == *name) else {
        tracing::warn!(name, "an executor sent an event that clients do not know");
        return None;
    };
    let said = said.map(|SaidPiece(task_id, node, message_id, text)| Said {
        task_id,
        node,
        message_id,
        text,
    });
    Some(Emission {
        event,
        ns,
        data,
        said,
    })
}
