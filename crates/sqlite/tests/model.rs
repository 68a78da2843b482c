//! SQLite does what the model does, whatever is asked of it. A failure names the seed and the
//! operations that led to it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::ops::Range;
use std::sync::Arc;

use runloom_sqlite::{Config, Location, Sqlite};
use runloom_testkit::conformance::database::Fixture;
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::model_check::model_check;

/// How many operations are done with each seed.
const OPERATIONS: usize = 250;

async fn check(location: impl Fn() -> Location, seeds: Range<u64>) {
    for seed in seeds {
        let clock = ManualClock::new();
        let database = Sqlite::open(location(), clock.clone(), Config::default()).await;
        let fixture = Fixture::new(Arc::new(database.unwrap()), clock);
        model_check(&fixture, seed, OPERATIONS).await;
    }
}

async fn check_in_memory(seeds: Range<u64>) {
    check(|| Location::Memory, seeds).await;
}

// Several tests, so that they run side by side.

#[tokio::test]
async fn random_operations_get_the_answers_of_the_model() {
    check_in_memory(0..15).await;
}

#[tokio::test]
async fn other_random_operations_get_the_answers_of_the_model() {
    check_in_memory(100..115).await;
}

#[tokio::test]
async fn random_operations_on_a_file_get_the_answers_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    let fresh = || {
        count.set(count.get() + 1);
        Location::Folder(folder.path().join(count.get().to_string()))
    };
    check(fresh, 200..208).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn very_many_random_operations_get_the_answers_of_the_model() {
    check_in_memory(1_000..2_000).await;
}
