//! Nodes: what runs in a superstep.

use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use runloom_core::json::JsonMap;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde_json::Value;

use crate::command::{Command, NodeOutput};
use crate::compiled::CompiledGraph;
use crate::context::NodeContext;
use crate::error::NodeError;
use crate::retry::RetryPolicy;

/// The values of a graph's channels, shared between tasks.
pub(crate) type Values = BTreeMap<String, Arc<Value>>;

/// What a task gets.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The channels that have a value.
    State(Arc<Values>),
    /// What a [`Send`](crate::Send) brought.
    Sent(Arc<Value>),
}

impl Input {
    /// The input as `T`, without copying the state first.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match self {
            Self::State(values) => {
                let entries = values.iter().map(|(name, value)| (name.as_str(), &**value));
                T::deserialize(MapDeserializer::new(entries))
            }
            Self::Sent(value) => T::deserialize((&**value).into_deserializer()),
        }
    }

    /// The input as it is shown to clients.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::State(values) => Value::Object(to_map(values)),
            Self::Sent(value) => (**value).clone(),
        }
    }
}

pub(crate) fn to_map(values: &Values) -> JsonMap {
    let entries = values
        .iter()
        .map(|(name, value)| (name.clone(), (**value).clone()));
    entries.collect()
}

/// A function of a node, its types erased.
#[async_trait]
pub(crate) trait Run: Send + Sync + 'static {
    async fn run(&self, input: Input, context: NodeContext) -> Result<Command, NodeError>;
}

struct Function<F, I> {
    function: F,
    input: PhantomData<fn() -> I>,
}

#[async_trait]
impl<F, I, Fut, R> Run for Function<F, I>
where
    F: Fn(I, NodeContext) -> Fut + Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    Fut: Future<Output = Result<R, NodeError>> + Send + 'static,
    R: NodeOutput + 'static,
{
    async fn run(&self, input: Input, context: NodeContext) -> Result<Command, NodeError> {
        let input = input.read().map_err(|error| unfit(&error))?;
        (self.function)(input, context).await?.into_command()
    }
}

pub(crate) fn unfit(error: &serde_json::Error) -> NodeError {
    NodeError::new(
        "InvalidInputError",
        format!("the input does not fit: {error}"),
    )
}

/// What a node executes.
#[derive(Clone)]
pub(crate) enum Body {
    /// A function.
    Function(Arc<dyn Run>),
    /// A graph with checkpoints of its own.
    Subgraph(Subgraph),
}

type InputMap = Arc<dyn Fn(&Input) -> Result<Value, NodeError> + Send + Sync>;
type OutputMap = Arc<dyn Fn(JsonMap) -> Result<Command, NodeError> + Send + Sync>;

/// A graph as a node, and how its input and output fit the graph around it.
#[derive(Clone)]
pub(crate) struct Subgraph {
    pub(crate) graph: CompiledGraph,
    /// `None` shares the channels that have the same names.
    pub(crate) maps: Option<(InputMap, OutputMap)>,
}

/// A node with its settings. Functions and compiled graphs become one by themselves; say
/// `Node::new(function)` to add settings.
#[derive(Clone)]
pub struct Node {
    pub(crate) body: Body,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) streams: bool,
    pub(crate) metadata: JsonMap,
    pub(crate) destinations: Vec<String>,
}

impl Node {
    /// A node that runs `function`: an async function of the state (or of what a
    /// [`Send`](crate::Send) brings) and the [`NodeContext`].
    pub fn new<F, I, Fut, R>(function: F) -> Self
    where
        F: Fn(I, NodeContext) -> Fut + Send + Sync + 'static,
        I: DeserializeOwned + Send + 'static,
        Fut: Future<Output = Result<R, NodeError>> + Send + 'static,
        R: NodeOutput + 'static,
    {
        let function = Function {
            function,
            input: PhantomData,
        };
        Self::of(Body::Function(Arc::new(function)))
    }

    /// A node that runs `graph`, which shares the channels that have the same names.
    pub fn subgraph(graph: CompiledGraph) -> Self {
        Self::of(Body::Subgraph(Subgraph { graph, maps: None }))
    }

    /// A node that runs `graph` on what `input` makes of the state; `output` makes an update of the
    /// graph's output.
    pub fn mapped<I, V, O>(
        graph: CompiledGraph,
        input: impl Fn(I) -> V + Send + Sync + 'static,
        output: impl Fn(JsonMap) -> O + Send + Sync + 'static,
    ) -> Self
    where
        I: DeserializeOwned + 'static,
        V: serde::Serialize + 'static,
        O: NodeOutput + 'static,
    {
        let input: InputMap = Arc::new(move |state| {
            let state = state.read().map_err(|error| unfit(&error))?;
            Ok(serde_json::to_value(input(state))?)
        });
        let output: OutputMap = Arc::new(move |values| output(values).into_command());
        let maps = Some((input, output));
        Self::of(Body::Subgraph(Subgraph { graph, maps }))
    }

    fn of(body: Body) -> Self {
        Self {
            body,
            retry: None,
            streams: true,
            metadata: JsonMap::new(),
            destinations: Vec::new(),
        }
    }

    /// Tries the node again after failures.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Keeps the node's chat messages out of the event stream.
    pub fn nostream(mut self) -> Self {
        self.streams = false;
        self
    }

    /// Adds to the metadata that goes with the node's chat messages and into the drawing.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Names the nodes that the node's commands go to, for the drawing.
    pub fn destinations<T: Into<String>>(mut self, nodes: impl IntoIterator<Item = T>) -> Self {
        self.destinations.extend(nodes.into_iter().map(Into::into));
        self
    }

    pub(crate) fn as_subgraph(&self) -> Option<&Subgraph> {
        match &self.body {
            Body::Subgraph(subgraph) => Some(subgraph),
            Body::Function(_) => None,
        }
    }
}

/// What can be added to a graph as a node: an async function, a [`Node`], a [`CompiledGraph`].
/// `M` only tells the implementations apart.
pub trait IntoNode<M> {
    /// The node.
    fn into_node(self) -> Node;
}

impl IntoNode<()> for Node {
    fn into_node(self) -> Node {
        self
    }
}

impl IntoNode<()> for CompiledGraph {
    fn into_node(self) -> Node {
        Node::subgraph(self)
    }
}

impl<F, I, Fut, R> IntoNode<(I, Fut, R)> for F
where
    F: Fn(I, NodeContext) -> Fut + Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    Fut: Future<Output = Result<R, NodeError>> + Send + 'static,
    R: NodeOutput + 'static,
{
    fn into_node(self) -> Node {
        Node::new(self)
    }
}
