//! Graphs that do what graphs should not.

use std::time::Duration;

use runloom_graph::{
    BuildError, CompiledGraph, Node, NodeContext, NodeError, NodeResult, RetryPolicy, Update,
};
use tokio::time::sleep;

use super::{State, graph, signed};

/// Fails.
pub(super) fn fail() -> Result<CompiledGraph, BuildError> {
    graph()
        .node("fail", failing("kaboom"))
        .sequence(["fail"])
        .compile()
}

/// Fails, and is tried again after half a minute.
pub(super) fn retry() -> Result<CompiledGraph, BuildError> {
    let wait = Duration::from_secs(30);
    let policy = RetryPolicy::default()
        .max_attempts(3)
        .back_off(wait, 1.0, wait)
        .jitter(false);
    graph()
        .node("work", failing("kaboom").retry(policy))
        .sequence(["work"])
        .compile()
}

/// Panics.
pub(super) fn panicking() -> Result<CompiledGraph, BuildError> {
    let panic = |_: State, _: NodeContext| async move { panics() };
    graph().node("panic", panic).sequence(["panic"]).compile()
}

fn panics() -> NodeResult<()> {
    panic!("this node panics")
}

/// Blocks its thread, deaf to any wish to stop.
pub(super) fn stubborn() -> Result<CompiledGraph, BuildError> {
    let block = |state: State, _: NodeContext| async move {
        std::thread::sleep(state.delay(1.0));
        Ok(signed("stubborn"))
    };
    graph().node("block", block).sequence(["block"]).compile()
}

/// Answers a wish to stop with an error.
pub(super) fn sour() -> Result<CompiledGraph, BuildError> {
    let sour = |state: State, context: NodeContext| async move {
        tokio::select! {
            () = context.cancelled().cancelled() => Err(error("sour")),
            () = sleep(state.delay(1.0)) => Ok(signed("sweet")),
        }
    };
    graph().node("sour", sour).sequence(["sour"]).compile()
}

fn failing(message: &'static str) -> Node {
    Node::new(
        move |_: State, _: NodeContext| async move { NodeResult::<Update>::Err(error(message)) },
    )
}

fn error(message: &str) -> NodeError {
    NodeError::new("NodeError", message)
}
