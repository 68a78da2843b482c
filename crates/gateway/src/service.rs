//! The API by the names of operations, for callers that speak no HTTP. Each call becomes the HTTP
//! request it stands for and goes through the same router: same bodies, same checks, same errors.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Method, Request};
use bytes::Bytes;
use runloom_api::paths;
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::CancelAction;
use runloom_core::service::{Answer, Operation, Service};
use runloom_core::trace::TraceContext;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::error::Refusal;
use crate::extract::{id, object};
use crate::traces;

/// How long a caller waits for a run if it does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// The longest that a caller may wait for a run in one call.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// The API by name.
#[derive(Clone)]
pub struct ApiService {
    router: Router,
}

impl ApiService {
    /// The operations of what `router` answers.
    pub fn new(router: Router) -> Self {
        Self { router }
    }
}

/// Everything that can be called by name.
static OPERATIONS: [Operation; 7] = [
    Operation {
        name: "runs.create",
        description: "Create a run on a thread, or without one",
        stands_for: "POST /threads/{thread_id}/runs, POST /runs",
        request: "{thread_id?, ...RunCreate}",
        response: "Run",
    },
    Operation {
        name: "runs.get",
        description: "Get a run",
        stands_for: "GET /threads/{thread_id}/runs/{run_id}, GET /runs/{run_id}",
        request: "{run_id, thread_id?}",
        response: "Run",
    },
    Operation {
        name: "runs.wait",
        description: "Wait for a run and get its output",
        stands_for: "GET /threads/{thread_id}/runs/{run_id}/join, GET /runs/{run_id}/join",
        request: "{run_id, thread_id?, timeout?: seconds}",
        response: "the values of the thread, or {__error__: {error, message}}",
    },
    Operation {
        name: "runs.cancel",
        description: "Cancel a run; with wait, answer when its code has stopped",
        stands_for: "POST /threads/{thread_id}/runs/{run_id}/cancel",
        request: "{thread_id, run_id, action?: interrupt|rollback, wait?: bool, timeout?: seconds}",
        response: "nothing; with wait, as runs.wait",
    },
    Operation {
        name: "threads.create",
        description: "Create a thread",
        stands_for: "POST /threads",
        request: "ThreadCreate",
        response: "Thread",
    },
    Operation {
        name: "threads.get",
        description: "Get a thread",
        stands_for: "GET /threads/{thread_id}",
        request: "{thread_id}",
        response: "Thread",
    },
    Operation {
        name: "threads.state",
        description: "Get the state of a thread",
        stands_for: "GET /threads/{thread_id}/state",
        request: "{thread_id, subgraphs?: bool}",
        response: "ThreadState",
    },
];

#[async_trait]
impl Service for ApiService {
    fn operations(&self) -> &'static [Operation] {
        &OPERATIONS
    }

    async fn call(
        &self,
        operation: &Operation,
        body: Bytes,
        trace: Option<&TraceContext>,
    ) -> Answer {
        let call = match Call::read(operation.name, &body) {
            Ok(call) => call,
            Err(refusal) => return Answer::refusal(refusal.code.status(), &refusal.detail),
        };
        let patience = call.patience;
        let asking = self.ask(call, trace);
        match patience {
            None => asking.await,
            Some(patience) => {
                let answer = timeout(patience, asking).await;
                answer.unwrap_or_else(|_| not_over(patience))
            }
        }
    }
}

impl ApiService {
    async fn ask(&self, call: Call, trace: Option<&TraceContext>) -> Answer {
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.target)
            .header(CONTENT_TYPE, "application/json");
        if let (Some(trace), Some(headers)) = (trace, request.headers_mut()) {
            traces::write(trace, headers);
        }
        let request = request.body(Body::from(call.body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Answer::refusal(400, &error.to_string()),
        };
        // A router answers everything: it has no errors.
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let retry_after = parts.headers.get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        match to_bytes(body, usize::MAX).await {
            Ok(body) => Answer {
                status: parts.status.as_u16(),
                // Who waits over HTTP sees line breaks meanwhile.
                body: body.slice_ref(body.trim_ascii()),
                retry_after: retry_after.map(Duration::from_secs),
            },
            // The body of an answer breaks off when the server stops.
            Err(_) => Answer {
                retry_after: Some(Duration::from_secs(1)),
                ..Answer::refusal(503, "This server stops. Ask again: another one answers.")
            },
        }
    }
}

