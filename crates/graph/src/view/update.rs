//! Changes of a thread's state from outside any run.

use runloom_core::clock::Clock;
use runloom_core::executor::{ExecutorError, Host};
use runloom_core::ids::CheckpointId;
use runloom_core::state::{Head, NodeUpdate, StateUpdate};
use serde_json::json;

use super::glance::{Glance, head_at_end};
use super::place::{graph_at, stamp};
use crate::builder::{END, START};
use crate::channel::UpdateError;
use crate::compiled::CompiledGraph;
use crate::engine::{InputCommand, accepted_input, parse_update};
use crate::error::NodeError;
use crate::state::{self, Finished, Origin, Plan, Snapshot, Stamp, plan_after};

/// The name under which an update counts as a new input.
const INPUT_NODE: &str = "__input__";

/// Makes a checkpoint of each superstep of `update`.
pub(crate) async fn update_state(
    root: &CompiledGraph,
    update: StateUpdate,
    clock: &dyn Clock,
    host: &dyn Host,
) -> Result<Head, ExecutorError> {
    let graph = graph_at(root, &update.ns)?;
    let mut updater = Updater::begin(graph, &update, host).await?;
    let mut made = Vec::new();
    for updates in &update.supersteps {
        made.push(updater.superstep(updates, clock)?);
    }
    // Everything was checked: either all of it is stored, or nothing.
    for checkpoint in made {
        host.put_checkpoint(checkpoint).await?;
    }
    match updater.at {
        Some(at) if update.ns.is_empty() => Ok(head_at_end(graph, &at)),
        _ => {
            let latest = host.checkpoint("", None).await?;
            Ok(super::head(root, latest)?)
        }
    }
}

struct Updater<'a> {
    graph: &'a CompiledGraph,
    stamp: Stamp,
    /// Where the next superstep builds upon.
    at: Option<Snapshot>,
    /// The newest checkpoint of the thread.
    latest: Option<CheckpointId>,
}

impl<'a> Updater<'a> {
    async fn begin(
        graph: &'a CompiledGraph,
        update: &StateUpdate,
        host: &dyn Host,
    ) -> Result<Self, ExecutorError> {
        let latest = host.checkpoint(&update.ns, None).await?;
        let latest_id = latest.as_ref().map(|latest| latest.checkpoint.id.clone());
        let base = match &update.checkpoint_id {
            None => latest,
            Some(id) => {
                let base = host.checkpoint(&update.ns, Some(id)).await?;
                Some(base.ok_or_else(|| invalid(&format!("no checkpoint {id} to build upon")))?)
            }
        };
        let is_latest = update.checkpoint_id.is_none();
        let glance = base
            .map(|base| Glance::at(graph, base, is_latest))
            .transpose()?;
        let at = glance.map(|glance| glance.at);
        let mut metadata = update.metadata.clone();
        metadata.insert("thread_id".to_owned(), json!(update.thread_id));
        Ok(Self {
            graph,
            stamp: stamp(update.thread_id, &update.ns, at.as_ref(), metadata),
            at,
            latest: latest_id,
        })
    }

    fn superstep(
        &mut self,
        updates: &[NodeUpdate],
        clock: &dyn Clock,
    ) -> Result<runloom_core::checkpoint::NewCheckpoint, ExecutorError> {
        let mut next = self.next(updates, clock)?;
        next.seal();
        let stored = self.at.as_ref().map(|at| at.versions.clone());
        let parent = self.at.as_ref().map(|at| at.id.clone());
        let made = next
            .encode(&self.stamp, parent, &stored.unwrap_or_default())
            .map_err(|error| ExecutorError::Failed(error.to_string()))?;
        self.latest = Some(next.id.clone());
        self.at = Some(next);
        Ok(made)
    }

