//! An attempt as it is asked for.

use runloom_core::checkpoint::CheckpointTuple;
use runloom_core::executor::{Attempt, CheckpointReader, Work};
use runloom_core::run::NodeSelection;
use runloom_core::trace::{self, TraceContext};

use super::convert::{self, document, json_bytes};
use crate::protocol::{Nodes, RunRequest, TraceBody, TupleBody, WorkKind};

/// The most bytes of a checkpoint that travel with a request. What is larger comes on the data socket,
/// where it delays nothing that the worker has to say.
const LARGEST_LATEST: usize = 256 * 1024;

/// The request for `attempt`, which may send `credit` bytes of events at first.
pub(super) fn of(attempt: &Attempt, credit: u64) -> RunRequest {
    let kwargs = &attempt.kwargs;
    let input = kwargs.input.as_ref().filter(|_| kwargs.has_input());
    RunRequest {
        run_id: attempt.run_id.to_string(),
        thread_id: attempt.thread_id.to_string(),
        assistant_id: attempt.assistant_id.to_string(),
        graph_id: attempt.graph_id.to_string(),
        attempt: attempt.attempt,
        work: match attempt.work {
            Work::Run => WorkKind::Run,
            Work::ApplyInput => WorkKind::ApplyInput,
        },
        input: input.map(document),
        command: kwargs.command.as_ref().map(document),
        config: json_bytes(&kwargs.config),
        context: kwargs.context.as_ref().map(json_bytes),
        metadata: json_bytes(&attempt.metadata),
        stream_modes: kwargs.stream_mode.iter().map(ToString::to_string).collect(),
        subgraphs: kwargs.subgraphs,
        durability: kwargs.durability.to_string(),
        interrupt_before: kwargs.interrupt_before.as_ref().map(nodes),
        interrupt_after: kwargs.interrupt_after.as_ref().map(nodes),
        credit,
        latest: None,
        trace: kwargs.trace.as_ref().map(trace),
    }
}

/// Where the attempt begins, so that it need not ask: the newest checkpoint of its thread, which nobody
/// but the attempt changes from now on.
pub(super) async fn latest(
    attempt: &Attempt,
    reader: &dyn CheckpointReader,
) -> Option<Vec<TupleBody>> {
    let named = attempt.kwargs.configurable();
    if named.is_some_and(|named| named.contains_key("checkpoint_id")) {
        return None;
    }
    // If that fails, it fails once more when the executor asks, and there it is known what that means.
    let latest = reader.checkpoint("", None).await.ok()?;
    let is_small = latest
        .as_ref()
        .is_none_or(|latest| size(latest) <= LARGEST_LATEST);
    is_small.then(|| latest.map(convert::tuple).into_iter().collect())
}

fn size(tuple: &CheckpointTuple) -> usize {
    let channels = tuple.channels.values().map(|blob| blob.data.len());
    let writes = tuple.writes.iter().map(|write| write.blob.data.len());
    tuple.checkpoint.head.data.len() + channels.sum::<usize>() + writes.sum::<usize>()
}

fn trace(context: &TraceContext) -> TraceBody {
    TraceBody {
        traceparent: context.parent.to_string(),
        tracestate: context.state.as_deref().map(str::to_owned),
        nodes: trace::is_on() && context.parent.is_sampled(),
    }
}

fn nodes(selection: &NodeSelection) -> Nodes {
    match selection {
        NodeSelection::All(_) => Nodes::All("*".to_owned()),
        NodeSelection::Some(names) => Nodes::Some(names.clone()),
    }
}
