//! Handlers that panic answer as those that fail. The body of an answer is left as it is: what is
//! streamed to many passes here for each of them.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use futures::future::{CatchUnwind, Map};
use tower::Service;

use crate::error::Refusal;

/// A handler whose panics are caught.
#[derive(Clone)]
pub(crate) struct Caught<S>(pub(crate) S);

type Answered = Result<Response, Infallible>;
type Panic = Box<dyn Any + Send>;
type Answering<F> = Map<CatchUnwind<AssertUnwindSafe<F>>, fn(Result<Answered, Panic>) -> Answered>;

impl<S> Service<Request> for Caught<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answering = AssertUnwindSafe(self.0.call(request)).catch_unwind();
        answering.map(|answered| answered.unwrap_or_else(|panic| Ok(panicked(&*panic))))
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    Refusal::internal(&format_args!("a handler panicked: {text}")).into_response()
}
