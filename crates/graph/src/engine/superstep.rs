//! One superstep: tasks run side by side, then all their writes are applied at once.

use std::collections::HashMap;
use std::pin::pin;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::tasks::{Entry, Open};
use super::{End, Fault, Loop};
use crate::error::{Failure, Interrupt};
use crate::state::{Finished, Origin, Row, Snapshot, plan_after};
use crate::task::{Ended, execute, panic_message};

impl Loop {
    /// Runs the next superstep. `None` if it was completed, else how the loop ends.
    pub(super) async fn superstep(&mut self) -> Result<Option<End>, Fault> {
        let mut entries = self.entries()?;
        for entry in &entries {
            self.level.show_task_start(&entry.task).await;
        }
        for entry in &entries {
            if let Some(finished) = &entry.finished {
                self.level.show_update(&entry.task, finished, true).await;
            }
        }
        let failure = self.execute(&mut entries).await?;
        // A node that went on until it had finished does not undo the stop it was asked for before:
        // what it wrote stays, and the run was stopped.
        let was_asked_to_stop = self.level.token.is_cancelled();
        if let Some(failure) = failure {
            return Err(Fault::Failed(failure));
        }
        if let Some(end) = self.what_is_open(&entries).await? {
            return Ok(Some(end));
        }
        let next = self.applied(&entries)?;
        let shows = |channel: &String| self.level.graph.parts().shows(channel);
        let changed = next.changed.iter().any(shows);
        self.advance(next).await?;
        if changed {
            self.level.show_values(&self.at.values, &[]).await;
        }
        self.level.show_checkpoint(self).await;
        Ok(was_asked_to_stop.then_some(End::Stopped))
    }

    /// Runs what is not finished yet. Answers with the first failure, if the superstep failed
    /// before it was asked to stop.
    async fn execute(&mut self, entries: &mut [Entry]) -> Result<Option<Failure>, Fault> {
        let run = self.level.run.clone();
        let token = self.level.token.child_token();
        let mut tasks = JoinSet::new();
        let mut places = HashMap::new();
        for (place, entry) in entries.iter().enumerate() {
            if entry.finished.is_none() {
                let graph = self.level.graph.clone();
                let future = execute(run.clone(), graph, entry.task.clone(), token.clone());
                let handle = tasks.spawn_on(future.in_current_span(), &run.runtime);
                places.insert(handle.id(), place);
            }
        }
        let mut failure = None;
        // Only the root graph gives up waiting: if it does, the loops below are dropped with it.
        let mut patience = pin!(patience(&token, run.grace, self.level.is_root()));
        loop {
            let joined = tokio::select! {
                biased;
                joined = tasks.join_next_with_id() => joined,
                () = &mut patience => {
                    tracing::warn!(run.id = %run.attempt.run_id, thread.id = %run.attempt.thread_id,
                        tasks = tasks.len(),
                        "nodes did not stop in time and are left behind");
                    None
                }
            };
            let Some(joined) = joined else {
                break;
            };
            let (place, ended) = ended(joined, &places);
            let entry = &mut entries[place];
            if let Ended::Failed(first) = &ended
                && failure.is_none()
                && !self.level.token.is_cancelled()
            {
                failure = Some(first.clone());
                token.cancel();
            }
            self.take_in(entry, ended).await?;
        }
        for entry in entries.iter_mut().filter(|entry| entry.finished.is_none()) {
            entry.open.get_or_insert(Open::Aborted);
        }
        Ok(failure)
    }

    /// Keeps and shows how a task ended.
    async fn take_in(&mut self, entry: &mut Entry, ended: Ended) -> Result<(), Fault> {
        let task = entry.task.clone();
        let level = self.level.clone();
        match ended {
            Ended::Finished(finished) => {
                self.keep(entry, &Row::Finished(&finished))?;
                level.show_messages(&task, &finished).await;
                level.show_update(&task, &finished, false).await;
                level.show_task_end(&task, Some(&finished), None, &[]).await;
                entry.finished = Some(finished);
            }
            Ended::Interrupted(interrupts) => {
                self.keep(entry, &Row::Interrupts(&interrupts))?;
                level.show_interrupts(&self.at.values, &interrupts).await;
                level.show_task_end(&task, None, None, &interrupts).await;
                entry.open = Some(Open::Interrupted(interrupts));
            }
            Ended::Failed(failure) => {
                let error = failure.shown();
                self.keep(entry, &Row::Error(&error))?;
                level.show_task_end(&task, None, Some(&error), &[]).await;
                entry.open = Some(Open::Aborted);
            }
            Ended::Cancelled => {
                if self.level.token.is_cancelled() {
                    self.keep(entry, &Row::Error("CancelledError()"))?;
                }
                entry.open = Some(Open::Aborted);
            }
            Ended::Drained => entry.open = Some(Open::Drained),
        }
        Ok(())
    }

