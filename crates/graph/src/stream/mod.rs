//! Events in the forms that clients read.

mod checkpoints;
mod events;
mod messages;
mod modes;

pub(crate) use messages::message_metadata;
pub(crate) use modes::{MessageForm, Modes};
