//! What every bus must do, done in process.

use std::sync::Arc;

use runloom_bus::{LocalEventLog, LocalNotifier};
use runloom_testkit::conformance::bus::BusFixture;

#[expect(
    clippy::unused_async,
    reason = "fixtures are asynchronous; this one has nothing to wait for"
)]
async fn local() -> BusFixture {
    let notifier = Arc::new(LocalNotifier::new());
    BusFixture::new(notifier, Arc::new(LocalEventLog::default()))
}

runloom_testkit::bus_conformance!(local);
