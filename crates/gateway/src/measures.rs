//! What a gateway measures. `docs/metrics.md` says what the numbers mean.

use metrics::{counter, describe_counter};
use runloom_core::bus::SignalReply;

const SIGNALS_SENT: &str = "runloom_signals_sent_total";
const REFUSED: &str = "runloom_unavailable_total";

/// Says what the numbers of gateways mean to whoever collects them.
pub fn describe_metrics() {
    describe_counter!(SIGNALS_SENT, "signals to workers, by the answer");
    describe_counter!(REFUSED, "requests answered with 503");
    // Shown from the start, so that the first increase is seen as one.
    counter!(REFUSED).absolute(0);
}

/// A worker was asked to stop a run.
pub(crate) fn signalled(reply: SignalReply) {
    let reply: &'static str = reply.into();
    counter!(SIGNALS_SENT, "reply" => reply).increment(1);
}

/// A request could not be served for now.
pub(crate) fn unavailable() {
    counter!(REFUSED).increment(1);
}