    fn keep(&mut self, entry: &Entry, row: &Row<'_>) -> Result<(), Fault> {
        let rows = row.encode(&entry.task.slot)?;
        self.ledger.rows(&self.at.id, rows);
        Ok(())
    }

    /// How the loop ends if not all tasks have finished.
    async fn what_is_open(&self, entries: &[Entry]) -> Result<Option<End>, Fault> {
        let open = || entries.iter().filter_map(|entry| entry.open.as_ref());
        if open().any(|open| matches!(open, Open::Aborted)) {
            return Ok(Some(End::Stopped));
        }
        if open().any(|open| matches!(open, Open::Drained)) {
            return Ok(Some(End::Drained));
        }
        let interrupts: Vec<Interrupt> = open()
            .filter_map(|open| match open {
                Open::Interrupted(interrupts) => Some(interrupts.iter().cloned()),
                Open::Aborted | Open::Drained => None,
            })
            .flatten()
            .collect();
        if open().next().is_none() {
            return Ok(None);
        }
        self.show_siblings(entries, &interrupts).await?;
        Ok(Some(End::Paused(interrupts)))
    }

    /// Shows what the finished tasks of a paused superstep wrote.
    async fn show_siblings(
        &self,
        entries: &[Entry],
        interrupts: &[Interrupt],
    ) -> Result<(), Fault> {
        let mut at = self.at.clone();
        let finished = entries.iter().filter_map(|entry| entry.finished.as_ref());
        let writes: Vec<_> = finished.flat_map(|finished| &finished.writes).collect();
        if !writes.is_empty() {
            at.fold(self.level.graph.parts(), writes)?;
            self.level.show_values(&at.values, interrupts).await;
        }
        Ok(())
    }

    /// The checkpoint after all tasks have finished.
    fn applied(&self, entries: &[Entry]) -> Result<Snapshot, Fault> {
        let graph = self.level.graph.parts();
        let mut done: Vec<(String, &str, &Finished)> = entries
            .iter()
            .filter_map(|entry| {
                let slot = &entry.task.slot;
                Some((
                    slot.path_text(),
                    slot.name.as_str(),
                    entry.finished.as_ref()?,
                ))
            })
            .collect();
        // The order in which tasks ended must not matter.
        done.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let nodes = done
            .iter()
            .map(|(_, node, finished)| (*node, &finished.places[..]));
        let plan = plan_after(graph, &self.at.plan.joins, nodes);
        let mut next = self.next(Origin::Loop, plan);
        next.fold(
            graph,
            done.iter().flat_map(|(.., finished)| &finished.writes),
        )?;
        Ok(next)
    }
}

/// Ends when tasks that should have stopped have had their time.
async fn patience(token: &CancellationToken, grace: std::time::Duration, ends: bool) {
    token.cancelled().await;
    if ends {
        tokio::time::sleep(grace).await;
    } else {
        std::future::pending::<()>().await;
    }
}

/// Which task ended, and how. A panic is a failure like any other.
fn ended(
    joined: Result<(tokio::task::Id, Ended), JoinError>,
    places: &HashMap<tokio::task::Id, usize>,
) -> (usize, Ended) {
    match joined {
        Ok((id, ended)) => (places[&id], ended),
        Err(error) => {
            let place = places[&error.id()];
            let ended = match error.try_into_panic() {
                Ok(panic) => Ended::Failed(Failure::new("Panic", panic_message(&*panic))),
                Err(_cancelled) => Ended::Cancelled,
            };
            (place, ended)
        }
    }
}
