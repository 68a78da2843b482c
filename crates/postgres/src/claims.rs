//! Claims, several of them in one statement: those that come while others are under way wait for
//! them and then go together. One that comes alone goes at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use runloom_core::database::DatabaseError;
use runloom_core::ids::{ClaimId, ThreadId, WorkerId};
use runloom_core::lease::{ClaimReply, Claimed, Fence};
use runloom_core::run::{Run, RunStatus, Transition};
use sqlx::types::Json;
use tokio::sync::{Semaphore, oneshot};

use crate::Postgres;
use crate::error::{Error, Result};
use crate::rows::RunDocument;

/// How many statements with claims are under way at most. More than one, so that a thread which is
/// locked for long does not hold up everybody.
const AT_ONCE: usize = 3;

/// How many claims go in one statement at most.
const TOGETHER: usize = 64;

/// Claims that wait for their statement.
pub(crate) struct Claims {
    waiting: Mutex<Vec<Waiting>>,
    turns: Semaphore,
}

/// A claim.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) thread: ThreadId,
    pub(crate) worker: WorkerId,
    pub(crate) id: ClaimId,
}

struct Waiting {
    claim: Claim,
    reply: oneshot::Sender<Option<ClaimReply>>,
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

impl Claims {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes some of those that wait, in the order in which their threads are locked.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(TOGETHER);
        let mut taken: Vec<_> = waiting.drain(..count).collect();
        taken.retain(|waiting| !waiting.reply.is_closed());
        taken.sort_by_key(|waiting| waiting.claim.thread);
        taken
    }
}

impl Postgres {
    /// Claims in one round trip, shared with others. None if it has to be done alone.
    ///
    /// Whoever gets a turn carries out what waits then, for everybody; there is no task beside the
    /// callers. If it goes away meanwhile, those whose claims it had do them alone.
    pub(crate) async fn claim_together(&self, claim: Claim) -> Option<ClaimReply> {
        let (sender, mut reply) = oneshot::channel();
        self.claims.waiting().push(Waiting {
            claim,
            reply: sender,
        });
        loop {
            let turn = tokio::select! {
                biased;
                reply = &mut reply => return reply.ok().flatten(),
                turn = self.claims.turns.acquire() => turn,
            };
            let _turn = turn.expect("nobody closes it");
            let taken = self.claims.take();
            if !taken.is_empty() {
                self.claim_all(taken).await;
            }
        }
    }

    async fn claim_all(&self, taken: Vec<Waiting>) {
        let claims: Vec<_> = taken.iter().map(|waiting| waiting.claim).collect();
        let replies = self.try_claims(&claims).await.unwrap_or_else(|error| {
            tracing::debug!(?error, count = claims.len(), "claims are done one by one");
            Vec::new()
        });
        let mut replies = replies.into_iter();
        for waiting in taken {
            // Whoever does not wait any more asks again, or lets its lease end.
            let _gone = waiting.reply.send(replies.next());
        }
    }

    async fn try_claims(&self, claims: &[Claim]) -> Result<Vec<ClaimReply>> {
        let threads: Vec<_> = claims.iter().map(|claim| claim.thread.0).collect();
        let workers: Vec<_> = claims.iter().map(|claim| claim.worker.0).collect();
        let ids: Vec<_> = claims.iter().map(|claim| claim.id.0).collect();
        let mut session = self.statement().await?;
        let rows = sqlx::query_as!(
            Row,
            r#"select verdict as "verdict!", epoch, claimed_at as "claimed_at!", held as "held: _"
            from claim_runs($1, $2, $3, $4, $5)"#,
            &threads,
            &workers,
            &ids,
            RunStatus::Pending.after(Transition::Claim)?.to_string(),
            self.set_time()
        );
        let rows = rows.fetch_all(&mut session).await?;
        session.commit().await?;
        let replies = rows.into_iter().zip(claims);
        replies.map(|(row, claim)| row.reply(claim)).collect()
    }
}

/// The answer to one of the claims.
struct Row {
    verdict: String,
    epoch: Option<i64>,
    claimed_at: DateTime<Utc>,
    held: Option<Json<RunDocument>>,
}

impl Row {
    fn reply(self, claim: &Claim) -> Result<ClaimReply> {
        Ok(match (self.verdict.as_str(), self.held, self.epoch) {
            ("held", Some(Json(run)), Some(epoch)) => {
                let fence = Fence {
                    epoch,
                    claim: claim.id,
                };
                let (run, at) = (Run::from(run), self.claimed_at);
                ClaimReply::Claimed(Box::new(Claimed::new(run, claim.worker, fence, at)))
            }
            ("busy", ..) => ClaimReply::Busy,
            ("empty", ..) => ClaimReply::Empty,
            ("not_alive", ..) => ClaimReply::NotAlive,
            (verdict, ..) => {
                let text = format!("a claim was answered with {verdict}");
                return Err(Error::Refused(DatabaseError::Internal(text)));
            }
        })
    }
}
