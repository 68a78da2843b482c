//! What a refused request is answered with.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The kinds of refusal, by what the caller did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request is understood, but what it asks for cannot be done.
    BadRequest,
    /// What is named is not there.
    NotFound,
    /// There is such a path, but not with this method.
    MethodNotAllowed,
    /// What is there forbids it.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// The body, a path or a query does not have the form it must have.
    Invalid,
    /// The server failed.
    Internal,
    /// Something the server needs is out of reach.
    Unavailable,
}

impl ErrorCode {
    /// The status of the response.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Invalid => 422,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// Whether the very same request may succeed later.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Unavailable => true,
            Self::BadRequest
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::Conflict
            | Self::TooLarge
            | Self::Invalid
            | Self::Internal => false,
        }
    }
}

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong, for people.
    pub detail: String,
    /// The trace of the request, if it belongs to one: 32 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}
