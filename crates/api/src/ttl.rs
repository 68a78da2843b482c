//! How long threads are kept, on the wire.

use runloom_core::thread::{self as core, TtlStrategy};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::time::Timestamp;

/// When a thread expires.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a 'ttl' is a number of minutes, or such a number as `ttl` and a `strategy`: \
        `delete` or `keep_latest`"
)]
pub enum Ttl {
    /// After so many minutes; it is deleted then.
    Minutes(f64),
    /// After some time, in some way.
    Full {
        /// Minutes.
        ttl: f64,
        /// What happens then.
        #[serde(default)]
        strategy: PruneStrategy,
    },
}

impl Ttl {
    /// What it means; none if the number makes no sense.
    pub fn meant(self) -> Option<core::Ttl> {
        let (minutes, strategy) = match self {
            Self::Minutes(minutes) => (minutes, PruneStrategy::default()),
            Self::Full { ttl, strategy } => (ttl, strategy),
        };
        core::Ttl::new(minutes, strategy.into())
    }
}

/// What happens to threads that are pruned or expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PruneStrategy {
    /// They are deleted.
    #[default]
    Delete,
    /// Only their latest state is kept.
    KeepLatest,
}

impl From<PruneStrategy> for TtlStrategy {
    fn from(strategy: PruneStrategy) -> Self {
        match strategy {
            PruneStrategy::Delete => Self::Delete,
            PruneStrategy::KeepLatest => Self::KeepLatest,
        }
    }
}

impl From<TtlStrategy> for PruneStrategy {
    fn from(strategy: TtlStrategy) -> Self {
        match strategy {
            TtlStrategy::Delete => Self::Delete,
            TtlStrategy::KeepLatest => Self::KeepLatest,
        }
    }
}

/// When a thread expires, and how.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Expiry {
    /// What happens then.
    pub strategy: PruneStrategy,
    /// How many minutes after anything last happened on it.
    pub ttl_minutes: f64,
    /// When that is, unless something happens on it before.
    pub expires_at: Timestamp,
}

impl Expiry {
    /// When `thread` expires, if it does.
    pub fn of(thread: &core::Thread) -> Option<Self> {
        let ttl = thread.ttl?;
        Some(Self {
            strategy: ttl.strategy.into(),
            ttl_minutes: ttl.minutes,
            expires_at: thread.expires_at()?.into(),
        })
    }
}

/// Tells what is null from what is not there.
#[expect(clippy::option_option, reason = "null is not the same as nothing")]
pub(crate) fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