fn not_over(patience: Duration) -> Answer {
    let seconds = patience.as_secs_f64();
    Answer::refusal(
        504,
        &format!("The run is not over after {seconds} s. Ask again."),
    )
}

/// A request that an operation stands for.
#[derive(Debug)]
struct Call {
    method: Method,
    target: String,
    body: Bytes,
    /// How long its answer may take, if it waits for a run.
    patience: Option<Duration>,
}

/// What operations find in their body, except for what only a request's own body has.
#[derive(Debug, Deserialize)]
struct Fields {
    thread_id: Option<String>,
    run_id: Option<String>,
    action: Option<CancelAction>,
    wait: Option<bool>,
    timeout: Option<f64>,
    subgraphs: Option<bool>,
}

impl Call {
    /// The request that `operation` stands for with this body. No body is an empty object.
    fn read(operation: &str, body: &Bytes) -> Result<Self, Refusal> {
        let body = if body.trim_ascii().is_empty() {
            Bytes::from_static(b"{}")
        } else {
            body.clone()
        };
        match operation {
            "threads.create" => return Ok(Self::post(paths::THREADS.to_owned(), body)),
            "runs.create" => return Self::create(&body),
            _ => {}
        }
        let fields: Fields = object(&body)?;
        match operation {
            "threads.get" => Ok(Self::get(on_thread(paths::THREAD, fields.thread()?))),
            "threads.state" => {
                let path = on_thread(paths::THREAD_STATE, fields.thread()?);
                let subgraphs = fields.subgraphs.unwrap_or_default();
                Ok(Self::get(format!("{path}?subgraphs={subgraphs}")))
            }
            "runs.get" => {
                let run = fields.run()?;
                Ok(Self::get(match fields.any_thread()? {
                    Some(thread) => paths::thread_run(thread, run),
                    None => paths::run(run),
                }))
            }
            "runs.wait" => {
                let run = fields.run()?;
                let request = Self::get(match fields.any_thread()? {
                    Some(thread) => paths::thread_run_join(thread, run),
                    None => paths::run_join(run),
                });
                request.patient(&fields)
            }
            "runs.cancel" => {
                let (thread, run) = (fields.thread()?, fields.run()?);
                let path = on_thread(paths::THREAD_RUN_CANCEL, thread);
                let path = path.replace("{run_id}", &run.to_string());
                let action = fields.action.unwrap_or_default();
                let wait = fields.wait.unwrap_or_default();
                let target = format!("{path}?action={action}&wait={wait}");
                Self::post(target, Bytes::new()).patient(&fields)
            }
            unknown => Err(Refusal::not_found(format!("No operation {unknown}"))),
        }
    }

    /// A run on the thread that the body names, or without one. All other fields are passed on
    /// letter by letter; if they make no sense, the router says so.
    fn create(body: &Bytes) -> Result<Self, Refusal> {
        let mut fields: BTreeMap<String, Box<RawValue>> = object(body)?;
        let thread = fields.remove("thread_id");
        let thread = thread.filter(|thread| thread.get() != "null");
        let Some(thread) = thread else {
            return Ok(Self::post(paths::RUNS.to_owned(), body.clone()));
        };
        let thread = thread.get().trim_matches('"');
        let target = on_thread(paths::THREAD_RUNS, id(thread, "thread")?);
        let rest = serde_json::to_vec(&fields).map_err(|error| Refusal::internal(&error))?;
        Ok(Self::post(target, rest.into()))
    }

    fn get(target: String) -> Self {
        Self::new(Method::GET, target, Bytes::new())
    }

    fn post(target: String, body: Bytes) -> Self {
        Self::new(Method::POST, target, body)
    }

    fn new(method: Method, target: String, body: Bytes) -> Self {
        Self {
            method,
            target,
            body,
            patience: None,
        }
    }

    /// Bounds how long the answer may take, as the caller wishes.
    fn patient(self, fields: &Fields) -> Result<Self, Refusal> {
        let patience = match fields.timeout {
            None => DEFAULT_WAIT,
            Some(seconds) => Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|wish| (Duration::from_millis(1)..=LONGEST_WAIT).contains(wish))
                .ok_or_else(|| Refusal::invalid("timeout: between 0.001 and 600 seconds"))?,
        };
        Ok(Self {
            patience: Some(patience),
            ..self
        })
    }
}

impl Fields {
    fn any_thread(&self) -> Result<Option<ThreadId>, Refusal> {
        let thread = self.thread_id.as_deref();
        thread.map(|text| id(text, "thread")).transpose()
    }

