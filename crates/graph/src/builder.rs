//! Puts a graph together and checks that it can run.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::channel::Channel;
use crate::command::{Goto, Route};
use crate::compiled::{Branch, CompiledGraph, Graph, Join, Schemas};
use crate::error::{BuildError, NodeError};
use crate::node::{Input, IntoNode, Node, unfit};
use crate::schema::{properties, schema_of};

/// Where a graph begins: the source of its first edges.
pub const START: &str = "__start__";

/// Where a graph ends: the target of its last edges.
pub const END: &str = "__end__";

/// A graph in the making. Mistakes are reported by [`StateGraph::compile`].
#[derive(Default)]
pub struct StateGraph {
    description: Option<String>,
    channels: BTreeMap<String, Channel>,
    nodes: Vec<(String, Node)>,
    edges: Vec<(String, String)>,
    joins: Vec<Join>,
    branches: Vec<(String, Branch)>,
    schemas: Schemas,
}

impl StateGraph {
    /// No channels, no nodes, no edges.
    pub fn new() -> Self {
        Self::default()
    }

    /// A graph whose state is `S`: each of its fields is a channel that holds the value written
    /// last, unless [`StateGraph::channel`] says otherwise.
    pub fn of<S: JsonSchema>() -> Self {
        let mut graph = Self::new();
        graph.schemas.state = Some(schema_of::<S>());
        graph
    }

    /// Says for people what the graph does.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Adds a channel, or says how one of the state's fields combines updates.
    pub fn channel(mut self, name: impl Into<String>, channel: Channel) -> Self {
        self.channels.insert(name.into(), channel);
        self
    }

    /// Adds the channel `messages`, which holds chat messages.
    pub fn messages(self) -> Self {
        self.channel("messages", Channel::messages())
    }

    /// Takes only the fields of `I` as input; the others cannot be set by a run's input.
    pub fn input<I: JsonSchema>(mut self) -> Self {
        self.schemas.input = Some(schema_of::<I>());
        self
    }

    /// Shows only the fields of `O` to clients.
    pub fn output<O: JsonSchema>(mut self) -> Self {
        self.schemas.output = Some(schema_of::<O>());
        self
    }

    /// Documents what `config.configurable` takes.
    pub fn config<C: JsonSchema>(mut self) -> Self {
        self.schemas.config = Some(schema_of::<C>());
        self
    }

    /// Documents what a run's `context` takes.
    pub fn context<C: JsonSchema>(mut self) -> Self {
        self.schemas.context = Some(schema_of::<C>());
        self
    }

    /// Adds a node.
    pub fn node<M>(mut self, name: impl Into<String>, node: impl IntoNode<M>) -> Self {
        self.nodes.push((name.into(), node.into_node()));
        self
    }

    /// After `from`, `to` runs.
    pub fn edge(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.edges.push((from.into(), to.into()));
        self
    }

    /// Once all of `from` have run, in whichever supersteps, `to` runs.
    pub fn join<T: Into<String>>(
        mut self,
        from: impl IntoIterator<Item = T>,
        to: impl Into<String>,
    ) -> Self {
        self.joins.push(Join {
            from: from.into_iter().map(Into::into).collect(),
            to: to.into(),
        });
        self
    }

    /// After `from`, `route` decides from the state what runs. `targets` are drawn and checked; leave
    /// them empty if it may be any node.
    pub fn conditional_edges<I, R, T>(
        mut self,
        from: impl Into<String>,
        route: impl Fn(I) -> R + Send + Sync + 'static,
        targets: impl IntoIterator<Item = T>,
    ) -> Self
    where
        I: DeserializeOwned + 'static,
        R: Route,
        T: Into<String>,
    {
        let route = move |input: &Input| -> Result<Vec<Goto>, NodeError> {
            let input = input.read().map_err(|error| unfit(&error))?;
            route(input).into_places()
        };
        let branch = Branch {
            route: Arc::new(route),
            targets: targets.into_iter().map(Into::into).collect(),
        };
        self.branches.push((from.into(), branch));
        self
    }

