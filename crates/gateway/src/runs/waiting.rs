//! The body of a response that waits for a run: a line break now and then, so that nobody takes the
//! connection for dead, and finally one JSON document.

use std::future::Future;
use std::io;
use std::pin::Pin;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use runloom_core::json::Json;
use runloom_core::run::Run;
use tokio::time::{Interval, sleep};
use tokio_util::sync::CancellationToken;

use super::attendance::Attendance;
use crate::Gateway;
use crate::sse::ticks;
use crate::wait::{RECHECK, Watch};

type Answer = Pin<Box<dyn Future<Output = Json> + Send>>;

/// Waits for a run that was there before.
pub(super) fn for_run(mut watch: Watch, attendance: Attendance) -> Response {
    let gateway = watch.gateway().clone();
    let answer = async move {
        let run = watch.end().await;
        outcome(watch, run).await
    };
    respond(&gateway, Box::pin(answer), attendance)
}

/// Waits for a run that was just accepted.
pub(super) fn for_new_run(mut watch: Watch, attendance: Attendance) -> Response {
    let gateway = watch.gateway().clone();
    let answer = async move {
        let run = watch.end_of_new().await;
        outcome(watch, run).await
    };
    respond(&gateway, Box::pin(answer), attendance)
}

/// What the run leaves, as soon as it can be read: the response has begun, so it cannot be refused.
async fn outcome(watch: Watch, run: Option<Run>) -> Json {
    loop {
        let outcome = watch.gateway().outcome(watch.thread(), run.as_ref());
        match outcome.await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!(%error, "cannot read what a run left; trying again"),
        }
        sleep(RECHECK).await;
    }
}

/// An answer that is there already.
pub(super) fn answered(answer: &Json) -> Response {
    let headers = [(CONTENT_TYPE, "application/json")];
    (headers, answer.as_str().to_owned()).into_response()
}

fn respond(gateway: &Gateway, answer: Answer, attendance: Attendance) -> Response {
    let waiting = Waiting {
        answer: Some(answer),
        attendance,
        heartbeat: ticks(gateway),
        stop: gateway.stop.clone(),
    };
    let body = Body::from_stream(stream::unfold(waiting, async |mut waiting| {
        let chunk = waiting.next().await?;
        Some((chunk, waiting))
    }));
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

struct Waiting {
    /// Taken once it was given.
    answer: Option<Answer>,
    attendance: Attendance,
    heartbeat: Interval,
    stop: CancellationToken,
}

impl Waiting {
    /// The next piece of the body; `None` closes it.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let answer = self.answer.as_mut()?;
        tokio::select! {
            biased;
            json = answer => {
                self.answer = None;
                self.attendance.served();
                Some(Ok(json.as_str().to_owned().into()))
            }
            () = self.stop.cancelled() => {
                // Cut off, not closed: a client takes half an answer for a broken connection and
                // joins the run elsewhere.
                self.answer = None;
                self.attendance.excused();
                Some(Err(io::Error::other("the server stops")))
            }
            _ = self.heartbeat.tick() => Some(Ok(Bytes::from_static(b"\n"))),
        }
    }
}
