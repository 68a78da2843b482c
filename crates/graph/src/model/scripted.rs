//! A model that needs no network: a script decides what it says, a pace how fast.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use runloom_core::ids::random_id;
use runloom_core::json::JsonMap;
use serde_json::{Value, json};

use super::chunk::{Chunk, ToolCallChunk, Usage};
use super::{ChatModel, ChunkStream, ModelRequest, text};

/// Answers as its script says, at the pace of a human reader.
#[derive(Clone)]
pub struct ScriptedModel {
    script: Script,
    pace: Pace,
}

/// Says what to answer to a conversation.
pub type Script = Arc<dyn Fn(&ModelRequest) -> Reply + Send + Sync>;

/// What a script answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Text, streamed word by word.
    Say(String),
    /// Calls of tools, by name and arguments, that come all at once.
    Call(Vec<(String, JsonMap)>),
}

/// How long a scripted model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Before tools are called.
    pub call: Duration,
    /// Before the first word.
    pub think: Duration,
    /// Before every further word.
    pub word: Duration,
}

impl Pace {
    /// As fast as a human reads.
    pub const HUMAN: Self = Self {
        call: Duration::from_millis(500),
        think: Duration::from_millis(100),
        word: Duration::from_millis(80),
    };
    /// Without any delay.
    pub const INSTANT: Self = Self {
        call: Duration::ZERO,
        think: Duration::ZERO,
        word: Duration::ZERO,
    };
}

impl ScriptedModel {
    /// A model that says what `script` decides.
    pub fn new(script: impl Fn(&ModelRequest) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            pace: Pace::HUMAN,
        }
    }

    /// A model that asks the tool `tool` with the human's words as its `query`, and then tells what
    /// `tell` makes of the tool's content.
    pub fn asking(
        tool: impl Into<String>,
        tell: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let tool = tool.into();
        Self::new(move |request| {
            let turn = Turn::of(&request.messages);
            match turn.answer {
                Some(ToolAnswer::Found(content)) => Reply::Say(tell(&content)),
                Some(ToolAnswer::Failed(content)) => {
                    Reply::Say(format!("I could not look that up: {content}"))
                }
                None => {
                    let args = JsonMap::from_iter([("query".to_owned(), turn.question.into())]);
                    Reply::Call(vec![(tool.clone(), args)])
                }
            }
        })
    }

    /// The same model at another pace.
    pub fn paced(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }
}

impl ChatModel for ScriptedModel {
    fn stream(&self, request: ModelRequest) -> ChunkStream {
        let beats = match (self.script)(&request) {
            Reply::Say(text) => words(&text, self.pace),
            Reply::Call(calls) => vec![(self.pace.call, tool_calls(calls))],
        };
        futures::stream::iter(beats)
            .then(|(delay, chunk)| async move {
                tokio::time::sleep(delay).await;
                Ok(chunk)
            })
            .boxed()
    }
}

fn words(text: &str, pace: Pace) -> Vec<(Duration, Chunk)> {
    let mut beats: Vec<_> = text
        .split_inclusive(' ')
        .map(|word| (pace.word, Chunk::text(word)))
        .collect();
    if let Some(first) = beats.first_mut() {
        first.0 = pace.think;
    }
    if let Some(last) = beats.len().checked_sub(1) {
        beats[last].1.usage = Some(Usage {
            output: beats.len() as u64,
            ..Usage::default()
        });
    }
    beats
}

/// One chunk that holds the calls twice, as providers with content blocks do: as `tool_use` blocks
/// of the content, and as calls.
fn tool_calls(calls: Vec<(String, JsonMap)>) -> Chunk {
    let mut chunk = Chunk::default();
    for (index, (name, args)) in calls.into_iter().enumerate() {
        let id = format!("call_{}", random_id());
        let text = Value::Object(args.clone()).to_string();
        chunk
            .blocks
            .push(json!({"type": "tool_use", "id": id, "name": name, "input": args}));
        chunk.tool_calls.push(ToolCallChunk {
            index,
            id: Some(id),
            name: Some(name),
            args: text,
        });
    }
    chunk
}

