//! What every bus must do, done inside one process.

use std::sync::Arc;

use runloom_bus::{LocalEventLog, LocalNotifier};
use runloom_testkit::conformance::bus::BusFixture;

#[expect(clippy::unused_async, reason = "the suite awaits its fixture")]
async fn fixture() -> BusFixture {
    BusFixture::new(
        Arc::new(LocalNotifier::new()),
        Arc::new(LocalEventLog::default()),
    )
}

runloom_testkit::bus_conformance!(fixture);
