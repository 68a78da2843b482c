//! An attempt as it is asked for.

use runloom_core::executor::{Attempt, Work};
use runloom_core::run::NodeSelection;

use super::convert::{document, json_bytes};
use crate::protocol::{Nodes, RunRequest, WorkKind};

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
    }
}

fn nodes(selection: &NodeSelection) -> Nodes {
    match selection {
        NodeSelection::All(_) => Nodes::All("*".to_owned()),
        NodeSelection::Some(names) => Nodes::Some(names.clone()),
    }
}
