//! A receiver of OTLP over HTTP, and what it got as trees.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A span that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) links: Vec<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Span {
    /// What it says of itself; nothing if it does not say that.
    pub(crate) fn says(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// Receives until it is dropped.
pub(crate) struct Receiver {
    /// Ends with it.
    _serving: JoinSet<std::io::Result<()>>,
    spans: Arc<Mutex<Vec<Span>>>,
    pub(crate) url: String,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .with_state(spans.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await });
        Self {
            _serving: serving,
            spans,
            url,
        }
    }

    /// What was received so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("whole").clone()
    }

    /// The span with this name about this run, if it is there.
    pub(crate) fn find(&self, name: &str, run: &str) -> Option<Span> {
        let mut found = self.spans().into_iter();
        found.find(|span| span.name == name && span.says("run.id") == run)
    }

    /// All traces as trees, for people.
    pub(crate) fn trees(&self) -> String {
        let mut spans = self.spans();
        spans.sort_by_key(|span| span.start);
        let names: HashMap<_, _> = spans
            .iter()
            .map(|s| (s.id.clone(), s.name.clone()))
            .collect();
        let mut text = String::new();
        // Requests that only look are many.
        let works = |trace: &str| spans.iter().any(|s| s.trace == trace && s.name == "submit");
        let is_root = |span: &&Span| !names.contains_key(&span.parent) && works(&span.trace);
        for root in spans.iter().filter(is_root) {
            let _ = writeln!(text, "trace {}", root.trace);
            show(&spans, root, 1, &names, &mut text);
        }
        text
    }
}

fn show(
    spans: &[Span],
    span: &Span,
    depth: usize,
    names: &HashMap<String, String>,
    text: &mut String,
) {
    let indent = "  ".repeat(depth);
    let took = span.end.saturating_sub(span.start) / 1000;
    let _ = write!(text, "{indent}{} [{}] {took} µs", span.name, span.service);
    for key in [
        "outcome",
        "reply",
        "heard",
        "action",
        "http.response.status_code",
    ] {
        if !span.says(key).is_empty() {
            let _ = write!(text, " {key}={}", span.says(key));
        }
    }
    for link in &span.links {
        let name = names.get(link).map_or("?", String::as_str);
        let _ = write!(text, " -> {name} {}", &link[..6]);
    }
    let _ = writeln!(text, " ({})", &span.id[..6]);
    for child in spans.iter().filter(|child| child.parent == span.id) {
        show(spans, child, depth + 1, names, text);
    }
}

async fn take(State(spans): State<Arc<Mutex<Vec<Span>>>>, headers: HeaderMap, body: Bytes) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).expect("what OTLP says");
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let resource = texts(resource.attributes);
        let received = of_resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        let received = received.map(|span| Span {
            service: resource["service.name"].clone(),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
            attributes: texts(span.attributes),
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
        });
        spans.lock().expect("whole").extend(received);
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|pair| (pair.key, text(pair.value)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
