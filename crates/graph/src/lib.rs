//! Agent graphs in Rust, executed in supersteps.
//!
//! A [`StateGraph`] is put together of named [`Channel`]s, [`Node`]s and edges, and compiled. In each
//! superstep the nodes whose turn it is run side by side; then their updates are applied to the
//! channels, a checkpoint is written, and the edges say whose turn it is next. The
//! [`GraphExecutor`] runs compiled graphs for a worker.
//!
//! ```
//! use runloom_graph::{Channel, NodeContext, NodeResult, StateGraph, Update};
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct State {
//!     topic: String,
//!     #[serde(default)]
//!     lines: Vec<String>,
//! }
//!
//! async fn write(state: State, context: NodeContext) -> NodeResult {
//!     context.emit("writing").await?;
//!     Ok(Update::new().set("lines", format!("An ode to {}", state.topic)))
//! }
//!
//! /// Pauses the run until a human answers.
//! async fn review(state: State, context: NodeContext) -> NodeResult {
//!     let verdict = context.interrupt(state.lines.join("\n"))?;
//!     Ok(Update::new().set("lines", verdict))
//! }
//!
//! let graph = StateGraph::of::<State>()
//!     .channel("lines", Channel::append())
//!     .node("write", write)
//!     .node("review", review)
//!     .sequence(["write", "review"])
//!     .compile()?;
//! # Ok::<(), runloom_graph::BuildError>(())
//! ```

mod builder;
mod channel;
mod command;
mod compiled;
mod context;
mod drawing;
mod engine;
mod error;
mod executor;
pub mod model;
mod node;
pub mod prebuilt;
mod retry;
mod run;
mod schema;
mod state;
mod stream;
mod task;
pub mod tool;
mod view;

pub use builder::{END, START, StateGraph};
pub use channel::{Channel, UpdateError};
pub use command::{Command, Goto, NodeOutput, Route, Send, Update};
pub use compiled::CompiledGraph;
pub use context::{MessageWriter, Messages, NodeContext};
pub use error::{BuildError, Interrupt, NodeError};
pub use executor::GraphExecutor;
pub use node::{IntoNode, Node};
pub use retry::RetryPolicy;

/// What a node's function returns.
pub type NodeResult<T = Update> = Result<T, NodeError>;
