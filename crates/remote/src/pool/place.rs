//! Room for one run, or for one question.

use std::sync::Arc;

use serde::Serialize;

use super::Loss;
use super::endings::Ending;
use super::member::Member;
use super::rooms::Rooms;
use crate::peer::{Answers, Call, CallError};
use crate::protocol::Manifest;

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A run: counted against what a process may take.
    Run,
    /// A question.
    Question,
}

/// Room in a process, free again when dropped.
pub struct Place {
    id: u64,
    member: Arc<Member>,
    purpose: Purpose,
    rooms: Arc<Rooms>,
}

impl Place {
    pub(super) fn new(id: u64, member: Arc<Member>, purpose: Purpose, rooms: Arc<Rooms>) -> Self {
        Self {
            id,
            member,
            purpose,
            rooms,
        }
    }

    /// What the process has.
    pub fn manifest(&self) -> &Arc<Manifest> {
        self.member.process.manifest()
    }

    /// Sends a request to the process. What it asks on its behalf is answered by `answers`, or refused.
    ///
    /// Where this fails with [`CallError::Gone`], nothing was executed: take another place.
    pub fn open<B: Serialize + ?Sized>(
        &self,
        method: &str,
        body: &B,
        answers: Option<Arc<dyn Answers>>,
    ) -> Result<Call, CallError> {
        self.member.process.open(method, body, answers)
    }

    /// Kills the process with everything that it started, because this run cannot be stopped otherwise.
    pub fn kill(&self) {
        self.member.end(Ending::ForPlace(self.id));
        self.rooms.retire(self.member.id);
    }

    /// Waits until the process is gone, and says why as far as this run is concerned. Nothing is heard from
    /// the process afterwards; requests of it that were taken before may still be under way
    /// (see [`Call::close`]).
    pub async fn lost(&self) -> Loss {
        let exit = self.member.process.gone().await;
        match self.member.ended_for(self.id) {
            Some(true) => Loss::Killed,
            Some(false) => Loss::Evicted,
            None => Loss::Died(exit.to_string()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.rooms.free(&self.member, self.purpose);
    }
}