/// What matters of a conversation since a human spoke last.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// What the human said last.
    pub question: String,
    /// What the last tool answered since then.
    pub answer: Option<ToolAnswer>,
}

/// A tool message.
#[derive(Debug, PartialEq, Eq)]
pub enum ToolAnswer {
    /// The tool's content.
    Found(String),
    /// The tool's error, or that it was stopped.
    Failed(String),
}

impl Turn {
    /// The last turn of a conversation. Whatever earlier turns left behind, half an answer or an
    /// error of a tool, does not count.
    pub fn of(messages: &[Value]) -> Self {
        let asked = messages
            .iter()
            .rposition(|message| message["type"] == "human");
        let since = asked.map_or(messages, |place| &messages[place + 1..]);
        let tool = since.iter().rfind(|message| message["type"] == "tool");
        Self {
            question: asked.map_or(String::new(), |place| text(&messages[place]["content"])),
            answer: tool.map(|message| match message["status"].as_str() {
                Some("error") => ToolAnswer::Failed(text(&message["content"])),
                _ => ToolAnswer::Found(text(&message["content"])),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::model::answer;

    fn asking() -> ScriptedModel {
        ScriptedModel::asking("search", |content| format!("It says {content}"))
    }

    fn human(text: &str) -> Value {
        json!({"type": "human", "content": text})
    }

    fn called() -> Value {
        json!({"type": "ai", "content": "", "tool_calls": [{"name": "search", "id": "a"}]})
    }

    fn tool(content: &str, status: &str) -> Value {
        json!({"type": "tool", "content": content, "tool_call_id": "a", "status": status})
    }

    async fn reply(messages: Vec<Value>) -> Value {
        let request = ModelRequest {
            messages,
            ..ModelRequest::default()
        };
        answer(&asking().paced(Pace::INSTANT), request)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_question_becomes_a_tool_call_with_its_content_block() {
        let message = reply(vec![human("sf?")]).await;
        let call = &message["tool_calls"][0];
        assert_eq!(call["name"], "search");
        assert_eq!(call["args"], json!({"query": "sf?"}));
        let input = json!({"query": "sf?"});
        let block = json!({"type": "tool_use", "id": call["id"], "name": "search", "input": input});
        assert_eq!(message["content"], json!([block]));
    }

    #[tokio::test]
    async fn a_tools_answer_becomes_text() {
        let message = reply(vec![human("sf?"), called(), tool("fog", "success")]).await;
        assert_eq!(message["content"], "It says fog");
        assert_eq!(message["tool_calls"], json!([]));
    }

    #[tokio::test]
    async fn a_tools_error_is_told_and_not_tried_again() {
        let message = reply(vec![human("sf?"), called(), tool("it broke", "error")]).await;
        assert_eq!(message["content"], "I could not look that up: it broke");
    }

    #[tokio::test]
    async fn what_an_interrupted_turn_left_behind_does_not_confuse_the_next() {
        let partial = json!({"type": "ai", "content": "It says f", "tool_calls": []});
        let histories = [
            vec![human("sf?"), called(), tool("fog", "success"), partial],
            vec![human("sf?"), called(), tool("stopped", "error")],
            vec![human("sf?"), called()],
        ];
        for mut history in histories {
            history.push(human("nyc?"));
            let message = reply(history).await;
            assert_eq!(message["tool_calls"][0]["args"], json!({"query": "nyc?"}));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn words_come_one_by_one_at_the_given_pace() {
        let model = ScriptedModel::new(|_| Reply::Say("one two three".to_owned()));
        let start = Instant::now();
        let mut stream = model.stream(ModelRequest::default());
        let mut heard = Vec::new();
        while let Some(chunk) = stream.next().await {
            heard.push((chunk.unwrap().text, start.elapsed().as_millis()));
        }
        let expected = [("one ", 100), ("two ", 180), ("three", 260)];
        // Tokio's timer is right to the millisecond.
        for ((word, at), (expected, due)) in heard.iter().zip(expected) {
            assert_eq!(word, expected);
            assert!((due..=due + 3).contains(at), "{word:?} after {at} ms");
        }
        assert_eq!(heard.len(), 3);
    }
}
