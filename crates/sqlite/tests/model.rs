//! SQLite does what the model does, whatever is asked of it.

use std::sync::Arc;

use runloom_sqlite::{Config, Location, Sqlite};
use runloom_testkit::conformance::database::Fixture;
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::model_check::model_check;

#[tokio::test]
async fn random_operations_get_the_answers_of_the_model() {
    for seed in 0..25 {
        let clock = ManualClock::new();
        let database = Sqlite::open(Location::Memory, clock.clone(), Config::default()).await;
        let fixture = Fixture::new(Arc::new(database.unwrap()), clock);
        model_check(&fixture, seed, 120).await;
    }
}