    /// Runs the nodes one after the other, from START to END.
    pub fn sequence<'a>(mut self, nodes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut from = START;
        for node in nodes {
            self = self.edge(from, node);
            from = node;
        }
        self.edge(from, END)
    }

    /// Checks the graph and makes it ready to run.
    pub fn compile(mut self) -> Result<CompiledGraph, BuildError> {
        self.declare_fields()?;
        let mut nodes = BTreeMap::new();
        let mut order = Vec::new();
        for (name, node) in std::mem::take(&mut self.nodes) {
            check_name(&name)?;
            if self.channels.contains_key(&name) {
                return Err(BuildError::NodeNamedLikeChannel(name));
            }
            order.push(name.clone());
            if nodes.insert(name.clone(), node).is_some() {
                return Err(BuildError::DoubleNode(name));
            }
        }
        let mut graph = Graph {
            description: self.description,
            channels: self.channels,
            nodes,
            order,
            edges: BTreeMap::new(),
            joins: self.joins,
            branches: BTreeMap::new(),
            schemas: self.schemas,
            inputs: None,
            outputs: None,
        };
        for (from, to) in self.edges {
            graph.edges.entry(from).or_default().push(to);
        }
        for (from, branch) in self.branches {
            graph.branches.entry(from).or_default().push(branch);
        }
        check_places(&graph)?;
        graph.inputs = chosen("input", graph.schemas.input.as_ref(), &graph)?;
        graph.outputs = chosen("output", graph.schemas.output.as_ref(), &graph)?;
        Ok(CompiledGraph::new(graph))
    }

    /// Makes a channel of each field of the state that has none yet.
    fn declare_fields(&mut self) -> Result<(), BuildError> {
        let Some(schema) = &self.schemas.state else {
            return Ok(());
        };
        for field in properties(schema).ok_or(BuildError::NoObject("the state"))? {
            self.channels
                .entry(field)
                .or_insert_with(Channel::last_value);
        }
        Ok(())
    }
}

/// Namespaces are made of names, `:` and `|`; what begins with two underscores is ours.
fn check_name(name: &str) -> Result<(), BuildError> {
    let bad = name.is_empty() || name.starts_with("__") || name.contains([':', '|']);
    if bad {
        Err(BuildError::BadName(name.to_owned()))
    } else {
        Ok(())
    }
}

fn check_places(graph: &Graph) -> Result<(), BuildError> {
    let source = |name: &String| name == START || graph.nodes.contains_key(name);
    let target = |name: &String| name == END || graph.nodes.contains_key(name);
    let edges = graph.edges.iter();
    let sources = edges
        .clone()
        .map(|(from, _)| from)
        .chain(graph.branches.keys())
        .chain(graph.joins.iter().flat_map(|join| &join.from));
    let targets = edges
        .flat_map(|(_, targets)| targets)
        .chain(graph.joins.iter().map(|join| &join.to))
        .chain(
            graph
                .branches
                .values()
                .flatten()
                .flat_map(|branch| &branch.targets),
        )
        .chain(graph.nodes.values().flat_map(|node| &node.destinations));
    let unknown = sources
        .filter(|name| !source(name))
        .chain(targets.filter(|name| !target(name)))
        .next();
    if let Some(name) = unknown {
        return Err(BuildError::UnknownNode(name.clone()));
    }
    if graph.edges.contains_key(START) || graph.branches.contains_key(START) {
        Ok(())
    } else {
        Err(BuildError::NoStart)
    }
}

/// The channels that an input or output schema names; `None` means all.
fn chosen(
    what: &'static str,
    schema: Option<&Value>,
    graph: &Graph,
) -> Result<Option<Vec<String>>, BuildError> {
    let Some(schema) = schema else {
        return Ok(None);
    };
    let names = properties(schema).ok_or(BuildError::NoObject(what))?;
    for name in &names {
        if !graph.channels.contains_key(name) {
            return Err(BuildError::UnknownChannel(what, name.clone()));
        }
    }
    Ok(Some(names))
}
