//! Pending writes of the null task: the state of the checkpoint itself.

use std::collections::BTreeMap;

use runloom_core::checkpoint::{Blob, NULL_TASK, PendingWrite, RESIDUE_INDEX, RESIDUE_PATH};
use runloom_core::ids::RunId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::{Finished, RESUME, add_row, decode, finished_rows, row};
use super::snapshot::ReadError;

/// The answers that a run brought, kept so that another attempt gives the same answers.
#[derive(Serialize, Deserialize)]
struct Brought {
    run_id: RunId,
    answers: BTreeMap<String, Value>,
}

/// What belongs to the state: updates and places to go, residue only if wanted.
pub(crate) fn read(rows: &[PendingWrite], residue: bool) -> Result<Finished, ReadError> {
    let mut finished = Finished::default();
    let of_state = rows
        .iter()
        .filter(|row| row.task_id == NULL_TASK && row.index >= 0);
    for row in of_state.filter(|row| residue || row.task_path != RESIDUE_PATH) {
        add_row(&mut finished, row)?;
    }
    Ok(finished)
}

fn path(run: RunId) -> String {
    format!("~command:{run}")
}

/// The rows of the update and the places that `run` brought; `None` if they are there already.
pub(crate) fn command(
    rows: &[PendingWrite],
    run: RunId,
    brought: &Finished,
) -> Result<Option<Vec<PendingWrite>>, serde_json::Error> {
    let path = path(run);
    let own = |row: &PendingWrite| row.task_path == path && row.index >= 0;
    if rows.iter().any(own) {
        return Ok(None);
    }
    // Rows of other runs' commands on the same checkpoint stay.
    let taken = rows
        .iter()
        .filter(|row| row.task_id == NULL_TASK && row.index < RESIDUE_INDEX)
        .map(|row| row.index + 1)
        .max();
    finished_rows(brought, NULL_TASK, &path, taken.unwrap_or(0).max(0)).map(Some)
}

/// The row of the answers that `run` brought.
pub(crate) fn answers(
    run: RunId,
    answers: &BTreeMap<String, Value>,
) -> Result<PendingWrite, serde_json::Error> {
    let brought = Brought {
        run_id: run,
        answers: answers.clone(),
    };
    let (channel, index) = RESUME;
    Ok(row(
        NULL_TASK,
        &path(run),
        index,
        channel,
        Blob::json(&brought)?,
    ))
}

/// The answers that `run` brought in an earlier attempt.
pub(crate) fn answers_of(
    rows: &[PendingWrite],
    run: RunId,
) -> Result<Option<BTreeMap<String, Value>>, ReadError> {
    let is_answers = |row: &&PendingWrite| row.task_id == NULL_TASK && row.index == RESUME.1;
    let Some(row) = rows.iter().find(is_answers) else {
        return Ok(None);
    };
    let brought: Brought = decode(&row.blob)?;
    Ok((brought.run_id == run).then_some(brought.answers))
}
