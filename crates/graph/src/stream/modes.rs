//! Which events a run was asked for.

use runloom_core::event::StreamMode;

/// How chat messages are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageForm {
    /// `messages/metadata`, `messages/partial` and `messages/complete`.
    Accumulated,
    /// `messages`: pieces with their metadata. Wins if both forms are asked for.
    Tuple,
}

/// The modes of a run.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one mode, asked for or not"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modes {
    pub(crate) values: bool,
    pub(crate) updates: bool,
    pub(crate) custom: bool,
    pub(crate) tasks: bool,
    pub(crate) checkpoints: bool,
    pub(crate) debug: bool,
    pub(crate) messages: Option<MessageForm>,
}

impl Modes {
    pub(crate) fn of(modes: &[StreamMode]) -> Self {
        let has = |mode| modes.contains(&mode);
        let messages = if has(StreamMode::MessagesTuple) {
            Some(MessageForm::Tuple)
        } else {
            has(StreamMode::Messages).then_some(MessageForm::Accumulated)
        };
        Self {
            values: has(StreamMode::Values),
            updates: has(StreamMode::Updates),
            custom: has(StreamMode::Custom),
            tasks: has(StreamMode::Tasks),
            checkpoints: has(StreamMode::Checkpoints),
            debug: has(StreamMode::Debug),
            messages,
        }
    }
}
