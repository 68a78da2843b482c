//! What nodes answer with: updates of channels, and where to go next.

use runloom_core::json::JsonMap;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::NodeError;

/// Writes to channels, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    pub(crate) writes: Vec<(String, Value)>,
    pub(crate) wrong: Option<String>,
}

impl Update {
    /// No writes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write of `value` to `channel`. A value that has no JSON form fails the node.
    pub fn set(mut self, channel: impl Into<String>, value: impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => self.writes.push((channel.into(), value)),
            Err(error) => self.wrong = Some(error.to_string()),
        }
        self
    }

    /// A write to each channel that `value`, which must be an object, has as a key.
    pub fn of(value: impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(Value::Object(map)) => Self::from(map),
            Ok(Value::Null) => Self::new(),
            Ok(other) => Self::wrong(format!("an update must be an object, not {other}")),
            Err(error) => Self::wrong(error.to_string()),
        }
    }

    fn wrong(reason: String) -> Self {
        Self {
            writes: Vec::new(),
            wrong: Some(reason),
        }
    }
}

impl From<JsonMap> for Update {
    fn from(map: JsonMap) -> Self {
        Self {
            writes: map.into_iter().collect(),
            wrong: None,
        }
    }
}

impl From<Value> for Update {
    fn from(value: Value) -> Self {
        Self::of(value)
    }
}

/// A task to run in the next superstep, with an input of its own instead of the state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Send {
    pub(crate) node: String,
    #[serde(rename = "input")]
    pub(crate) input: Value,
}

impl Send {
    /// Runs `node` with `input`.
    pub fn new(node: impl Into<String>, input: impl Into<Value>) -> Self {
        Self {
            node: node.into(),
            input: input.into(),
        }
    }
}

/// A place to go next.
#[derive(Clone, Debug, PartialEq)]
pub enum Goto {
    /// A node, which gets the state; [`END`](crate::END) goes nowhere.
    Node(String),
    /// A node with an input of its own.
    Send(Send),
}

impl From<&str> for Goto {
    fn from(node: &str) -> Self {
        Self::Node(node.to_owned())
    }
}

impl From<String> for Goto {
    fn from(node: String) -> Self {
        Self::Node(node)
    }
}

impl From<Send> for Goto {
    fn from(send: Send) -> Self {
        Self::Send(send)
    }
}

/// Redirects the graph: an update together with where to go next. The node's own edges are
/// followed, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    pub(crate) update: Update,
    pub(crate) goto: Vec<Goto>,
}

impl Command {
    /// Changes nothing and goes nowhere.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds writes.
    pub fn update(mut self, update: impl Into<Update>) -> Self {
        let update = update.into();
        self.update.writes.extend(update.writes);
        self.update.wrong = self.update.wrong.or(update.wrong);
        self
    }

    /// Adds a place to go next.
    pub fn goto(mut self, place: impl Into<Goto>) -> Self {
        self.goto.push(place.into());
        self
    }
}

impl From<Update> for Command {
    fn from(update: Update) -> Self {
        Self {
            update,
            goto: Vec::new(),
        }
    }
}

/// What a node may return.
pub trait NodeOutput {
    /// The same as a command.
    fn into_command(self) -> Result<Command, NodeError>;
}

impl NodeOutput for Command {
    fn into_command(self) -> Result<Command, NodeError> {
        match self.update.wrong {
            Some(reason) => Err(NodeError::new("InvalidUpdateError", reason)),
            None => Ok(self),
        }
    }
}

impl NodeOutput for Update {
    fn into_command(self) -> Result<Command, NodeError> {
        Command::from(self).into_command()
    }
}

/// Nothing is written.
impl NodeOutput for () {
    fn into_command(self) -> Result<Command, NodeError> {
        Ok(Command::new())
    }
}

/// An object of channels, or `null`.
impl NodeOutput for Value {
    fn into_command(self) -> Result<Command, NodeError> {
        Update::of(self).into_command()
    }
}

impl NodeOutput for JsonMap {
    fn into_command(self) -> Result<Command, NodeError> {
        Update::from(self).into_command()
    }
}

/// What a conditional edge may return: one place or several, or an error that fails the node.
pub trait Route {
    /// The same as a list.
    fn into_places(self) -> Result<Vec<Goto>, NodeError>;
}

impl Route for &str {
    fn into_places(self) -> Result<Vec<Goto>, NodeError> {
        Ok(vec![self.into()])
    }
}

impl Route for String {
    fn into_places(self) -> Result<Vec<Goto>, NodeError> {
        Ok(vec![self.into()])
    }
}

impl Route for Send {
    fn into_places(self) -> Result<Vec<Goto>, NodeError> {
        Ok(vec![self.into()])
    }
}

impl<G: Into<Goto>> Route for Vec<G> {
    fn into_places(self) -> Result<Vec<Goto>, NodeError> {
        Ok(self.into_iter().map(Into::into).collect())
    }
}

impl<R: Route> Route for Result<R, NodeError> {
    fn into_places(self) -> Result<Vec<Goto>, NodeError> {
        self?.into_places()
    }
}

impl Goto {
    /// As it is stored and shown.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Node(node) => json!(node),
            Self::Send(send) => json!({"node": send.node, "input": send.input}),
        }
    }
}
