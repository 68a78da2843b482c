//! Chat messages that a node streams while a model makes them.

use bytes::Bytes;
use runloom_core::executor::Said;
use runloom_core::json::{Json, JsonMap};
use serde::Serialize;
use serde_json::{Value, json};

use super::NodeContext;
use crate::error::NodeError;
use crate::model::{Assembly, Chunk};
use crate::stream::{MessageForm, message_metadata};

impl NodeContext {
    /// Where chat messages are streamed.
    pub fn messages(&self) -> Messages {
        Messages {
            context: self.clone(),
            metadata: JsonMap::new(),
            shown: true,
        }
    }
}

/// Begins chat messages.
#[derive(Clone)]
pub struct Messages {
    context: NodeContext,
    metadata: JsonMap,
    shown: bool,
}

impl Messages {
    /// Adds to the metadata that goes with the messages, such as the model's name.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Keeps the messages out of the event stream; they are only put together.
    pub fn nostream(mut self) -> Self {
        self.shown = false;
        self
    }

    /// Begins an AI message with the id that it will have in the state.
    pub fn begin(self, id: impl Into<String>) -> MessageWriter {
        let run = &self.context.run;
        let shown = self.shown
            && self.context.task.shows_messages
            && self.context.task.streams_from_here(run);
        let form = run.modes.messages.filter(|_| shown);
        let metadata = form.map(|_| message_metadata(run, &self.context.task, &self.metadata));
        MessageWriter {
            assembly: Assembly::new(id.into()),
            metadata: metadata.as_ref().map(Json::from_value),
            announced: false,
            form,
            context: self.context,
        }
    }
}

/// Streams one AI message. Dropping it leaves the message as far as it was said.
pub struct MessageWriter {
    context: NodeContext,
    assembly: Assembly,
    form: Option<MessageForm>,
    /// Goes with every piece, so it is encoded once.
    metadata: Option<Json>,
    announced: bool,
}

impl MessageWriter {
    /// More text.
    pub async fn token(&mut self, text: impl Into<String>) -> Result<(), NodeError> {
        self.chunk(&Chunk::text(text)).await
    }

    /// The next piece of the message.
    pub async fn chunk(&mut self, chunk: &Chunk) -> Result<(), NodeError> {
        self.context.check()?;
        self.assembly.add(chunk);
        let said = self.said(&chunk.text);
        match self.form {
            None => Ok(()),
            Some(MessageForm::Tuple) => {
                let message = positioned(chunk.message(self.assembly.id()), Value::Null);
                self.tuple(&message, said).await
            }
            Some(MessageForm::Accumulated) => {
                self.announce().await?;
                let data = encode(&[self.assembly.message()])?;
                self.context.send("messages/partial", data, said).await
            }
        }
    }

    /// The finished message, for the node to return. It is not shown a second time then.
    pub async fn finish(mut self) -> Result<Value, NodeError> {
        if self.form == Some(MessageForm::Tuple) {
            let last = Chunk::default().message(self.assembly.id());
            self.tuple(&positioned(last, "last".into()), None).await?;
        }
        self.context.check()?;
        Ok(self.assembly.message())
    }

    /// The message as far as it was said.
    pub fn so_far(&self) -> Value {
        self.assembly.message()
    }

    async fn tuple(&mut self, message: &Value, said: Option<Said>) -> Result<(), NodeError> {
        if !std::mem::replace(&mut self.announced, true) {
            self.context.run.shows_first(self.assembly.id());
        }
        let data = encode(&(message, &self.metadata))?;
        self.context.send("messages", data, said).await
    }

    /// Says once which message the partial ones will be.
    async fn announce(&mut self) -> Result<(), NodeError> {
        if !std::mem::replace(&mut self.announced, true) {
            self.context.run.shows_first(self.assembly.id());
            let data = json!({self.assembly.id(): {"metadata": self.metadata}});
            let data = encode(&data)?;
            self.context.send("messages/metadata", data, None).await?;
        }
        Ok(())
    }

    /// What the worker keeps in case the run is stopped before the message is finished.
    fn said(&self, text: &str) -> Option<Said> {
        let speaker = self.context.task.speaker.as_ref()?;
        let kept = self.context.speaks && self.form.is_some() && !text.is_empty();
        kept.then(|| Said {
            task_id: speaker.task_id.clone(),
            node: speaker.node.clone(),
            message_id: self.assembly.id().to_owned(),
            text: text.to_owned(),
        })
    }
}

fn positioned(mut message: Value, position: Value) -> Value {
    message["chunk_position"] = position;
    message
}

fn encode(value: &impl Serialize) -> Result<Bytes, NodeError> {
    Ok(serde_json::to_vec(value)?.into())
}
