//! Runs on from an older checkpoint, on a branch of its own.

use std::collections::BTreeMap;

use runloom_core::checkpoint::PendingWrite;
use runloom_core::ids::CheckpointId;
use serde_json::Value;

use super::{Fault, Loop};
use crate::context::interrupt_id;
use crate::error::Interrupt;
use crate::state::{Finished, Origin, Progress, Row, Slot, slots};

/// Makes a copy of the checkpoint that `root` is at, with what a command `brought`, the newest of
/// the thread, and goes on from there. Its tasks are new, so interrupts get new ids; answers to the
/// old ones are translated.
pub(super) async fn fork(
    root: &mut Loop,
    resume: Option<Value>,
    brought: Finished,
    latest: Option<&CheckpointId>,
) -> Result<Option<Value>, Fault> {
    let level = root.level.clone();
    let ns = &level.stamp.ns;
    let old = slots(&root.at, ns);
    let rows = std::mem::take(&mut root.at.rows);
    let now = level.run.clock.now();
    let mut plan = root.at.plan.clone();
    plan.go(brought.places);
    let mut next = root.at.next(&level.stamp, Origin::Fork, plan, latest, now);
    next.input.clone_from(&root.at.input);
    next.fold(level.graph.parts(), &brought.writes)?;
    root.advance(next).await?;

    let mut ids = BTreeMap::new();
    for new in &slots(&root.at, ns) {
        let Some(old) = old.iter().find(|old| old.path == new.path) else {
            continue;
        };
        let carried = carried(Progress::of(&rows, &old.id)?, old, new, &mut ids)?;
        root.at.rows.extend(carried.iter().cloned());
        root.ledger.rows(&root.at.id, carried);
    }
    root.resumed = true;
    Ok(resume.map(|resume| translated(resume, &ids)))
}

/// The question that a task asked last, with the id of its new place, and the answers it had before.
/// Questions of a subgraph are left out: it starts anew.
fn carried(
    progress: Progress,
    old: &Slot,
    new: &Slot,
    ids: &mut BTreeMap<String, String>,
) -> Result<Vec<PendingWrite>, Fault> {
    // It may have been answered since, on the branch that is left behind.
    let mut answers = progress.answers;
    let asked = |index: &usize| {
        let id = interrupt_id(&old.ns, *index);
        progress
            .interrupts
            .iter()
            .find(|interrupt| interrupt.id == id)
    };
    let Some(index) = (0..=answers.len())
        .rev()
        .find(|index| asked(index).is_some())
    else {
        return Ok(Vec::new());
    };
    answers.truncate(index);
    let questions: Vec<_> = asked(&index)
        .map(|interrupt| Interrupt {
            value: interrupt.value.clone(),
            id: interrupt_id(&new.ns, index),
        })
        .into_iter()
        .collect();
    ids.insert(interrupt_id(&old.ns, index), interrupt_id(&new.ns, index));
    let mut rows = Row::Interrupts(&questions).encode(new)?;
    rows.extend(Row::Answers(&answers).encode(new)?);
    Ok(rows)
}

fn translated(resume: Value, ids: &BTreeMap<String, String>) -> Value {
    match resume {
        Value::Object(fields) if fields.keys().any(|key| ids.contains_key(key)) => {
            let fields = fields.into_iter().map(|(key, value)| {
                let key = ids.get(&key).cloned().unwrap_or(key);
                (key, value)
            });
            Value::Object(fields.collect())
        }
        other => other,
    }
}
