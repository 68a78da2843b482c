//! Counts requests by route, and how long each took to be answered. The numbers of each route are looked
//! up once, so a request costs a counter and a histogram.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use futures::FutureExt;
use futures::future::{Join, Map, Ready, join, ready};
use tokio::time::Instant;
use tower::Service;

use crate::measures::RouteNumbers;

/// What requests are counted under that no route takes.
const OTHER: &str = "other";

/// The numbers of all routes.
#[derive(Clone)]
pub(crate) struct Routes {
    by_path: Arc<HashMap<String, Arc<RouteNumbers>>>,
    other: Arc<RouteNumbers>,
}

impl Routes {
    /// Of routes with these paths, each at zero.
    pub(crate) fn new(paths: impl Iterator<Item = String>) -> Self {
        let numbers = |path: String| {
            let numbers = Arc::new(RouteNumbers::of(&path));
            (path, numbers)
        };
        Self {
            by_path: Arc::new(paths.map(numbers).collect()),
            other: Arc::new(RouteNumbers::of(OTHER)),
        }
    }

    fn find(&self, request: &Request) -> Arc<RouteNumbers> {
        let path = request.extensions().get::<MatchedPath>();
        let known = path.and_then(|path| self.by_path.get(path.as_str()));
        known.unwrap_or(&self.other).clone()
    }
}

/// A handler whose requests are counted.
#[derive(Clone)]
pub(crate) struct Counted<S> {
    pub(crate) inner: S,
    pub(crate) routes: Routes,
}

/// A request under way.
pub(crate) struct Begun {
    at: Instant,
    numbers: Arc<RouteNumbers>,
}

type Answered = Result<Response, Infallible>;
type Counting<F> = Map<Join<F, Ready<Begun>>, fn((Answered, Begun)) -> Answered>;

impl<S> Service<Request> for Counted<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Counting<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let begun = Begun {
            at: Instant::now(),
            numbers: self.routes.find(&request),
        };
        join(self.inner.call(request), ready(begun)).map(count)
    }
}

fn count((answered, begun): (Answered, Begun)) -> Answered {
    if let Ok(response) = &answered {
        let took = begun.at.elapsed();
        begun.numbers.answered(response.status(), took);
    }
    answered
}
