//! A help desk that refunds small sums at once and large ones after a human agreed.
//! `cargo run -p own-graph -- dev` serves it as the assistant `help-desk`.

use runloom_graph::{END, NodeContext, NodeResult, START, StateGraph, Update};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// Each field is a channel of the graph's state.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Desk {
    messages: Vec<Value>,
    amount: f64,
    agreed: bool,
}

async fn read(desk: Desk, context: NodeContext) -> NodeResult {
    context.emit(json!({"status": "reading"})).await?;
    let text = desk.messages.last().map(|last| last["content"].to_string());
    let text = text.unwrap_or_default();
    let mut words = text.split(|c: char| !c.is_ascii_digit());
    let amount = words.find_map(|word| word.parse().ok()).unwrap_or(0.0);
    let update = json!({"amount": amount, "agreed": amount <= 100.0});
    Ok(update.into())
}

/// The run pauses at `interrupt` until somebody resumes it with an answer.
async fn ask(desk: Desk, context: NodeContext) -> NodeResult {
    let answer = context.interrupt(json!({"question": "Pay?", "amount": desk.amount}))?;
    Ok(Update::new().set("agreed", answer == true))
}

/// Clients see the reply while it is being written.
async fn reply(desk: Desk, context: NodeContext) -> NodeResult {
    let verb = if desk.agreed { "was" } else { "was not" };
    let id = format!("reply-{}", context.task_id());
    let mut reply = context.messages().begin(id);
    for word in format!("Your refund of {} {verb} approved.", desk.amount).split_inclusive(' ') {
        reply.token(word).await?;
    }
    Ok(Update::new().set("messages", [reply.finish().await?]))
}

fn main() -> anyhow::Result<()> {
    let next = |desk: Desk| if desk.agreed { "reply" } else { "ask" };
    let graph = StateGraph::of::<Desk>()
        .messages()
        .node("read", read)
        .node("ask", ask)
        .node("reply", reply)
        .edge(START, "read")
        .conditional_edges("read", next, ["ask", "reply"])
        .edge("ask", "reply")
        .edge("reply", END)
        .compile()?;
    runloom::Runloom::new().graph("help-desk", graph).main()
}
