//! What an endpoint's errors mean.

use std::time::Duration;

use async_openai::error::OpenAIError;
use serde_json::Value;

use crate::model::ModelError;

/// Longer explanations are cut.
const MESSAGE_CHARS: usize = 500;

/// Turns responses that are no success into errors, with all that they say.
pub(super) async fn refuse_failures(
    response: reqwest::Response,
) -> Result<reqwest::Response, OpenAIError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = response.headers().get(reqwest::header::RETRY_AFTER);
    let retry_after = retry_after
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = response.text().await?;
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    let error = classify(Some(status.as_u16()), &body, retry_after);
    Err(OpenAIError::Boxed(Box::new(error)))
}

/// The meaning of an error of the client library.
pub(super) fn of_client(error: OpenAIError) -> ModelError {
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<ModelError>() {
            Ok(error) => *error,
            Err(error) => ModelError::Unavailable(chain(error.as_ref())),
        },
        OpenAIError::Reqwest(error) => ModelError::Unavailable(chain(&error)),
        OpenAIError::StreamError(error) => ModelError::Interrupted(error.to_string()),
        OpenAIError::JSONDeserialize(error, content) => {
            ModelError::Malformed(cut(&format!("{error} in {content}")))
        }
        other => ModelError::Rejected(other.to_string()),
    }
}

/// What a body that holds an error means, with its status if it came as a response.
pub(super) fn classify(
    status: Option<u16>,
    body: &Value,
    retry_after: Option<Duration>,
) -> ModelError {
    let error = body.get("error").unwrap_or(body);
    let message = explanation(error);
    let is = |word: &str| error["code"] == word || error["type"] == word;
    let number = error["code"].as_u64().and_then(|code| code.try_into().ok());
    if is("insufficient_quota") {
        return ModelError::QuotaExceeded(message);
    }
    if is("context_length_exceeded") || message.contains("maximum context length") {
        return ModelError::ContextTooLong(message);
    }
    match status.or(number) {
        Some(401 | 403) => ModelError::Unauthorized(message),
        Some(429) => ModelError::RateLimited {
            message,
            retry_after,
        },
        Some(408 | 409 | 425 | 500..) => ModelError::Unavailable(message),
        Some(_) => ModelError::Rejected(message),
        None => ModelError::Interrupted(message),
    }
}

fn explanation(error: &Value) -> String {
    let said = [&error["message"], &error["detail"], error];
    match said.into_iter().find_map(Value::as_str) {
        Some(text) => cut(text.trim()),
        None => cut(&error.to_string()),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS).collect()
}

/// An error with its causes: `reqwest` says the interesting part in the last of them.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_are_told_apart_by_status_code_and_type() {
        let body = |code: Value, kind: &str| json!({"error": {"message": "m", "code": code, "type": kind}});
        let m = || "m".to_owned();
        let limited = ModelError::RateLimited {
            message: m(),
            retry_after: None,
        };
        let cases = [
            (
                Some(401),
                body(json!("invalid_api_key"), "invalid_request_error"),
                ModelError::Unauthorized(m()),
            ),
            (Some(429), body(Value::Null, "requests"), limited.clone()),
            (
                Some(429),
                body(json!("insufficient_quota"), "insufficient_quota"),
                ModelError::QuotaExceeded(m()),
            ),
            (
                Some(400),
                body(json!("context_length_exceeded"), "x"),
                ModelError::ContextTooLong(m()),
            ),
            (
                Some(400),
                body(json!(400), "BadRequestError"),
                ModelError::Rejected(m()),
            ),
            (
                Some(503),
                body(Value::Null, "server_error"),
                ModelError::Unavailable(m()),
            ),
            (None, body(json!(429), "x"), limited),
            (
                None,
                body(Value::Null, "server_error"),
                ModelError::Interrupted(m()),
            ),
        ];
        for (status, body, meaning) in cases {
            assert_eq!(classify(status, &body, None), meaning, "{status:?} {body}");
        }
    }

    #[test]
    fn bodies_of_other_forms_explain_themselves_too() {
        let cases = [
            (
                json!("<html>Bad Gateway</html>"),
                "<html>Bad Gateway</html>",
            ),
            (json!({"detail": "no such model"}), "no such model"),
            (json!({"message": "flat", "code": 404}), "flat"),
            (json!({"error": "just text"}), "just text"),
            (json!({"error": {}}), "{}"),
        ];
        for (body, text) in cases {
            assert_eq!(
                classify(Some(404), &body, None),
                ModelError::Rejected(text.to_owned())
            );
        }
    }
}
