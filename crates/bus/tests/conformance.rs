//! What every bus must do, done inside one process.

use std::sync::Arc;
use std::time::Duration;

use runloom_bus::{LocalEventLog, LocalNotifier};
use runloom_testkit::conformance::bus::BusFixture;

#[expect(clippy::unused_async, reason = "the suite awaits its fixture")]
async fn fixture() -> BusFixture {
    BusFixture::new(
        Arc::new(LocalNotifier::with_ack_wait(Duration::from_secs(1))),
        Arc::new(LocalEventLog::default()),
    )
}

runloom_testkit::bus_conformance!(fixture);
