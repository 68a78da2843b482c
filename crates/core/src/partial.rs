//! What is kept of a run that was stopped: the server's setting, and a run's own.

use serde::{Deserialize, Serialize};

use crate::json::JsonMap;

/// The key of `config.configurable` under which a run carries its own settings.
pub const CONFIGURABLE_KEY: &str = "runloom";

/// Whether what an aborted node had already streamed becomes part of the thread.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Partial {
    /// Text that somebody saw is kept as an AI message marked as interrupted.
    #[default]
    Auto,
    /// It is kept on the run's record only.
    Off,
}

/// What becomes of tool calls that were not answered when a run was stopped.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ToolCalls {
    /// Each gets an error tool message, so that a model accepts the thread again.
    #[default]
    Repair,
    /// They stay as they are.
    Keep,
}

/// What becomes of the input of a run that was superseded before it started.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PendingInput {
    /// It is applied to the thread as that run's input checkpoint.
    #[default]
    Keep,
    /// It is dropped.
    Drop,
}

/// The choices that hold for one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PartialPolicy {
    /// See [`Partial`].
    pub partial: Partial,
    /// See [`ToolCalls`].
    pub tool_calls: ToolCalls,
    /// See [`PendingInput`].
    pub pending_input: PendingInput,
}

/// A named set of choices.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Profile {
    /// What the published server does: nothing beyond finished supersteps is kept.
    Strict,
}

/// A run's own settings as it writes them; what is absent is the server's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialOverride {
    /// A named set of choices, applied before the others.
    pub profile: Option<Profile>,
    /// See [`Partial`].
    pub partial: Option<Partial>,
    /// See [`ToolCalls`].
    pub tool_calls: Option<ToolCalls>,
    /// See [`PendingInput`].
    pub pending_input: Option<PendingInput>,
}

impl PartialPolicy {
    /// Byte parity with the published server.
    pub const STRICT: Self = Self {
        partial: Partial::Off,
        tool_calls: ToolCalls::Keep,
        pending_input: PendingInput::Drop,
    };

    /// These choices with `own` applied over them.
    pub fn overridden_by(self, own: PartialOverride) -> Self {
        let base = match own.profile {
            Some(Profile::Strict) => Self::STRICT,
            None => self,
        };
        Self {
            partial: own.partial.unwrap_or(base.partial),
            tool_calls: own.tool_calls.unwrap_or(base.tool_calls),
            pending_input: own.pending_input.unwrap_or(base.pending_input),
        }
    }
}

impl PartialOverride {
    /// What a run asks for in `configurable.runloom`; an error names what is wrong there.
    pub fn of_configurable(configurable: Option<&JsonMap>) -> Result<Self, serde_json::Error> {
        match configurable.and_then(|map| map.get(CONFIGURABLE_KEY)) {
            Some(own) => Self::deserialize(own),
            None => Ok(Self::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_overrides_the_server_and_single_choices_override_a_profile() {
        let configurable = json!({"runloom": {"profile": "strict", "partial": "auto"}});
        let own = PartialOverride::of_configurable(configurable.as_object()).unwrap();
        let policy = PartialPolicy::default().overridden_by(own);
        assert_eq!(
            policy,
            PartialPolicy {
                partial: Partial::Auto,
                ..PartialPolicy::STRICT
            }
        );
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let configurable = json!({"runloom": {"partail": "off"}});
        assert!(PartialOverride::of_configurable(configurable.as_object()).is_err());
    }
}
