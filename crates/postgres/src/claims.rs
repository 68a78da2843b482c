//! Claims, several of them in one statement.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use runloom_core::database::DatabaseError;
use runloom_core::ids::{ClaimId, ThreadId, WorkerId};
use runloom_core::lease::{ClaimReply, Claimed, Fence};
use runloom_core::run::{Run, RunStatus, Transition};
use sqlx::types::Json;

use crate::error::{Error, Result};
use crate::rows::RunDocument;
use crate::server::Server;
use crate::together::Request;

/// A claim.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) thread: ThreadId,
    pub(crate) worker: WorkerId,
    pub(crate) id: ClaimId,
}

impl Request for Claim {
    type Reply = ClaimReply;

    fn thread(&self) -> Option<ThreadId> {
        Some(self.thread)
    }

    async fn carry_out(server: &Server, requests: &[Arc<Self>]) -> Result<Vec<Option<ClaimReply>>> {
        let threads: Vec<_> = requests.iter().map(|claim| claim.thread.0).collect();
        let workers: Vec<_> = requests.iter().map(|claim| claim.worker.0).collect();
        let ids: Vec<_> = requests.iter().map(|claim| claim.id.0).collect();
        let mut session = server.statement().await?;
        let rows = sqlx::query_as!(
            Row,
            r#"select verdict as "verdict!", epoch, claimed_at as "claimed_at!", held as "held: _"
            from claim_runs($1, $2, $3, $4, $5)"#,
            &threads,
            &workers,
            &ids,
            RunStatus::Pending.after(Transition::Claim)?.to_string(),
            server.set_time()
        );
        let rows = rows.fetch_all(&mut session).await?;
        session.commit().await?;
        let replies = rows.into_iter().zip(requests);
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
    /// The answer, none if the thread was locked.
    fn reply(self, claim: &Claim) -> Result<Option<ClaimReply>> {
        Ok(match (self.verdict.as_str(), self.held, self.epoch) {
            ("held", Some(Json(run)), Some(epoch)) => {
                let fence = Fence {
                    epoch,
                    claim: claim.id,
                };
                let (run, at) = (Run::from(run), self.claimed_at);
                let claimed = Claimed::new(run, claim.worker, fence, at);
                Some(ClaimReply::Claimed(Box::new(claimed)))
            }
            ("busy", ..) => Some(ClaimReply::Busy),
            ("empty", ..) => Some(ClaimReply::Empty),
            ("not_alive", ..) => Some(ClaimReply::NotAlive),
            ("locked", ..) => None,
            (verdict, ..) => {
                let text = format!("a claim was answered with {verdict}");
                return Err(Error::Refused(DatabaseError::Internal(text)));
            }
        })
    }
}
