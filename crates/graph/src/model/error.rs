//! Why a model did not answer.

use std::time::Duration;

/// What went wrong between us and a model. The kinds differ in what a caller can do about them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Too many requests; worth another try after a while.
    #[error("the model's rate limit is reached: {message}")]
    RateLimited {
        /// What the provider says.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The account has no credit left. Unlike a rate limit, waiting does not help.
    #[error("the model's quota is used up: {0}")]
    QuotaExceeded(String),
    /// The key is missing, wrong, or may not use this model.
    #[error("the model refuses the credentials: {0}")]
    Unauthorized(String),
    /// The conversation is longer than the model can read.
    #[error("the conversation is too long for the model: {0}")]
    ContextTooLong(String),
    /// The provider does not accept the request, and would not accept it the next time.
    #[error("the model does not accept the request: {0}")]
    Rejected(String),
    /// The provider cannot be reached or has trouble of its own.
    #[error("the model is unavailable: {0}")]
    Unavailable(String),
    /// The answer broke off before its end.
    #[error("the model's answer broke off: {0}")]
    Interrupted(String),
    /// Nothing came for too long.
    #[error("the model was silent for {} seconds", .0.as_secs())]
    Silent(Duration),
    /// What came is not an answer.
    #[error("the model's answer is not understood: {0}")]
    Malformed(String),
    /// The settings cannot be used.
    #[error("the model's settings are wrong: {0}")]
    Settings(String),
}

impl ModelError {
    /// The name under which clients see the error, after OpenAI's own names where there are any.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "RateLimitError",
            Self::QuotaExceeded(_) => "QuotaExceededError",
            Self::Unauthorized(_) => "AuthenticationError",
            Self::ContextTooLong(_) => "ContextLengthError",
            Self::Rejected(_) => "BadRequestError",
            Self::Unavailable(_) => "APIConnectionError",
            Self::Interrupted(_) => "IncompleteAnswerError",
            Self::Silent(_) => "APITimeoutError",
            Self::Malformed(_) => "MalformedAnswerError",
            Self::Settings(_) => "ModelSettingsError",
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unavailable(_)
            | Self::Interrupted(_)
            | Self::Silent(_) => true,
            Self::QuotaExceeded(_)
            | Self::Unauthorized(_)
            | Self::ContextTooLong(_)
            | Self::Rejected(_)
            | Self::Malformed(_)
            | Self::Settings(_) => false,
        }
    }
}
