//! How spans leave: in the background, a batch at a time. A receiver that is out of reach costs a
//! warning now and then, and the spans that nobody took.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

/// How long a receiver may take for one batch.
const CALL: Duration = Duration::from_secs(5);

/// How often it is said that nobody takes spans.
const SAY_AGAIN: Duration = Duration::from_mins(1);

/// Sends by the runtime of the process: the library's own thread has none.
pub(super) struct Sender {
    client: reqwest::Client,
    runtime: Handle,
}

impl Sender {
    pub(super) fn new(runtime: Handle) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(CALL).build();
        let client = client.context("cannot send traces")?;
        Ok(Self { client, runtime })
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            let response = response.body(answer.bytes().await?)?;
            Ok::<_, HttpError>(response)
        });
        sending.await?
    }
}

/// An exporter whose failures are said once a minute, with how many spans were lost since.
pub(super) struct Patient<E> {
    exporter: E,
    lost: Mutex<Lost>,
}

#[derive(Default)]
struct Lost {
    spans: usize,
    said: Option<Instant>,
}

impl<E> Patient<E> {
    pub(super) fn new(exporter: E) -> Self {
        Self {
            exporter,
            lost: Mutex::default(),
        }
    }

    /// How many spans were lost since it was last said, if it is time to say so.
    fn lose(&self, spans: usize, now: Instant) -> Option<usize> {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.spans += spans;
        let is_due = lost.said.is_none_or(|said| now - said >= SAY_AGAIN);
        is_due.then(|| {
            lost.said = Some(now);
            std::mem::take(&mut lost.spans)
        })
    }
}

impl<E: fmt::Debug> fmt::Debug for Patient<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exporter.fmt(f)
    }
}

impl<E: SpanExporter> SpanExporter for Patient<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        if let Err(error) = &sent
            && let Some(lost) = self.lose(spans, Instant::now())
        {
            tracing::warn!(%error, lost, "nobody takes traces; their spans are lost");
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_said_once_a_minute_and_all_of_them() {
        let patient = Patient::new(());
        let now = Instant::now();
        assert_eq!(patient.lose(3, now), Some(3));
        assert_eq!(patient.lose(4, now + SAY_AGAIN / 2), None);
        assert_eq!(patient.lose(5, now + SAY_AGAIN), Some(9));
        assert_eq!(patient.lose(1, now + SAY_AGAIN), None);
    }
}
