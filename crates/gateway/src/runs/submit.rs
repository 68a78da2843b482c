//! From a checked request to an accepted run.

use axum::http::HeaderMap;
use runloom_api::runs::{OnDisconnect, RunRequest};
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{DatabaseError, Submission};
use runloom_core::effects::Effects;
use runloom_core::ids::{RunId, ThreadId, random_id};
use runloom_core::json::JsonMap;
use runloom_core::partial::{PartialOverride, PartialPolicy};
use runloom_core::run::{Run, RunKwargs};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::admission::Admission;
use crate::Gateway;
use crate::error::Refusal;
use crate::measures;
use crate::traces;

/// The answer to a run on a busy thread that refuses it. Shown to users, word for word.
const REJECTED: &str = "Thread is already running a task. Wait for it to finish or choose a \
                        different multitask strategy.";

/// The answer if what the run needs is not there.
const MISSING: &str = "Thread or assistant not found.";

/// The longest request id that is passed on.
const LONGEST_REQUEST_ID: usize = 200;

/// A run that only has to be submitted.
pub(super) struct Prepared {
    pub(super) new: NewRun,
    pub(super) on_disconnect: OnDisconnect,
}

impl Gateway {
    /// Looks up what `request` names. Nothing is written.
    pub(super) async fn prepare(
        &self,
        request: RunRequest,
        thread: ThreadId,
        headers: &HeaderMap,
    ) -> Result<Prepared, Refusal> {
        let assistant_id = self.assistant_id(&request.assistant)?;
        let assistant = self.database().assistant(assistant_id).await?;
        let assistant = assistant.ok_or_else(|| Refusal::not_found(MISSING))?;
        let configurable = assistant.config.get("configurable");
        let policy = policy(
            self.config.policy_of(&assistant.graph_id),
            configurable.and_then(Value::as_object),
            request.policy,
        );
        let mut server_configurable = request.own_configurable;
        server_configurable.extend(self.of_the_server(headers, request.delay.num_milliseconds()));
        let kwargs = RunKwargs {
            trace: traces::read(headers),
            ..request.kwargs
        };
        // What is made for this run only goes with it.
        let brings_thread = request.if_thread_missing == IfThreadMissing::Create;
        let lasts = brings_thread && !kwargs.temporary;
        Ok(Prepared {
            new: NewRun {
                id: RunId::new(),
                thread_id: thread,
                assistant,
                kwargs,
                metadata: request.metadata,
                multitask_strategy: request.multitask_strategy,
                delay: request.delay,
                if_thread_missing: request.if_thread_missing,
                thread_ttl: self.config.thread_ttl.filter(|_| lasts),
                policy,
                server_configurable,
            },
            on_disconnect: request.on_disconnect,
        })
    }

    /// What graphs find in `configurable` beside what the caller put there.
    fn of_the_server(&self, headers: &HeaderMap, delay_millis: i64) -> JsonMap {
        let request_id = headers.get("x-request-id");
        let request_id = request_id
            .and_then(|id| id.to_str().ok())
            .filter(|id| !id.is_empty() && id.len() <= LONGEST_REQUEST_ID)
            .map_or_else(random_id, str::to_owned);
        #[expect(clippy::cast_precision_loss, reason = "delays are far below 2^53 ms")]
        let delay_seconds = delay_millis as f64 / 1e3;
        let entries = [
            ("langgraph_auth_user", Value::Null),
            ("langgraph_auth_user_id", json!("")),
            ("langgraph_auth_permissions", json!([])),
            ("langgraph_request_id", json!(request_id)),
            (
                "__request_start_time_ms__",
                json!(self.ports.clock.now().timestamp_millis()),
            ),
            ("__after_seconds__", json!(delay_seconds)),
        ];
        let entries = entries.map(|(key, value)| (key.to_owned(), value));
        entries.into_iter().collect()
    }

    /// Submits a run. Its client may leave meanwhile: what must follow is done nevertheless.
    pub(super) async fn submit(&self, prepared: Prepared) -> Result<Run, Refusal> {
        let Prepared {
            mut new,
            on_disconnect,
        } = prepared;
        let admission = Admission::of(&mut new);
        let (answer, accepted) = oneshot::channel();
        let gateway = self.clone();
        self.tasks.spawn(async move {
            let (thread, run) = (new.thread_id, new.id);
            let strategy = new.multitask_strategy;
            let submission = gateway.database().submit_run(new).await;
            measures::submitted(strategy, &submission);
            let (result, mut effects) = match submission {
                Ok(Submission::Accepted(run, effects)) => (Ok(*run), effects),
                Ok(Submission::Rejected) => (Err(Refusal::conflict(REJECTED)), Effects::default()),
                Err(DatabaseError::NotFound(_)) => {
                    (Err(Refusal::not_found(MISSING)), Effects::default())
                }
                Err(error) => (Err(error.into()), Effects::default()),
            };
            let is_accepted = result.is_ok();
            let admission = admission.answered(is_accepted, &mut effects);
            // The client does not wait for what follows: workers may take a while to answer.
            let has_left = answer.send(result).is_err();
            gateway.follow_up(effects).await;
            admission.end(&gateway, thread).await;
            if has_left && is_accepted && on_disconnect == OnDisconnect::Cancel {
                gateway.disconnected(thread, run).await;
            }
        });
        let dead = |_| Err(Refusal::internal(&"a submission was given up"));
        accepted.await.unwrap_or_else(dead)
    }
}

/// What is kept of a run if it is stopped: the server's choice, its assistant's, its own.
fn policy(
    server: PartialPolicy,
    assistant: Option<&JsonMap>,
    own: PartialOverride,
) -> PartialPolicy {
    // What an assistant says may be nonsense: it is checked nowhere. A run must not fail for it.
    let assistant = PartialOverride::of_configurable(assistant).unwrap_or_default();
    server.overridden_by(assistant).overridden_by(own)
}

#[cfg(test)]
mod tests {
    use runloom_core::partial::{Partial, ToolCalls};

    use super::*;

    #[test]
    fn a_run_outranks_its_assistant_and_that_the_server() {
        let assistant = json!({"runloom": {"partial": "off", "tool_calls": "keep"}});
        let own = PartialOverride {
            partial: Some(Partial::Auto),
            ..PartialOverride::default()
        };
        let policy = policy(PartialPolicy::default(), assistant.as_object(), own);
        let expected = PartialPolicy {
            tool_calls: ToolCalls::Keep,
            ..PartialPolicy::default()
        };
        assert_eq!(policy, expected);
    }
}
