//! From every error of the core to a response.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runloom_api::error::{ErrorBody, ErrorCode};
use runloom_core::bus::BusError;
use runloom_core::database::DatabaseError;
use runloom_core::executor::{ExecutorError, HostError};
use runloom_core::ids::{AssistantId, GraphId, ThreadId};
use runloom_core::registry::Registry;

use crate::measures;

/// When to come back while something the server needs is out of reach, in seconds.
const RETRY_AFTER: &str = "1";

/// A request that is answered with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) detail: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, detail)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, detail)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::Invalid, detail)
    }

    pub(crate) fn no_thread(id: ThreadId) -> Self {
        Self::not_found(format!("Thread with ID {id} not found"))
    }

    pub(crate) fn no_assistant(id: AssistantId) -> Self {
        Self::not_found(format!("Assistant with ID {id} not found"))
    }

    pub(crate) fn no_graph(graph: &GraphId, registry: &Registry) -> Self {
        Self::not_found(format!(
            "Graph '{graph}' not found. Expected one of: {}",
            known_graphs(registry)
        ))
    }

    /// A failure that is ours alone: logged here, once, and not shown.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::new(ErrorCode::Internal, "Internal Server Error")
    }

    /// A failure of a graph's own code, which only who wrote the graph can mend: logged here, and shown.
    fn of_graph(reason: String) -> Self {
        tracing::error!(error = reason, "a graph could not answer");
        Self::new(ErrorCode::Internal, reason)
    }

    fn unavailable(error: &dyn std::fmt::Display) -> Self {
        measures::unavailable();
        tracing::warn!(%error, "request refused for now");
        Self::new(
            ErrorCode::Unavailable,
            format!("Service Unavailable: {error}"),
        )
    }
}

/// The names of all graphs, for people.
pub(crate) fn known_graphs(registry: &Registry) -> String {
    let graphs = registry.infos().into_iter();
    let names: Vec<_> = graphs.map(|info| info.id.to_string()).collect();
    format!("{names:?}")
}

/// What a response says that refuses: its body, for who can say more.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) Arc<str>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).expect("codes have valid statuses");
        let body = ErrorBody {
            detail: self.detail,
            // Put in where the trace of the request is known.
            trace_id: None,
        };
        let refused = Refused(body.detail.as_str().into());
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(refused);
        if self.code.is_retryable() {
            const AFTER: HeaderName = header::RETRY_AFTER;
            let value = HeaderValue::from_static(RETRY_AFTER);
            response.headers_mut().insert(AFTER, value);
        }
        response
    }
}

/// Where a handler knows better (which thread was not found, say), it maps the error itself.
impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::NotFound(what) => {
                Self::not_found(format!("{} not found", capitalised(what)))
            }
            DatabaseError::Exists(what) => {
                Self::conflict(format!("{} already exists", capitalised(what)))
            }
            DatabaseError::Busy => Self::conflict("The thread has in-flight runs"),
            DatabaseError::Changed => {
                Self::conflict("The thread's state has changed meanwhile. Try again.")
            }
            // Only attempts are fenced, and the gateway has none.
            error @ (DatabaseError::Fenced | DatabaseError::Internal(_)) => Self::internal(&error),
            error @ DatabaseError::Unavailable(_) => Self::unavailable(&error),
        }
    }
}

impl From<ExecutorError> for Refusal {
    fn from(error: ExecutorError) -> Self {
        match error {
            ExecutorError::UnknownGraph(graph) => {
                Self::not_found(format!("Graph '{graph}' not found"))
            }
            ExecutorError::Invalid(detail) => Self::bad_request(detail),
            ExecutorError::Host(error) => error.into(),
            error @ ExecutorError::Unavailable(_) => Self::unavailable(&error),
            ExecutorError::Failed(reason) => Self::of_graph(reason),
        }
    }
}

impl From<HostError> for Refusal {
    fn from(error: HostError) -> Self {
        match error {
            error @ HostError::Fenced => Self::internal(&error),
            error @ HostError::Unavailable(_) => Self::unavailable(&error),
        }
    }
}

impl From<BusError> for Refusal {
    fn from(error: BusError) -> Self {
        Self::unavailable(&error)
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