    fn thread(&self) -> Result<ThreadId, Refusal> {
        let thread = self.any_thread()?;
        thread.ok_or_else(|| Refusal::invalid("thread_id: required"))
    }

    fn run(&self) -> Result<RunId, Refusal> {
        let run = self.run_id.as_deref();
        id(
            run.ok_or_else(|| Refusal::invalid("run_id: required"))?,
            "run",
        )
    }
}

fn on_thread(path: &str, thread: ThreadId) -> String {
    path.replace("{thread_id}", &thread.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREAD: &str = "0190c0de-0000-7000-8000-000000000001";
    const RUN: &str = "0190c0de-0000-7000-8000-000000000002";

    /// The request line that an operation stands for, and its body.
    fn line(operation: &str, body: &str) -> Result<(String, String), u16> {
        let body = Bytes::from(body.replace("$T", THREAD).replace("$R", RUN));
        let call = Call::read(operation, &body).map_err(|refusal| refusal.code.status())?;
        let target = call.target.replace(THREAD, "$T").replace(RUN, "$R");
        let body = String::from_utf8(call.body.to_vec()).unwrap();
        Ok((format!("{} {target}", call.method), body))
    }

    fn target(operation: &str, body: &str) -> String {
        line(operation, body).unwrap().0
    }

    #[test]
    fn a_run_is_created_where_its_body_says_with_the_rest_untouched() {
        let body = r#"{"thread_id": "$T", "input": {"n": 12345678901234567890.10}}"#;
        let (request, rest) = line("runs.create", body).unwrap();
        assert_eq!(request, "POST /threads/$T/runs");
        assert_eq!(rest, r#"{"input":{"n": 12345678901234567890.10}}"#);
        let lone = r#"{"thread_id": null, "assistant_id": "a"}"#;
        assert_eq!(target("runs.create", lone), "POST /runs");
        assert_eq!(target("runs.create", "{}"), "POST /runs");
    }

    #[test]
    fn runs_are_named_with_their_thread_or_alone() {
        let both = r#"{"thread_id": "$T", "run_id": "$R"}"#;
        let alone = r#"{"run_id": "$R"}"#;
        assert_eq!(target("runs.get", both), "GET /threads/$T/runs/$R");
        assert_eq!(target("runs.get", alone), "GET /runs/$R");
        assert_eq!(target("runs.wait", both), "GET /threads/$T/runs/$R/join");
        assert_eq!(target("runs.wait", alone), "GET /runs/$R/join");
        let cancel = r#"{"thread_id": "$T", "run_id": "$R", "action": "rollback", "wait": true}"#;
        assert_eq!(
            target("runs.cancel", cancel),
            "POST /threads/$T/runs/$R/cancel?action=rollback&wait=true"
        );
        assert_eq!(line("runs.cancel", alone), Err(422));
    }

    #[test]
    fn threads_are_made_from_nothing_and_read_by_id() {
        let made = line("threads.create", "").unwrap();
        assert_eq!(made, ("POST /threads".to_owned(), "{}".to_owned()));
        let one = r#"{"thread_id": "$T"}"#;
        assert_eq!(target("threads.get", one), "GET /threads/$T");
        assert_eq!(
            target("threads.state", one),
            "GET /threads/$T/state?subgraphs=false"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_never_becomes_a_path() {
        for (operation, body) in [
            ("runs.create", r#"{"thread_id": "../../store"}"#),
            ("runs.create", r#"{"thread_id": 7}"#),
            ("runs.create", "[]"),
            ("runs.get", "{"),
            ("runs.get", "{}"),
            ("runs.get", r#"{"run_id": "$R/join"}"#),
            (
                "runs.cancel",
                r#"{"thread_id": "$T", "run_id": "$R", "action": "stop"}"#,
            ),
            ("runs.wait", r#"{"run_id": "$R", "timeout": 601}"#),
            ("runs.wait", r#"{"run_id": "$R", "timeout": -1}"#),
            ("threads.get", r#"{"thread_id": "x?y"}"#),
        ] {
            assert_eq!(line(operation, body), Err(422), "{operation} {body}");
        }
    }

    #[test]
    fn every_operation_is_one_that_can_be_called() {
        for operation in &OPERATIONS {
            let body = r#"{"thread_id": "$T", "run_id": "$R"}"#;
            assert!(line(operation.name, body).is_ok(), "{}", operation.name);
        }
        assert_eq!(line("runs.forget", "{}"), Err(404));
    }
}
