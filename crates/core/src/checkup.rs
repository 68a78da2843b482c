//! What backends say about themselves to an operator who asks.

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It works, but not as well or as safely as it could.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub grade: Grade,
    /// What was found, in a few words.
    pub what: String,
    /// What to do about it; empty if nothing is to be done.
    pub advice: String,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(what: impl Into<String>) -> Self {
        Self {
            grade: Grade::Ok,
            what: what.into(),
            advice: String::new(),
        }
    }

    /// Something that could be better.
    pub fn warn(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            grade: Grade::Warn,
            what: what.into(),
            advice: advice.into(),
        }
    }

    /// Something that must be mended.
    pub fn fail(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            grade: Grade::Fail,
            what: what.into(),
            advice: advice.into(),
        }
    }
}
