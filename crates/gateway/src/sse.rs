//! The body of a streamed response: frames as they come, and a heartbeat from the moment it opens.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use runloom_api::stream as wire;
use runloom_api::stream::{HEARTBEAT, Modes, comment};
use std::convert::Infallible;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::fanout::{Reader, Step};
use crate::measures::StreamClient;
use crate::runs::Attendance;

/// A response with these frames and nothing else.
pub(crate) fn finished(frames: Vec<Bytes>) -> Response {
    response(stream::iter(frames))
}

/// A response that streams what `reader` reads.
pub(crate) fn open(
    gateway: &Gateway,
    reader: Reader,
    modes: Modes,
    attendance: Attendance,
) -> Response {
    let open = Open {
        reader,
        modes,
        attendance,
        heartbeat: ticks(gateway),
        stop: gateway.stop.clone(),
        rest: None,
        _counted: StreamClient::new(),
    };
    response(stream::unfold(open, async |mut open| {
        let chunk = open.next().await?;
        Some((chunk, open))
    }))
}

/// Ticks at which an open response shows that it is alive. Clients measure the interval, so it does
/// not depend on what else is sent.
pub(crate) fn ticks(gateway: &Gateway) -> Interval {
    let period = gateway.config.heartbeat;
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

fn response(frames: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(wire::CONTENT_TYPE)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Proxies must pass on each frame at once.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    let body = Body::from_stream(frames.map(Ok::<_, Infallible>));
    (headers, body).into_response()
}

struct Open {
    reader: Reader,
    modes: Modes,
    attendance: Attendance,
    heartbeat: Interval,
    stop: CancellationToken,
    /// What is still to be sent after the reader's last step.
    rest: Option<std::vec::IntoIter<Bytes>>,
    _counted: StreamClient,
}

impl Open {
    /// The next piece of the body; `None` closes it.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(rest) = &mut self.rest {
                return rest.next();
            }
            let step = tokio::select! {
                // A stream that never pauses must not keep heartbeats back.
                biased;
                () = self.stop.cancelled() => {
                    // Clients see no end of the run and go on at another gateway. No `retry` field
                    // says so: the published clients take one for an event.
                    self.attendance.excused();
                    let note = comment("the server stops; go on elsewhere");
                    self.rest = Some(vec![note].into_iter());
                    continue;
                }
                _ = self.heartbeat.tick() => return Some(HEARTBEAT),
                step = self.reader.next() => step,
            };
            match step {
                Step::Frame(frame) if self.modes.want(frame.mode) => return Some(frame.bytes),
                Step::Frame(_unwanted) => {}
                Step::Note(note) => return Some(note),
                Step::Over(rest) => {
                    self.attendance.served();
                    self.rest = Some(rest.into_iter());
                }
                Step::Behind(last) => {
                    self.attendance.excused();
                    let after = last.map_or_else(String::new, |id| format!("; resume after {id}"));
                    let note = comment(&format!("reading too slowly{after}"));
                    self.rest = Some(vec![note].into_iter());
                }
                Step::Lost => {
                    self.attendance.excused();
                    self.rest = Some(Vec::new().into_iter());
                }
            }
        }
    }
}
