//! What waiting for a run is answered with.

use runloom_core::database::DatabaseError;
use runloom_core::ids::ThreadId;
use runloom_core::json::Json;
use runloom_core::run::{Run, RunError, RunStatus};
use serde::Serialize;
use serde_json::json;

use crate::Gateway;

#[derive(Serialize)]
struct Failure<'a> {
    #[serde(rename = "__error__")]
    error: &'a RunError,
}

/// The answer about a run that does not exist, though the status of the response says otherwise.
pub(super) fn no_run() -> RunError {
    RunError::new("HTTPException", "404: Run not found")
}

/// An error as an answer.
pub(super) fn failure(error: &RunError) -> Json {
    Json::of(&Failure { error }).expect("plain fields encode")
}

impl Gateway {
    /// What a run that is over leaves to those who waited for it: its own output, not what the
    /// thread holds by now. A run without any, or that is gone, leaves the thread's values.
    pub(super) async fn outcome(
        &self,
        thread: ThreadId,
        run: Option<&Run>,
    ) -> Result<Json, DatabaseError> {
        if let Some(run) = run {
            if matches!(run.status, RunStatus::Error | RunStatus::Timeout) {
                let unsaid =
                    || RunError::new("RunFailed", format!("the run ended as {}", run.status));
                return Ok(failure(&run.error.clone().unwrap_or_else(unsaid)));
            }
            if let Some(output) = run.output.as_ref().filter(|output| !output.is_null()) {
                return Ok(output.clone());
            }
        }
        let values = self.database().thread(thread).await?;
        let values = values.and_then(|thread| thread.values);
        Ok(values.unwrap_or_else(|| Json::from_value(&json!({}))))
    }
}