    fn next(&self, updates: &[NodeUpdate], clock: &dyn Clock) -> Result<Snapshot, ExecutorError> {
        let parts = self.graph.parts();
        let base = self.blank(Origin::Update, clock);
        match updates {
            [] => return Err(invalid("a superstep without updates")),
            [one] if one.values.is_none() && one.command.is_none() => match &one.as_node {
                // Nothing is changed, so what runs next stays.
                None => {
                    let plan = self.at.as_ref().map(|at| at.plan.clone());
                    return Ok(with_plan(base, plan.unwrap_or_default()));
                }
                Some(node) if node == END => return Ok(with_plan(base, Plan::default())),
                Some(_) => {}
            },
            [one] if one.as_node.as_deref() == Some(INPUT_NODE) => {
                let values = one.values.as_ref().map(runloom_core::json::Json::to_value);
                let input = accepted_input(parts, values.unwrap_or_default());
                let input = input.map_err(|error| refused(&error))?;
                return Ok(self.blank(Origin::Input, clock).with_input(input));
            }
            _ => {}
        }
        let mut done = Vec::with_capacity(updates.len());
        for update in updates {
            let node = self.node_of(update)?;
            let finished = self.finished(&node, update, &base)?;
            done.push((node, finished));
        }
        let joins = self
            .at
            .as_ref()
            .map(|at| at.plan.joins.clone())
            .unwrap_or_default();
        let nodes = done
            .iter()
            .map(|(node, finished)| (node.as_str(), &finished.places[..]));
        let mut next = with_plan(base, plan_after(parts, &joins, nodes));
        next.fold(
            parts,
            done.iter().flat_map(|(_, finished)| &finished.writes),
        )
        .map_err(|error: UpdateError| ExecutorError::Invalid(error.to_string()))?;
        Ok(next)
    }

    /// A checkpoint with the same values and nothing to do.
    fn blank(&self, origin: Origin, clock: &dyn Clock) -> Snapshot {
        let now = clock.now();
        match &self.at {
            Some(at) => at.next(
                &self.stamp,
                origin,
                Plan::default(),
                self.latest.as_ref(),
                now,
            ),
            None => Snapshot::first(self.graph.parts(), &self.stamp, origin, now),
        }
    }

    /// The node that an update stands for: the one it names, or the one that ran last.
    fn node_of(&self, update: &NodeUpdate) -> Result<String, ExecutorError> {
        if let Some(node) = &update.as_node {
            return if node == START || self.graph.parts().nodes.contains_key(node) {
                Ok(node.clone())
            } else {
                Err(invalid(&format!("node {node:?} does not exist")))
            };
        }
        match self.at.as_ref().map_or(&[][..], |at| &at.plan.ran) {
            [] => Ok(START.to_owned()),
            [one] => Ok(one.clone()),
            several => Err(invalid(&format!(
                "ambiguous update: name one of {several:?} as `as_node`"
            ))),
        }
    }

    /// What the node would have done.
    fn finished(
        &self,
        node: &str,
        update: &NodeUpdate,
        base: &Snapshot,
    ) -> Result<Finished, ExecutorError> {
        let parts = self.graph.parts();
        let command = update
            .command
            .as_ref()
            .map(|command| InputCommand::parse(command.to_value()));
        let command = command
            .transpose()
            .map_err(|error| refused(&error))?
            .unwrap_or_default();
        let values = update
            .values
            .as_ref()
            .map(runloom_core::json::Json::to_value);
        let values = values.filter(|values| !values.is_null()).map(parse_update);
        let values = values
            .transpose()
            .map_err(|error| refused(&error))?
            .unwrap_or_default();
        let mut writes = Vec::new();
        for (channel, value) in values.into_iter().chain(command.update) {
            let value = parts.normalised(&channel, value);
            writes.push((channel, value.map_err(|error| invalid(&error.to_string()))?));
        }
        let mut places = command.goto;
        let chosen = state::check(parts, node, &places)
            .and_then(|()| state::routes(parts, node, &base.values, &writes));
        places.extend(chosen.map_err(|error| refused(&error))?);
        Ok(Finished { writes, places })
    }
}

fn with_plan(mut snapshot: Snapshot, plan: Plan) -> Snapshot {
    snapshot.plan = plan;
    snapshot
}

fn invalid(text: &str) -> ExecutorError {
    ExecutorError::Invalid(text.to_owned())
}

fn refused(error: &NodeError) -> ExecutorError {
    ExecutorError::Invalid(error.to_string())
}
