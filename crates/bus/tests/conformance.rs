//! What every bus must do: inside one process, and on the newest and the oldest supported NATS server.

mod support;

use std::sync::Arc;
use std::time::Duration;

use runloom_testkit::conformance::bus::BusFixture;

/// Wake-ups that were not answered come again soon, as the cases wait for them.
const ACK_WAIT: Duration = Duration::from_secs(3);

mod local {
    use super::*;
    use runloom_bus::{LocalEventLog, LocalNotifier};

    #[expect(clippy::unused_async, reason = "the suite awaits its fixture")]
    async fn fixture() -> BusFixture {
        BusFixture::new(
            Arc::new(LocalNotifier::with_ack_wait(ACK_WAIT)),
            Arc::new(LocalEventLog::default()),
        )
    }

    runloom_testkit::bus_conformance!(fixture);
}

/// A bus of its own on a server that others use, too.
async fn on_nats(url: String) -> BusFixture {
    let mut options = support::options(&url);
    options.ack_wait = ACK_WAIT;
    let left = support::Leftovers::of(&options);
    let nats = support::connect(options).await;
    BusFixture::new(nats.notifier(), nats.events()).keeping((nats, left))
}

mod nats_newest {
    use super::*;

    async fn fixture() -> BusFixture {
        on_nats(runloom_testkit::services::shared::nats_url()).await
    }

    runloom_testkit::bus_conformance!(fixture);
}

mod nats_floor {
    use super::*;

    async fn fixture() -> BusFixture {
        on_nats(runloom_testkit::services::shared::nats_floor_url()).await
    }

    runloom_testkit::bus_conformance!(fixture);
}
