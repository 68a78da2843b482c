//! What a gateway measures. `docs/metrics.md` says what the numbers mean.

use std::time::Duration;

use axum::http::StatusCode;
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use runloom_core::bus::SignalReply;
use runloom_core::database::{DatabaseError, Submission};
use runloom_core::run::MultitaskStrategy;
use strum::IntoEnumIterator as _;

const SIGNALS_SENT: &str = "runloom_signals_sent_total";
const REFUSED: &str = "runloom_unavailable_total";
const STREAM_CLIENTS: &str = "runloom_stream_clients";
const EVENT_LAG: &str = "runloom_event_lag_seconds";
const REQUESTS: &str = "runloom_http_requests_total";
const REQUEST_TIME: &str = "runloom_http_request_seconds";
const SUBMISSIONS: &str = "runloom_submissions_total";

const ACCEPTED: &str = "accepted";
const REJECTED: &str = "rejected";
const FAILED: &str = "failed";

/// Says what the numbers of gateways mean to whoever collects them.
pub fn describe_metrics() {
    describe_counter!(SIGNALS_SENT, "signals to workers, by the answer");
    describe_counter!(REFUSED, "requests answered with 503");
    describe_gauge!(STREAM_CLIENTS, "streams that are open");
    let time = |name, text| describe_histogram!(name, Unit::Seconds, text);
    time(
        EVENT_LAG,
        "from the making of an event to its readers' gateway",
    );
    describe_counter!(REQUESTS, "requests, by their answer");
    time(
        REQUEST_TIME,
        "from a request to the beginning of its answer",
    );
    describe_counter!(SUBMISSIONS, "runs that were submitted, by the answer");
    begin_at_zero();
}

/// Shows all counters from the start, so that the first increase is seen as one.
fn begin_at_zero() {
    counter!(REFUSED).absolute(0);
    for reply in SignalReply::iter() {
        let reply: &'static str = reply.into();
        counter!(SIGNALS_SENT, "reply" => reply).absolute(0);
    }
    for strategy in MultitaskStrategy::iter() {
        let strategy: &'static str = strategy.into();
        for verdict in [ACCEPTED, REJECTED, FAILED] {
            counter!(SUBMISSIONS, "strategy" => strategy, "verdict" => verdict).absolute(0);
        }
    }
    gauge!(STREAM_CLIENTS).set(0.0);
    // A histogram is there once it has been asked for.
    let _ = histogram!(EVENT_LAG);
}

/// A run was submitted, and this was the answer.
pub(crate) fn submitted(strategy: MultitaskStrategy, answer: &Result<Submission, DatabaseError>) {
    let strategy: &'static str = strategy.into();
    let verdict = match answer {
        Ok(Submission::Accepted(..)) => ACCEPTED,
        Ok(Submission::Rejected) => REJECTED,
        Err(_) => FAILED,
    };
    counter!(SUBMISSIONS, "strategy" => strategy, "verdict" => verdict).increment(1);
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

/// An open stream. It is counted until it is dropped.
pub(crate) struct StreamClient(());

impl StreamClient {
    pub(crate) fn new() -> Self {
        gauge!(STREAM_CLIENTS).increment(1.0);
        Self(())
    }
}

impl Drop for StreamClient {
    fn drop(&mut self) {
        gauge!(STREAM_CLIENTS).decrement(1.0);
    }
}

/// The lag of one run's events.
pub(crate) struct EventLag(Histogram);

impl EventLag {
    pub(crate) fn new() -> Self {
        Self(histogram!(EVENT_LAG))
    }

    /// An event came here so many milliseconds after it was made. Clocks may differ: it is not less
    /// than nothing.
    pub(crate) fn record(&self, millis: i64) {
        self.0
            .record(Duration::from_millis(millis.max(0).cast_unsigned()));
    }
}

/// The numbers of one route.
pub(crate) struct RouteNumbers {
    /// Answers by the first digit of their status, from 2.
    answers: [Counter; 4],
    took: Histogram,
}

impl RouteNumbers {
    /// Of the route at `path`, at zero.
    pub(crate) fn of(path: &str) -> Self {
        let answers = ["2xx", "3xx", "4xx", "5xx"].map(|status| {
            let counter = counter!(REQUESTS, "route" => path.to_owned(), "status" => status);
            counter.absolute(0);
            counter
        });
        Self {
            answers,
            took: histogram!(REQUEST_TIME, "route" => path.to_owned()),
        }
    }

    /// A request was answered, or its answer began.
    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100);
        let counter = class
            .checked_sub(2)
            .and_then(|place| self.answers.get(place));
        if let Some(counter) = counter {
            counter.increment(1);
        }
        self.took.record(took);
    }
}
