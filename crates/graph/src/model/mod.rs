//! The port to chat models, and the models that come with the crate.
//!
//! A model turns a conversation into a stream of [`Chunk`]s; an [`Assembly`] makes the finished
//! message of them. Nothing here knows of graphs: whoever asks a model decides where its words go.

mod assembly;
mod chunk;
mod error;
pub mod openai;
pub mod scripted;

use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::BoxStream;
use runloom_core::ids::random_id;
use serde_json::Value;

pub use assembly::Assembly;
pub use chunk::{Chunk, ToolCallChunk, Usage};
pub use error::ModelError;
pub use openai::OpenAi;
pub use scripted::ScriptedModel;

/// What can answer a conversation.
pub trait ChatModel: Send + Sync + 'static {
    /// Answers `request` piece by piece. The stream ends after the last piece or the first error;
    /// dropping it stops the answer.
    fn stream(&self, request: ModelRequest) -> ChunkStream;
}

/// The pieces of one answer.
pub type ChunkStream = BoxStream<'static, Result<Chunk, ModelError>>;

/// What a model is asked.
#[derive(Clone, Debug, Default)]
pub struct ModelRequest {
    /// The conversation so far, in the form of [`runloom_core::message`].
    pub messages: Vec<Value>,
    /// The tools that the model may call.
    pub tools: Vec<ToolDefinition>,
}

/// A tool as a model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolDefinition {
    /// The name that calls carry.
    pub name: String,
    /// Tells the model what the tool is good for.
    pub description: String,
    /// The JSON Schema of the arguments, an object.
    pub parameters: Value,
}

/// The whole answer of `model` as one AI message, for callers that do not stream.
pub async fn answer(model: &dyn ChatModel, request: ModelRequest) -> Result<Value, ModelError> {
    let assembly = Assembly::new(random_id());
    let collect = |mut assembly: Assembly, chunk: Chunk| async move {
        assembly.add(&chunk);
        Ok(assembly)
    };
    let assembly = model.stream(request).try_fold(assembly, collect).await?;
    Ok(assembly.message())
}

impl<M: ChatModel + ?Sized> ChatModel for Arc<M> {
    fn stream(&self, request: ModelRequest) -> ChunkStream {
        (**self).stream(request)
    }
}

/// The text of a message's content.
pub fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts = blocks.iter().filter_map(|block| match block {
                Value::String(text) => Some(text.as_str()),
                block if block["type"] == "text" => block["text"].as_str(),
                _ => None,
            });
            texts.collect()
        }
        _ => String::new(),
    }
}
