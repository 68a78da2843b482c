//! A graph that lets others see what it does.

use std::time::Duration;

use runloom_core::ids::random_id;
use runloom_graph::{BuildError, CompiledGraph, END, NodeContext, START};
use runloom_worker::{Monotonic as _, SinceBoot};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{State, append, graph};

/// How many steps it takes unless the input says otherwise.
const STEPS: usize = 4;

/// How long a step takes unless the input says otherwise, in seconds.
const STEP: f64 = 0.02;

/// Short supersteps, each of which leaves a message `RUN ATTEMPT NUMBER`, and a last answer
/// `RUN ATTEMPT last`, streamed word by word. The log says when each began and ended, by a clock that
/// all processes of the machine share: who executed what can be proved without asking the server.
pub(super) fn witness() -> Result<CompiledGraph, BuildError> {
    let step = |state: State, context: NodeContext| async move {
        let number = (state.steps_done() + 1).to_string();
        record(&context, &number, "begin");
        context
            .emit(json!({"attempt": context.attempt(), "step": number}))
            .await?;
        sleep(state.delay(STEP)).await;
        record(&context, &number, "end");
        let text = format!("{} {} {number}", context.run_id(), context.attempt());
        Ok(append(json!({"type": "ai", "content": text})))
    };
    let last = |state: State, context: NodeContext| async move {
        record(&context, "last", "begin");
        let mut message = context.messages().begin(random_id());
        let (run, attempt) = (context.run_id().to_string(), context.attempt().to_string());
        for word in [run.as_str(), " ", &attempt, " ", "last"] {
            message.token(word).await?;
            sleep(state.delay(STEP) / 5).await;
        }
        let message = message.finish().await?;
        record(&context, "last", "end");
        Ok(append(message))
    };
    let next = |state: State| {
        let all = state.count.and_then(|count| usize::try_from(count).ok());
        let more = state.steps_done() < all.unwrap_or(STEPS);
        if more { "step" } else { "last" }
    };
    graph()
        .node("step", step)
        .node("last", last)
        .edge(START, "step")
        .conditional_edges("step", next, ["step", "last"])
        .edge("last", END)
        .compile()
}

impl State {
    /// How many steps have answered what the human said last.
    fn steps_done(&self) -> usize {
        let answers = self.messages.iter().rev();
        answers.take_while(|message| is_answer(message)).count()
    }
}

fn is_answer(message: &Value) -> bool {
    message["type"] == "ai"
}

/// Says in the log what happens now. The time is in seconds since the machine was started.
fn record(context: &NodeContext, step: &str, phase: &str) {
    let now: Duration = SinceBoot.elapsed();
    tracing::info!(target: "witness", run = %context.run_id(), thread = %context.thread_id(),
        attempt = context.attempt(), step, phase, at = now.as_secs_f64(),
        pid = std::process::id(), "step");
}
