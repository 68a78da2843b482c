//! The API as a NATS micro service: any client finds it with `$SRV.INFO.runloom` and calls it by
//! request and reply. All processes that serve it share the calls.
//!
//! An answer's body is the JSON that HTTP would give. An error has the headers `Nats-Service-Error`
//! (what went wrong) and `Nats-Service-Error-Code` (the HTTP status) besides, and `Retry-After`, in
//! seconds, if it is worth asking again.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::service::{
    NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, Request, Service as NatsService, ServiceExt,
};
use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, SelectAll};
use runloom_core::bus::BusError;
use runloom_core::service::{Answer, Operation, Service, ServiceHost};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::headers;
use super::link::{CALL, Link, bounded};
use super::subject::{SERVICE_GROUP, Subjects};

/// The service's name.
const NAME: &str = "runloom";

/// What is to be known about an operation's errors, for people.
const ERRORS: &str = "Nats-Service-Error-Code is the HTTP status, the body {detail}";

/// What an operation may do at once. Each has its own measure, so that those who wait for runs do
/// not keep others from creating them.
const AT_ONCE: usize = 512;

/// How long after a failure to begin again.
const AGAIN: Duration = Duration::from_secs(1);

/// Room for an answer's headers.
const HEADERS: usize = 1024;

/// How often operations were answered with an error, by name.
type Errors = Arc<Mutex<HashMap<&'static str, u64>>>;

/// Serves on one connection.
pub(super) struct NatsServiceHost {
    link: Arc<Link>,
    subjects: Subjects,
}

impl NatsServiceHost {
    pub(super) fn new(link: Arc<Link>, subjects: Subjects) -> Self {
        Self { link, subjects }
    }
}

#[async_trait]
impl ServiceHost for NatsServiceHost {
    async fn serve(&self, service: Arc<dyn Service>, version: &str, stop: BoxFuture<'static, ()>) {
        serve(self.link.clone(), &self.subjects, version, service, stop).await;
    }
}

/// A call that came, of which operation, and how many more of it may be under way.
type Call = (&'static Operation, Arc<Semaphore>, Request);

/// The calls of all operations.
type Calls = SelectAll<BoxStream<'static, Call>>;

/// Serves `service` until `stop`, then lets the calls under way be answered. Begins as soon as there
/// is a connection, and goes on after each reconnection.
async fn serve(
    link: Arc<Link>,
    subjects: &Subjects,
    version: &str,
    service: Arc<dyn Service>,
    mut stop: BoxFuture<'static, ()>,
) {
    let errors = Errors::default();
    let starting = start_at_last(&link, subjects, version, &*service, &errors);
    let (started, mut calls) = tokio::select! {
        biased;
        () = &mut stop => return,
        started = starting => started,
    };
    let tasks = TaskTracker::new();
    let take = |(operation, permits, request): Call| {
        let (service, link, errors) = (service.clone(), link.clone(), errors.clone());
        tasks.spawn(async move {
            let answer = match permits.try_acquire() {
                Ok(_permit) => {
                    let trace = headers::context(request.message.headers.as_ref());
                    service
                        .call(operation, request.message.payload.clone(), trace.as_ref())
                        .await
                }
                Err(_) => busy(),
            };
            reply(&link, &errors, operation, &request, answer).await;
        });
        ready(())
    };
    tokio::select! {
        biased;
        () = &mut stop => {}
        () = calls.by_ref().for_each(&take) => {}
    }
    // The rest goes to others; what has been delivered is still answered. Without a connection there
    // is nobody to say goodbye to.
    let _ = started.stop().await;
    let _ = timeout(CALL, calls.for_each(&take)).await;
    tasks.close();
    tasks.wait().await;
    let _ = bounded(CALL, link.client().flush()).await;
}

/// Waits for a connection, and for what else it may need.
async fn start_at_last(
    link: &Link,
    subjects: &Subjects,
    version: &str,
    service: &dyn Service,
    errors: &Errors,
) -> (NatsService, Calls) {
    let mut connected = link.connected();
    loop {
        // The link keeps the sender: as long as it is here there is something to wait for.
        let _ = connected.wait_for(|number| *number > 0).await;
        match start(link, subjects, version, service, errors).await {
            Ok(started) => return started,
            Err(error) => tracing::warn!(%error, "the API cannot be served on NATS yet"),
        }
        sleep(AGAIN).await;
    }
}

async fn start(
    link: &Link,
    subjects: &Subjects,
    version: &str,
    service: &dyn Service,
    errors: &Errors,
) -> Result<(NatsService, Calls), BusError> {
    let counted = errors.clone();
    let builder = link
        .client()
        .service_builder()
        .description("Runs of graphs on threads")
        .queue_group(SERVICE_GROUP)
        .metadata(text(&[("cell", subjects.cell())]))
        .stats_handler(move |endpoint, _| error_count(&counted, &endpoint));
    let started = bounded(CALL, builder.start(NAME, version)).await?;
    let mut calls = SelectAll::new();
    for operation in service.operations() {
        let endpoint = started
            .endpoint_builder()
            .name(operation.name.replace('.', "-"))
            .metadata(metadata(operation));
        let endpoint = bounded(CALL, endpoint.add(subjects.api(operation.name))).await;
        let endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let _ = started.stop().await;
                return Err(error);
            }
        };
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let call = move |request| (operation, permits.clone(), request);
        calls.push(endpoint.map(call).boxed());
    }
    Ok((started, calls))
}

