//! Graphs that say something while they run.

use std::time::Duration;

use runloom_core::ids::random_id;
use runloom_graph::{BuildError, CompiledGraph, NodeContext};
use serde_json::json;
use tokio::time::interval;

use super::{State, append, graph, seconds};

/// Streams one message, token by token.
pub(super) fn tokens() -> Result<CompiledGraph, BuildError> {
    let model = |state: State, context: NodeContext| async move {
        let rate = state.rate.unwrap_or(50.0);
        let pause = seconds(1.0 / rate).max(Duration::from_micros(1));
        let mut pace = interval(pause);
        let mut message = context.messages().begin(random_id());
        for number in 0..state.count.unwrap_or(20) {
            pace.tick().await;
            message.token(format!("t{number} ")).await?;
        }
        Ok(append(message.finish().await?))
    };
    graph().node("model", model).sequence(["model"]).compile()
}

/// Emits custom events.
pub(super) fn custom() -> Result<CompiledGraph, BuildError> {
    let emit = |_: State, context: NodeContext| async move {
        for number in 0..3 {
            context.emit(json!({"n": number})).await?;
        }
        Ok(())
    };
    graph().node("emit", emit).sequence(["emit"]).compile()
}
