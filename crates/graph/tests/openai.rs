//! The OpenAI model against a local endpoint that plays a part.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use runloom_graph::model::openai::OpenAiConfig;
use runloom_graph::model::{ChatModel, ModelError, ModelRequest, OpenAi, ToolDefinition, answer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

/// What the endpoint does with a request.
type Part = Arc<dyn Fn() -> Response + Send + Sync>;

/// Headers and bodies of what it was asked.
type Requests = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// An endpoint on a free port that ends with its test.
struct Endpoint {
    config: OpenAiConfig,
    requests: Requests,
    _server: JoinSet<()>,
}

impl Endpoint {
    async fn playing(part: impl Fn() -> Response + Send + Sync + 'static) -> Self {
        let requests = Requests::default();
        let part: Part = Arc::new(part);
        let app = Router::new()
            .route("/v1/chat/completions", post(play))
            .with_state((part, requests.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1/", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let config = OpenAiConfig {
            retries: 0,
            ..OpenAiConfig::new(base_url, "secret", "small")
        };
        Self {
            config,
            requests,
            _server: server,
        }
    }

    fn model(&self) -> OpenAi {
        OpenAi::new(self.config.clone()).unwrap()
    }

    async fn answer(&self) -> Result<Value, ModelError> {
        answer(&self.model(), request()).await
    }

    fn requests(&self) -> Vec<(HeaderMap, Value)> {
        self.requests.lock().unwrap().clone()
    }
}

async fn play(
    State((part, requests)): State<(Part, Requests)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap();
    requests.lock().unwrap().push((headers, body));
    part()
}

fn request() -> ModelRequest {
    ModelRequest {
        messages: vec![json!({"type": "human", "content": "hi"})],
        tools: vec![ToolDefinition {
            name: "search".to_owned(),
            description: "finds".to_owned(),
            parameters: json!({"type": "object"}),
        }],
    }
}

fn sse(body: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Response {
    let headers = [("content-type", "text/event-stream")];
    (headers, Body::from_stream(body)).into_response()
}

fn frame(data: &str) -> Bytes {
    format!("data: {data}\n\n").into()
}

/// A well-formed stream of `events`.
fn events(events: &[Value]) -> BoxStream<'static, io::Result<Bytes>> {
    let frames: Vec<_> = events
        .iter()
        .map(|event| Ok(frame(&event.to_string())))
        .collect();
    stream::iter(frames).boxed()
}

fn done() -> BoxStream<'static, io::Result<Bytes>> {
    stream::iter([Ok(frame("[DONE]"))]).boxed()
}

#[expect(clippy::needless_pass_by_value, reason = "callers make it in place")]
fn delta(delta: Value) -> Value {
    json!({"model": "small-2", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(reason: &str) -> Value {
    json!({"model": "small-2", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn failing(status: StatusCode, body: Value) -> Response {
    (status, axum::Json(body)).into_response()
}

#[tokio::test]
async fn text_streams_piece_by_piece_and_is_assembled() {
    let endpoint = Endpoint::playing(|| {
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2,
            "total_tokens": 9, "prompt_tokens_details": {"cached_tokens": 3}}});
        let said = [
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"content": "Hel"})),
            delta(json!({"content": "lo"})),
            finish("stop"),
            usage,
        ];
        sse(events(&said).chain(done()))
    })
    .await;
    let texts: Vec<_> = endpoint
        .model()
        .stream(request())
        .map(|chunk| chunk.unwrap().text)
        .filter(|text| std::future::ready(!text.is_empty()))
        .collect()
        .await;
    assert_eq!(texts, ["Hel", "lo"]);

    let message = endpoint.answer().await.unwrap();
    assert_eq!(message["content"], "Hello");
    assert_eq!(message["response_metadata"]["finish_reason"], "stop");
    assert_eq!(message["response_metadata"]["model_name"], "small-2");
    assert_eq!(message["usage_metadata"]["total_tokens"], 9);
    assert_eq!(
        message["usage_metadata"]["input_token_details"]["cache_read"],
        3
    );
}

#[tokio::test]
async fn the_request_carries_key_model_conversation_and_tools() {
    let endpoint = Endpoint::playing(|| sse(events(&[finish("stop")]).chain(done()))).await;
    endpoint.answer().await.unwrap();
    let (headers, body) = endpoint.requests().remove(0);
    assert_eq!(headers["authorization"], "Bearer secret");
    assert_eq!(body["model"], "small");
    assert_eq!(body["stream"], true);
    assert_eq!(body["messages"], json!([{"role": "user", "content": "hi"}]));
    assert_eq!(body["tools"][0]["function"]["name"], "search");
}

#[tokio::test]
async fn tool_calls_are_assembled_from_their_pieces() {
    let endpoint = Endpoint::playing(|| {
        let call = |call: Value| delta(json!({"tool_calls": [call]}));
        let said = [
            call(json!({"index": 0, "id": "a", "type": "function",
                "function": {"name": "search", "arguments": ""}})),
            call(json!({"index": 0, "function": {"arguments": "{\"query\":"}})),
            call(json!({"index": 1, "id": "b", "type": "function",
                "function": {"name": "search", "arguments": "{}"}})),
            call(json!({"index": 0, "function": {"arguments": "\"sf\"}"}})),
            finish("tool_calls"),
        ];
        sse(events(&said).chain(done()))
    })
    .await;
    let message = endpoint.answer().await.unwrap();
    let expected = json!([
        {"name": "search", "args": {"query": "sf"}, "id": "a", "type": "tool_call"},
        {"name": "search", "args": {}, "id": "b", "type": "tool_call"},
    ]);
    assert_eq!(message["tool_calls"], expected);
    assert_eq!(message["content"], "");
}

#[tokio::test]
async fn whole_calls_without_an_index_stay_apart() {
    let endpoint = Endpoint::playing(|| {
        let call = |id: &str| {
            delta(json!({"tool_calls": [{"id": id, "function":
                {"name": "search", "arguments": "{\"query\":\"x\"}"}}]}))
        };
        sse(events(&[call("a"), call("b"), finish("stop")]).chain(done()))
    })
    .await;
    let message = endpoint.answer().await.unwrap();
    assert_eq!(message["tool_calls"].as_array().unwrap().len(), 2);
    assert_eq!(message["tool_calls"][1]["id"], "b");
}

/// Said, and then the connection breaks as soon as `cut` is told.
fn broken_after(said: &[Value], cut: &Arc<Notify>) -> Response {
    let cut = cut.clone();
    let lost = stream::once(async move {
        cut.notified().await;
        Err(io::Error::other("cable cut"))
    });
    sse(events(said).chain(lost))
}

#[tokio::test]
async fn a_stream_that_breaks_is_an_error_after_what_came() {
    let cut = Arc::new(Notify::new());
    let scissors = cut.clone();
    let said = [delta(json!({"content": "Hel"}))];
    let endpoint = Endpoint::playing(move || broken_after(&said, &cut)).await;
    let mut heard = endpoint.model().stream(request());
    assert_eq!(heard.next().await.unwrap().unwrap().text, "Hel");
    scissors.notify_one();
    let error = heard.next().await.unwrap().unwrap_err();
    assert!(matches!(error, ModelError::Interrupted(_)), "{error:?}");
    assert!(heard.next().await.is_none());
}

#[tokio::test]
async fn a_stream_that_ends_early_is_an_error_after_what_came() {
    let endpoint = Endpoint::playing(|| sse(events(&[delta(json!({"content": "Hel"}))]))).await;
    let heard: Vec<_> = endpoint.model().stream(request()).collect().await;
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[0].as_ref().unwrap().text, "Hel");
    let error = heard[1].as_ref().unwrap_err();
    assert!(matches!(error, ModelError::Interrupted(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_is_whole_does_not_suffer_from_what_breaks_behind_it() {
    let cut = Arc::new(Notify::new());
    let scissors = cut.clone();
    let said = [delta(json!({"content": "Hello"})), finish("stop")];
    let endpoint = Endpoint::playing(move || broken_after(&said, &cut)).await;
    let mut heard = endpoint.model().stream(request());
    assert_eq!(heard.next().await.unwrap().unwrap().text, "Hello");
    let last = heard.next().await.unwrap().unwrap();
    assert_eq!(last.metadata["finish_reason"], "stop");
    scissors.notify_one();
    assert_eq!(heard.next().await, None);
}

#[tokio::test]
async fn an_error_within_the_stream_is_told() {
    let endpoint = Endpoint::playing(|| {
        let error = json!({"error": {"message": "engine overloaded", "type": "server_error"}});
        sse(events(&[delta(json!({"content": "Hel"})), error]))
    })
    .await;
    let error = endpoint.answer().await.unwrap_err();
    assert_eq!(
        error,
        ModelError::Interrupted("engine overloaded".to_owned())
    );
}

#[tokio::test]
async fn a_rate_limit_is_retried_and_then_told() {
    let mut endpoint = Endpoint::playing(|| {
        let body = json!({"error": {"message": "slow down", "type": "requests", "code": null}});
        let mut response = failing(StatusCode::TOO_MANY_REQUESTS, body);
        response
            .headers_mut()
            .insert("retry-after", "0".parse().unwrap());
        response
    })
    .await;
    endpoint.config.retries = 2;
    let error = endpoint.answer().await.unwrap_err();
    let expected = ModelError::RateLimited {
        message: "slow down".to_owned(),
        retry_after: Some(Duration::ZERO),
    };
    assert_eq!(error, expected);
    assert!(error.is_transient());
    assert_eq!(endpoint.requests().len(), 3);
}

#[tokio::test]
async fn refusals_are_told_at_once() {
    let endpoint = Endpoint::playing(|| {
        failing(
            StatusCode::UNAUTHORIZED,
            json!({"error": {"message": "wrong key"}}),
        )
    })
    .await;
    let error = endpoint.answer().await.unwrap_err();
    assert_eq!(error, ModelError::Unauthorized("wrong key".to_owned()));

    let mut endpoint = Endpoint::playing(|| {
        let code = "context_length_exceeded";
        failing(
            StatusCode::BAD_REQUEST,
            json!({"error": {"message": "too long", "code": code}}),
        )
    })
    .await;
    endpoint.config.retries = 2;
    let error = endpoint.answer().await.unwrap_err();
    assert_eq!(error, ModelError::ContextTooLong("too long".to_owned()));
    assert_eq!(endpoint.requests().len(), 1);
}

#[tokio::test]
async fn what_is_no_stream_of_events_is_not_understood() {
    let endpoint = Endpoint::playing(|| sse(stream::iter([Ok(frame("[1, 2"))]))).await;
    let error = endpoint.answer().await.unwrap_err();
    assert!(matches!(error, ModelError::Malformed(_)), "{error:?}");
}

#[tokio::test]
async fn silence_is_an_error_after_a_while() {
    let mut endpoint = Endpoint::playing(|| {
        sse(events(&[delta(json!({"content": "Hel"}))]).chain(stream::pending()))
    })
    .await;
    endpoint.config.patience = Duration::from_millis(100);
    let error = endpoint.answer().await.unwrap_err();
    assert_eq!(error, ModelError::Silent(endpoint.config.patience));
}

#[tokio::test]
async fn an_endpoint_out_of_reach_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut config = OpenAiConfig::new(format!("http://{address}/v1"), "", "small");
    config.retries = 0;
    let model = OpenAi::new(config).unwrap();
    let error = answer(&model, request()).await.unwrap_err();
    assert!(matches!(error, ModelError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn dropping_the_answer_hangs_up() {
    let (hung_up, when_hung_up) = oneshot::channel::<Infallible>();
    let held = Mutex::new(Some(hung_up));
    let endpoint = Endpoint::playing(move || {
        let held = held.lock().unwrap().take();
        // Dropped with the body, when the connection closes.
        let open = stream::pending().map(move |never: io::Result<Bytes>| {
            let _held = &held;
            never
        });
        sse(events(&[delta(json!({"content": "Hel"}))]).chain(open))
    })
    .await;
    let mut answer = endpoint.model().stream(request());
    assert_eq!(answer.next().await.unwrap().unwrap().text, "Hel");
    drop(answer);
    let hung_up = tokio::time::timeout(Duration::from_secs(10), when_hung_up).await;
    assert!(hung_up.expect("the endpoint still streams").is_err());
}

#[test]
fn settings_that_cannot_work_are_refused_and_keys_not_shown() {
    for (url, key) in [
        ("nonsense", "k"),
        ("ftp://127.0.0.1/v1", "k"),
        ("http://127.0.0.1/v1", "line\nbreak"),
    ] {
        let refused = OpenAi::new(OpenAiConfig::new(url, key, "m")).err();
        assert!(
            matches!(refused, Some(ModelError::Settings(_))),
            "{url} {key:?}: {refused:?}"
        );
    }
    let config = OpenAiConfig::new("http://127.0.0.1/v1", "sesame", "m");
    assert!(!format!("{config:?}").contains("sesame"));
}
