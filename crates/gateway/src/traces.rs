//! Requests in traces: where each belongs, its span, and its trace in what it is refused with.
//!
//! Handlers find the context in the headers, where it came from: its own span has taken the
//! caller's place there. A request that nobody traces passes untouched.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use futures::FutureExt;
use futures::future::{BoxFuture, Either};
use http_body::{Frame, SizeHint};
use runloom_api::error::ErrorBody;
use runloom_core::trace::{self, Kind, Span, Start, TraceContext, TraceId, TraceParent};
use tower::Service;
use tracing::Instrument;

use crate::error::Refused;

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// What the API's own paths begin with. Questions of monitoring tools are no work to be traced.
const WORK: [&str; 4] = ["/assistants", "/threads", "/runs", "/store"];

/// Where a request belongs.
pub(crate) fn read(headers: &HeaderMap) -> Option<TraceContext> {
    let parent = headers.get(PARENT)?.to_str().ok()?;
    let states: Vec<_> = headers.get_all(STATE).iter().collect();
    let states: Result<Vec<_>, _> = states.iter().map(|state| state.to_str()).collect();
    let state = states.ok().map(|states| states.join(","));
    TraceContext::read(parent, state.as_deref())
}

/// The span that a request belongs under.
pub(crate) fn parent(headers: &HeaderMap) -> Option<TraceParent> {
    read(headers).map(|context| context.parent)
}

/// Says in `headers` where a request belongs.
pub(crate) fn write(context: &TraceContext, headers: &mut HeaderMap) {
    headers.remove(STATE);
    if let Ok(parent) = HeaderValue::try_from(context.parent.to_string()) {
        headers.insert(PARENT, parent);
    }
    if let Some(Ok(state)) = context.state.as_deref().map(HeaderValue::from_str) {
        headers.insert(STATE, state);
    }
}

/// A handler whose requests belong to traces.
#[derive(Clone)]
pub(crate) struct Traced<S>(pub(crate) S);

type Answered = Result<Response, Infallible>;

impl<S> Service<Request> for Traced<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Answered>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let outer = read(request.headers());
        let span = if trace::is_on() {
            begin(&request, outer.as_ref())
        } else {
            Span::none()
        };
        let Some(context) = span.context_or(outer.as_ref()) else {
            return Either::Left(self.0.call(request));
        };
        write(&context, request.headers_mut());
        let trace = context.trace_id();
        let answering = self.0.call(request);
        let answering = answering.map(move |answer| answer.map(|answer| end(answer, span, trace)));
        let log = tracing::info_span!("request", trace.id = %trace);
        Either::Right(answering.instrument(log).boxed())
    }
}

fn begin(request: &Request, outer: Option<&TraceContext>) -> Span {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map(MatchedPath::as_str);
    let Some(route) = route.filter(|route| WORK.iter().any(|work| route.starts_with(work))) else {
        return Span::none();
    };
    let method = request.method().as_str();
    let mut span = trace::span(|| Start {
        name: format!("{method} {route}").into(),
        kind: Kind::Server,
        parent: outer,
        ago: Duration::ZERO,
    });
    span.set("http.request.method", || method.to_owned());
    span.set("http.route", || route.to_owned());
    span
}

/// Says what became of a request. Its span ends when its answer was sent.
fn end(mut answer: Response, mut span: Span, trace: TraceId) -> Response {
    let status = answer.status();
    span.set("http.response.status_code", || u32::from(status.as_u16()));
    if let Some(Refused(detail)) = answer.extensions_mut().remove() {
        if status.is_server_error() {
            span.fail(|| detail.to_string());
        }
        let body = ErrorBody {
            detail: detail.to_string(),
            trace_id: Some(trace.to_string()),
        };
        let body = serde_json::to_vec(&body).expect("plain structures are always JSON");
        answer.headers_mut().remove(CONTENT_LENGTH);
        *answer.body_mut() = Body::from(body);
    }
    if span.context().is_none() {
        return answer;
    }
    answer.map(|body| Body::new(Spanned { body, _span: span }))
}

/// A body whose span ends with it.
struct Spanned {
    body: Body,
    _span: Span,
}

impl HttpBody for Spanned {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
