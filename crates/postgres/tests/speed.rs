//! How fast it is: whole runs per second, each submitted, claimed, checkpointed once and settled.
//! Measures, proves nothing; run it by hand with
//! `scripts/services.sh run cargo test --release -p runloom-postgres --test speed -- --ignored --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(
    clippy::print_stderr,
    reason = "the numbers are for whoever asked for them"
)]

mod common;

use std::sync::Arc;

use common::Fresh;
use runloom_postgres::Config;
use runloom_testkit::speed;

/// Runs in one measurement.
const RUNS: u32 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, proves nothing"]
async fn runs_per_second() {
    for one_trip in [false, true] {
        let fresh = Fresh::new().await;
        let config = Config {
            one_trip,
            ..Config::default()
        };
        let database = Arc::new(fresh.open(config));
        for tasks in [1, 16, 64] {
            let speed = speed::runs_per_second(database.clone(), RUNS, tasks).await;
            let way = if one_trip { "one trip" } else { "many trips" };
            eprintln!("{way}: {tasks} tasks: {speed:.0} runs/s");
        }
    }
}
