//! How fast it is: whole runs per second, each submitted, claimed, checkpointed once and settled.
//! Measures, proves nothing; run it by hand with
//! `cargo test --release -p runloom-sqlite --test speed -- --ignored --nocapture`.

#![expect(
    clippy::print_stderr,
    reason = "the numbers are for whoever asked for them"
)]

use std::sync::Arc;

use runloom_core::clock::SystemClock;
use runloom_sqlite::{Config, Location, Sqlite};
use runloom_testkit::speed;

/// Runs in one measurement.
const RUNS: u32 = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, proves nothing"]
async fn runs_per_second() {
    let folder = tempfile::tempdir().unwrap();
    for location in [Location::Folder(folder.path().to_owned()), Location::Memory] {
        let name = format!("{location:?}");
        let database = Sqlite::open(location, Arc::new(SystemClock), Config::default()).await;
        let database = Arc::new(database.unwrap());
        for tasks in [1, 16] {
            let speed = speed::runs_per_second(database.clone(), RUNS, tasks).await;
            eprintln!("{name}: {tasks} tasks: {speed:.0} runs/s");
        }
    }
}
