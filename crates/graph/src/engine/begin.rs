//! Where an attempt begins: with a new input, from where the thread stands, or from where an earlier
//! attempt of the same run got.

use std::sync::Arc;

use runloom_core::checkpoint::CheckpointTuple;
use runloom_core::ids::CheckpointId;
use serde_json::Value;

use super::looping::read;
use super::{Fault, InputCommand, Level, Loop, accepted_input, command, fork, start_writes};
use crate::context::interrupt_id;
use crate::error::{Failure, Interrupt};
use crate::state::{
    self, Finished, Origin, Planned, Progress, Readers, Row, Snapshot, null_rows, slots,
};

/// What the thread has, and where the run wants to build upon.
struct Ground {
    latest: Option<CheckpointTuple>,
    /// The checkpoint to build upon.
    base: Option<CheckpointTuple>,
    /// Whether the run names the checkpoint.
    chosen: bool,
}

/// A loop that is ready to run.
pub(crate) async fn begin(level: &Arc<Level>) -> Result<Loop, Fault> {
    let ground = survey(level).await?;
    if is_own(level, ground.latest.as_ref()) {
        return continued(level, ground).await;
    }
    let kwargs = &level.run.attempt.kwargs;
    if let Some(command) = &kwargs.command {
        let command = InputCommand::parse(command.to_value())?;
        return commanded(level, ground, command).await;
    }
    match kwargs.input.as_ref().filter(|input| !input.is_null()) {
        Some(input) => with_input(level, ground, input.to_value()).await,
        None => commanded(level, ground, InputCommand::default()).await,
    }
}

/// Only applies the run's input, if it has one that was not applied before.
pub(crate) async fn apply_input(level: &Arc<Level>) -> Result<Option<Loop>, Fault> {
    let ground = survey(level).await?;
    if is_own(level, ground.latest.as_ref()) {
        return continued(level, ground).await.map(Some);
    }
    let kwargs = &level.run.attempt.kwargs;
    match &kwargs.input {
        Some(input) if kwargs.has_input() => {
            let input = input.to_value();
            with_input(level, ground, input).await.map(Some)
        }
        _ => Ok(None),
    }
}

async fn survey(level: &Level) -> Result<Ground, Fault> {
    let latest = level.run.store.read("", None).await?;
    let chosen = chosen(level);
    let base = match &chosen {
        None => latest.clone(),
        Some(id)
            if latest
                .as_ref()
                .is_some_and(|latest| latest.checkpoint.id == *id) =>
        {
            latest.clone()
        }
        Some(id) => level.run.store.read("", Some(id)).await?,
    };
    Ok(Ground {
        latest,
        base,
        chosen: chosen.is_some(),
    })
}

/// The checkpoint of the root graph that the run names.
fn chosen(level: &Level) -> Option<CheckpointId> {
    let configurable = level.run.attempt.kwargs.configurable()?;
    let in_subgraph = configurable
        .get("checkpoint_ns")
        .and_then(Value::as_str)
        .is_some_and(|ns| !ns.is_empty());
    let id = if in_subgraph {
        configurable.get("checkpoint_map")?.get("")
    } else {
        configurable.get("checkpoint_id")
    };
    Some(CheckpointId(id?.as_str()?.to_owned()))
}

fn is_own(level: &Level, latest: Option<&CheckpointTuple>) -> bool {
    latest.is_some_and(|latest| latest.checkpoint.run_id == Some(level.run.attempt.run_id))
}

/// An earlier attempt of this run wrote the latest checkpoint: its input is applied already.
async fn continued(level: &Arc<Level>, ground: Ground) -> Result<Loop, Fault> {
    let latest = ground.latest.ok_or_else(empty_input)?;
    let mut root = Loop::resume(level, read(level, latest, Readers::WithoutResidue)?);
    if !apply_pending_start(&mut root).await? {
        show(&root).await;
    }
    Ok(root)
}

/// Applies an input that was recorded, but not applied before its run broke off.
pub(super) async fn apply_pending_start(graph: &mut Loop) -> Result<bool, Fault> {
    let pending = graph.at.plan.next.contains(&Planned::Start);
    if pending {
        graph.apply_start().await?;
    }
    Ok(pending)
}

/// A new input: what the thread has not finished is given up.
async fn with_input(level: &Arc<Level>, ground: Ground, input: Value) -> Result<Loop, Fault> {
    let graph = level.graph.parts();
    let input = accepted_input(graph, input)?;
    let now = level.run.clock.now();
    let stamp = &level.stamp;
    let Some(base) = ground.base else {
        let first = Snapshot::first(graph, stamp, Origin::Input, now);
        let mut root = Loop::fresh(level, first.clone());
        root.take_input(first.with_input(input)).await?;
        return Ok(root);
    };
    let latest = ground.latest.map(|latest| latest.checkpoint.id);
    let mut base = read(level, base, Readers::WithResidue)?;
    if let Some(earlier) = base.input.take() {
        // The run of an earlier input broke off before it was applied.
        let earlier = start_writes(graph, &base.values, &earlier)?;
        base.fold(graph, &earlier.writes)?;
    }
    let mut root = Loop::resume(level, base);
    let plan = state::Plan::start();
    let next = root
        .at
        .next(stamp, Origin::Input, plan, latest.as_ref(), now);
    root.take_input(next.with_input(input)).await?;
    Ok(root)
}

