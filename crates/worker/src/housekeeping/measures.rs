//! What is measured of all that is deleted in time.

use metrics::{counter, describe_counter};
use runloom_core::database::Expired;
use runloom_core::thread::TtlStrategy;
use strum::IntoEnumIterator as _;

const EXPIRED: &str = "runloom_expired_threads_total";
const PRUNED: &str = "runloom_pruned_total";

/// What is kept, until it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Kept {
    /// Threads, made for one run or because their time was up.
    Threads,
    /// Checkpoints of threads that stay.
    Checkpoints,
    /// Records of runs whose threads stay.
    Runs,
    /// Events that nobody could be told.
    Outbox,
}

/// Says what the numbers mean, and shows them from the start.
pub(crate) fn describe_metrics() {
    describe_counter!(EXPIRED, "threads whose time was up, by what became of them");
    describe_counter!(PRUNED, "what was deleted because it was old enough");
    for strategy in TtlStrategy::iter() {
        dealt_with(strategy, 0);
    }
    for kept in Kept::iter() {
        pruned(kept, 0);
    }
}

/// Threads whose time was up were dealt with.
pub(crate) fn expired(expired: &Expired) {
    dealt_with(TtlStrategy::Delete, expired.deleted);
    dealt_with(TtlStrategy::KeepLatest, expired.trimmed);
    pruned(Kept::Threads, expired.deleted.into());
    pruned(Kept::Checkpoints, expired.checkpoints);
}

fn dealt_with(strategy: TtlStrategy, threads: u32) {
    let strategy: &'static str = strategy.into();
    counter!(EXPIRED, "strategy" => strategy).increment(threads.into());
}

/// So many of what is kept were deleted.
pub(crate) fn pruned(kept: Kept, count: u64) {
    let what: &'static str = kept.into();
    counter!(PRUNED, "what" => what).increment(count);
}
