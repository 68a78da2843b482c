//! Why a run was stopped, as far as it is known.

use runloom_core::run::Run;

/// Why a run was stopped. Nothing is claimed that was not observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Reason {
    /// A newer run took its place.
    Superseded,
    /// Somebody asked for it.
    Cancelled,
    /// It took too long.
    Timeout,
    /// It was stopped, and the record of why is out of reach.
    Stopped,
}

impl Reason {
    /// Why `run` was interrupted, by its record.
    pub(crate) fn of_interrupted(run: &Run) -> Self {
        if run.superseded_by.is_some() {
            Self::Superseded
        } else {
            Self::Cancelled
        }
    }

    /// The name that messages carry.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }

    /// For a model and for people: what happened to the run.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Superseded => "a newer message took the place of this run",
            Self::Cancelled => "the run was cancelled on request",
            Self::Timeout => "the run took longer than it may",
            Self::Stopped => "the run was stopped",
        }
    }
}
