//! Why a graph cannot be built, and why a node did not finish.

use std::fmt;

use serde_json::Value;

/// Why a graph cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A name is reserved, empty or has a character that namespaces are made of.
    #[error("{0:?} cannot be the name of a node")]
    BadName(String),
    /// Two nodes have the same name.
    #[error("there are two nodes named {0:?}")]
    DoubleNode(String),
    /// Two tools of an agent have the same name.
    #[error("there are two tools named {0:?}")]
    DoubleTool(String),
    /// A node has the name of a channel.
    #[error("{0:?} is both a node and a channel")]
    NodeNamedLikeChannel(String),
    /// An edge begins or ends at a node that is not there.
    #[error("an edge names {0:?}, which is no node")]
    UnknownNode(String),
    /// Nothing runs first.
    #[error("no edge leaves START")]
    NoStart,
    /// The schema of a state, input or output is not an object with properties.
    #[error("the schema of {0} is not an object with properties")]
    NoObject(&'static str),
    /// The input or output names a channel that the state does not have.
    #[error("the {0} names the channel {1:?}, which the state does not have")]
    UnknownChannel(&'static str, String),
}

/// A question to a human that a node waits on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Interrupt {
    /// What the node asks.
    pub value: Value,
    /// Names the question: the same whenever the task is executed again.
    pub id: String,
}

/// Why a node did not finish. Made of any error by `?`.
pub struct NodeError(pub(crate) Box<Reason>);

#[derive(Debug)]
pub(crate) enum Reason {
    /// It failed.
    Failed(Failure),
    /// It waits for a human.
    Interrupted(Vec<Interrupt>),
    /// The run is being stopped.
    Cancelled,
    /// A subgraph was asked to drain and stopped between supersteps.
    Drained,
}

/// What went wrong in a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: message.into(),
        }
    }

    /// In one line, as states and events show it.
    pub(crate) fn shown(&self) -> String {
        format!("{}('{}')", self.kind, self.message)
    }
}

impl NodeError {
    /// A failure of the kind that clients see, such as `ValueError`.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Box::new(Reason::Failed(Failure::new(kind, message))))
    }

    /// The run is being stopped; what the node does from now on has no effect.
    pub fn cancelled() -> Self {
        Self(Box::new(Reason::Cancelled))
    }

    /// Whether the run is being stopped.
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.0, Reason::Cancelled | Reason::Drained)
    }

    /// Whether the node waits for a human. Such an error must be passed on.
    pub fn is_interrupt(&self) -> bool {
        matches!(*self.0, Reason::Interrupted(_))
    }

    /// The kind of a failure, such as `ValueError`.
    pub fn kind(&self) -> &str {
        match &*self.0 {
            Reason::Failed(failure) => &failure.kind,
            Reason::Interrupted(_) => "GraphInterrupt",
            Reason::Cancelled | Reason::Drained => "CancelledError",
        }
    }

    pub(crate) fn drained() -> Self {
        Self(Box::new(Reason::Drained))
    }

    pub(crate) fn interrupted(interrupts: Vec<Interrupt>) -> Self {
        Self(Box::new(Reason::Interrupted(interrupts)))
    }
}

impl From<Failure> for NodeError {
    fn from(failure: Failure) -> Self {
        Self(Box::new(Reason::Failed(failure)))
    }
}

impl<E: std::error::Error + std::marker::Send + Sync + 'static> From<E> for NodeError {
    fn from(error: E) -> Self {
        Self::new(type_name::<E>(), message(&error))
    }
}

/// The error with its causes.
fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The last segment of a type's path, without its parameters.
fn type_name<T>() -> &'static str {
    let path = std::any::type_name::<T>();
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path)
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Reason::Failed(failure) => f.write_str(&failure.message),
            Reason::Interrupted(_) => f.write_str("the node waits for a human"),
            Reason::Cancelled | Reason::Drained => f.write_str("the run is being stopped"),
        }
    }
}

impl fmt::Debug for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_a_failure_of_its_own_kind() {
        let error: NodeError = "x".parse::<i32>().unwrap_err().into();
        assert_eq!(error.kind(), "ParseIntError");
        assert_eq!(error.to_string(), "invalid digit found in string");
        assert!(!error.is_interrupt());
    }
}