/// No input: the thread's tasks run on, as far as the command lets them.
async fn commanded(
    level: &Arc<Level>,
    ground: Ground,
    command: InputCommand,
) -> Result<Loop, Fault> {
    let brought = brought(level, &command)?;
    let Some(base) = ground.base else {
        if !command.redirects() {
            return Err(empty_input());
        }
        return commanded_first(level, brought).await;
    };
    let latest = ground.latest.map(|latest| latest.checkpoint.id);
    let at = read(level, base, Readers::WithoutResidue)?;
    let forks = ground.chosen && (command.resume.is_none() || latest.as_ref() != Some(&at.id));
    let mut root = Loop::resume(level, at);
    if command.redirects() && !forks {
        redirect(&mut root, &brought)?;
    }
    let mut resume = command.resume;
    if forks {
        resume = fork::fork(&mut root, resume, brought, latest.as_ref()).await?;
    }
    if apply_pending_start(&mut root).await? {
        return Ok(root);
    }
    take_answers(&mut root, resume.as_ref())?;
    give_answers(&mut root)?;
    root.passes_breakpoints = true;
    show(&root).await;
    Ok(root)
}

/// A command on a thread that has no checkpoint starts the graph where it says.
async fn commanded_first(level: &Arc<Level>, brought: Finished) -> Result<Loop, Fault> {
    let graph = level.graph.parts();
    let now = level.run.clock.now();
    let mut first = Snapshot::first(graph, &level.stamp, Origin::Input, now);
    first.fold(graph, &brought.writes)?;
    first.plan.go(brought.places);
    let mut root = Loop::fresh(level, first.clone());
    root.advance(first).await?;
    show(&root).await;
    Ok(root)
}

/// The command's update and places, checked.
fn brought(level: &Level, command: &InputCommand) -> Result<Finished, Fault> {
    let graph = level.graph.parts();
    let mut writes = Vec::new();
    for (channel, value) in &command.update {
        writes.push((channel.clone(), graph.normalised(channel, value.clone())?));
    }
    state::check(graph, "the command", &command.goto)?;
    Ok(Finished {
        writes,
        places: command.goto.clone(),
    })
}

/// Adds to the state of the current checkpoint, unless an earlier attempt of the run did.
fn redirect(root: &mut Loop, brought: &Finished) -> Result<(), Fault> {
    let run_id = root.level.run.attempt.run_id;
    if let Some(rows) = null_rows::command(&root.at.rows, run_id, brought)? {
        let level = root.level.clone();
        // What a reducer refuses is refused before anything is stored.
        root.at.fold(level.graph.parts(), &brought.writes)?;
        root.at.plan.go(brought.places.iter().cloned());
        root.at.rows.extend(rows.iter().cloned());
        root.ledger.rows(&root.at.id, rows);
    }
    Ok(())
}

/// Finds out which interrupts `resume` answers, and keeps it for another attempt of the run.
fn take_answers(root: &mut Loop, resume: Option<&Value>) -> Result<(), Fault> {
    let Some(resume) = resume else {
        return Ok(());
    };
    let run = root.level.run.clone();
    let run_id = run.attempt.run_id;
    let answers = match null_rows::answers_of(&root.at.rows, run_id)? {
        Some(answers) => answers,
        None => command::answers(resume, &pending(root)?)?,
    };
    if !answers.is_empty() {
        let row = null_rows::answers(run_id, &answers)?;
        root.ledger.rows(&root.at.id, vec![row]);
    }
    // Set once: this is the only place, and an attempt begins once.
    let _ = run.answers.set(answers);
    Ok(())
}

/// The interrupts that wait for an answer.
fn pending(root: &Loop) -> Result<Vec<Interrupt>, Fault> {
    let mut pending = Vec::new();
    for slot in slots(&root.at, &root.level.stamp.ns) {
        let progress = Progress::of(&root.at.rows, &slot.id)?;
        if progress.finished.is_none() {
            pending.extend(progress.interrupts);
        }
    }
    Ok(pending)
}

/// Gives the run's answers to the tasks of this graph that wait for them. Each task waits for one
/// answer at a time, whose id says how many it had before: an answer is never given twice.
pub(super) fn give_answers(graph: &mut Loop) -> Result<(), Fault> {
    let run = graph.level.run.clone();
    let Some(answers) = run.answers.get() else {
        return Ok(());
    };
    for slot in slots(&graph.at, &graph.level.stamp.ns) {
        let progress = Progress::of(&graph.at.rows, &slot.id)?;
        let mut given = progress.answers;
        let awaited = interrupt_id(&slot.ns, given.len());
        let waits = progress
            .interrupts
            .iter()
            .any(|interrupt| interrupt.id == awaited);
        if let Some(answer) = answers.get(&awaited).filter(|_| waits) {
            given.push(answer.clone());
            let rows = Row::Answers(&given).encode(&slot)?;
            let replaced = |row: &runloom_core::checkpoint::PendingWrite| {
                row.task_id == slot.id && rows.iter().any(|new| new.index == row.index)
            };
            graph.at.rows.retain(|row| !replaced(row));
            graph.at.rows.extend(rows.iter().cloned());
            graph.ledger.rows(&graph.at.id, rows);
        }
    }
    Ok(())
}

/// Shows clients where the run takes up the thread.
async fn show(root: &Loop) {
    root.level.show_values(root.values(), &[]).await;
    root.level.show_checkpoint(root).await;
}

fn empty_input() -> Fault {
    let text = "the thread has nothing to continue, and the run brings no input";
    Fault::Failed(Failure::new("EmptyInputError", text))
}
