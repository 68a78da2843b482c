//! What the connections to NATS measure. `docs/metrics.md` says what the numbers mean.

use metrics::{counter, describe_counter, describe_gauge, gauge};

const CONNECTED: &str = "runloom_nats_connected";
const RECONNECTS: &str = "runloom_nats_reconnects_total";
const SLOW: &str = "runloom_nats_slow_consumers_total";

/// Says what the numbers of the bus mean to whoever collects them.
pub fn describe_metrics() {
    describe_gauge!(CONNECTED, "whether all connections to NATS are there");
    describe_counter!(RECONNECTS, "connections made anew");
    describe_counter!(
        SLOW,
        "times that messages were dropped as nobody took them in time"
    );
    gauge!(CONNECTED).set(0.0);
    // Shown from the start, so that the first increase is seen as one.
    counter!(RECONNECTS).absolute(0);
    counter!(SLOW).absolute(0);
}

/// Whether all connections are there.
pub(super) fn connected(all: bool) {
    gauge!(CONNECTED).set(f64::from(u8::from(all)));
}

/// A connection was made anew.
pub(super) fn reconnected() {
    counter!(RECONNECTS).increment(1);
}

/// Messages were dropped, as nobody took them in time.
pub(super) fn slow_consumer() {
    counter!(SLOW).increment(1);
}
