//! Postgres does what the model does, whatever is asked of it. A failure names the seed and the
//! operations that led to it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::ops::Range;

use runloom_postgres::Config;
use runloom_testkit::model_check::model_check;

/// How many operations are done with each seed.
const OPERATIONS: usize = 150;

async fn check(config: Config, seeds: Range<u64>) {
    for seed in seeds {
        let fixture = common::fixture(config.clone()).await;
        model_check(&fixture, seed, OPERATIONS).await;
    }
}

// Several tests, so that they run side by side.

#[tokio::test]
async fn random_operations_get_the_answers_of_the_model() {
    check(Config::default(), 0..6).await;
}

#[tokio::test]
async fn random_operations_in_many_trips_get_the_answers_of_the_model() {
    let config = Config {
        one_trip: false,
        ..Config::default()
    };
    check(config, 100..103).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn very_many_random_operations_get_the_answers_of_the_model() {
    check(Config::default(), 1_000..1_200).await;
}