async fn reply(
    link: &Link,
    errors: &Errors,
    operation: &Operation,
    request: &Request,
    answer: Answer,
) {
    let most = link.max_payload().saturating_sub(HEADERS);
    let answer = fitting(answer, most);
    let mut headers = HeaderMap::new();
    if answer.is_error() {
        headers.insert(NATS_SERVICE_ERROR, summary(&answer).as_str());
        headers.insert(NATS_SERVICE_ERROR_CODE, answer.status.to_string().as_str());
        if let Ok(mut errors) = errors.lock() {
            *errors.entry(operation.name).or_default() += 1;
        }
    }
    if let Some(after) = answer.retry_after {
        headers.insert("Retry-After", after.as_secs().max(1).to_string().as_str());
    }
    // The library would leave out the body of what it knows to be an error.
    let sent = request.respond_with_headers(Ok(answer.body), headers);
    if let Err(error) = bounded(CALL, sent).await {
        tracing::debug!(%error, operation = operation.name, "a call was not answered");
    }
}

/// The answer, or that it is larger than `most` bytes, which the server would not carry.
fn fitting(answer: Answer, most: usize) -> Answer {
    let size = answer.body.len();
    if size <= most {
        return answer;
    }
    Answer::refusal(
        413,
        &format!(
            "The answer has {size} bytes; the NATS server carries {most} (max_payload). \
             Read it over HTTP."
        ),
    )
}

fn busy() -> Answer {
    Answer {
        retry_after: Some(Duration::from_secs(1)),
        ..Answer::refusal(
            503,
            "Too many calls of this operation are under way here. Ask again.",
        )
    }
}

/// One line that says what went wrong.
fn summary(answer: &Answer) -> String {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let detail = body.as_ref().and_then(|body| body.get("detail"));
    let detail = match detail {
        Some(Value::String(detail)) => detail.clone(),
        Some(detail) => detail.to_string(),
        None => "error".to_owned(),
    };
    let line: String = detail
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect();
    line.trim().to_owned()
}

fn metadata(operation: &Operation) -> HashMap<String, String> {
    text(&[
        ("description", operation.description),
        ("http", operation.stands_for),
        ("request", operation.request),
        ("response", operation.response),
        ("errors", ERRORS),
    ])
}

fn text(entries: &[(&str, &str)]) -> HashMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    entries.iter().map(owned).collect()
}

/// What the statistics say of an endpoint besides the library's own numbers, which know no errors
/// that have a body.
fn error_count(errors: &Errors, endpoint: &str) -> Value {
    let errors = errors.lock().ok();
    let found = errors.and_then(|errors| {
        let mut named = errors.iter();
        let found = named.find(|(name, _)| name.replace('.', "-") == endpoint);
        found.map(|(_, count)| *count)
    });
    json!({ "errors": found.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_the_server_would_not_carry_is_refused() {
        let large = Answer {
            status: 200,
            body: vec![b'1'; 100].into(),
            retry_after: None,
        };
        assert_eq!(fitting(large.clone(), 100), large);
        let refused = fitting(large, 99);
        assert_eq!(refused.status, 413);
        assert!(summary(&refused).starts_with("The answer has 100 bytes"));
    }

    #[test]
    fn the_summary_of_an_error_is_one_short_line() {
        assert_eq!(summary(&Answer::refusal(422, "a\r\nb")), "a  b");
        assert_eq!(summary(&Answer::refusal(422, &"x".repeat(999))).len(), 200);
        let odd = Answer {
            status: 500,
            body: "<html>".into(),
            retry_after: None,
        };
        assert_eq!(summary(&odd), "error");
    }
}
