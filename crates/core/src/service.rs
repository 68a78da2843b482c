//! The port for request and reply: the API's operations by name, for callers that speak no HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::trace::TraceContext;

/// An operation that can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its name: words with dots between, such as `runs.create`.
    pub name: &'static str,
    /// What it does, for people.
    pub description: &'static str,
    /// The HTTP request it stands for, for people: method and path.
    pub stands_for: &'static str,
    /// What the caller sends, for people: the JSON object's fields.
    pub request: &'static str,
    /// What the caller gets, for people: the name of the JSON document in the API's description.
    pub response: &'static str,
}

/// What an operation answers: an HTTP status and a body, empty or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status; 400 and above are errors.
    pub status: u16,
    /// The document; that of an error has a `detail`.
    pub body: Bytes,
    /// When to ask again, if that may help.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// The answer with `status` whose document says `detail`.
    pub fn refusal(status: u16, detail: &str) -> Self {
        let body = serde_json::json!({ "detail": detail });
        Self {
            status,
            body: body.to_string().into(),
            retry_after: None,
        }
    }

    /// Whether the operation failed.
    pub fn is_error(&self) -> bool {
        self.status >= 400
    }
}

/// Answers calls of operations.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// What can be called.
    fn operations(&self) -> &'static [Operation];

    /// Calls `operation`. What cannot be done is an answer, too. Dropping the call gives up waiting
    /// for the answer; it undoes nothing. `trace` is where the caller belongs.
    async fn call(
        &self,
        operation: &Operation,
        body: Bytes,
        trace: Option<&TraceContext>,
    ) -> Answer;
}

/// Carries calls to a service.
#[async_trait]
pub trait ServiceHost: Send + Sync + 'static {
    /// Serves `service` in this version until `stop`, then lets the calls under way be answered.
    /// Processes that serve the same share the calls. What keeps it from serving it waits for.
    async fn serve(&self, service: Arc<dyn Service>, version: &str, stop: BoxFuture<'static, ()>);
}
