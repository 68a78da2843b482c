//! Runs ended in one round trip, and the next one claimed with it.

use chrono::{DateTime, Utc};
use runloom_core::bus::RunChange;
use runloom_core::database::{Settled, Settlement, Transit};
use runloom_core::effects::Effects;
use runloom_core::ids::ClaimId;
use runloom_core::lease::{Claimed, Fence, Lease};
use runloom_core::run::{RunStatus, Transition};
use runloom_core::thread::ThreadFacts;
use sqlx::types::{Json, Text};

use crate::Postgres;
use crate::attempts::slot;
use crate::error::Result;
use crate::json::AsJson;
use crate::rows::RunDocument;
use crate::shelf::Writes;

/// The answer of the database.
struct Answer {
    verdict: String,
    moment: Option<DateTime<Utc>>,
    wakes: Option<bool>,
    next_run: Option<Json<RunDocument>>,
}

impl Postgres {
    /// Settles in one round trip, on the assumption that the attempt holds its thread and that nobody
    /// wants the run rolled back. None if that takes more, with nothing changed.
    pub(crate) async fn settle_in_one(
        &self,
        lease: &Lease,
        settlement: &Settlement,
        next: Option<ClaimId>,
    ) -> Result<Option<Settled>> {
        let (transition, error) = match &settlement.transit {
            Transit::HandBack | Transit::Retry(..) => return Ok(None),
            ending => ending.transition(),
        };
        let status = RunStatus::Running.after(transition)?;
        let failed = transition.is_failure();
        let facts = |in_flight, unfinished| ThreadFacts {
            in_flight,
            failed,
            unfinished,
        };
        let head = settlement.head.as_ref();
        let residue = Writes::of(settlement.residue.as_slice());
        let mut session = self.statement().await?;
        let answer = sqlx::query_as!(
            Answer,
            r#"select verdict as "verdict!", moment, wakes, next_run as "next_run: _"
            from settle_run(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                $20, $21, $22, $23, $24, $25, $26, $27, $28
            )"#,
            lease.thread_id.0,
            lease.run_id.0,
            lease.worker_id.0,
            lease.fence.epoch,
            lease.fence.claim.0,
            Text(status) as _,
            error.map(AsJson) as _,
            settlement.output.as_ref().map(AsJson) as _,
            settlement.interrupted_output.as_ref().map(AsJson) as _,
            head.map(|head| AsJson(&head.values)) as _,
            head.map(|head| AsJson(&head.interrupts)) as _,
            head.map(|head| !head.next.is_empty()),
            failed,
            Text(facts(true, false).status()) as _,
            Text(facts(false, false).status()) as _,
            Text(facts(false, true).status()) as _,
            slot(lease.fence.epoch),
            &residue.ns[..] as _,
            &residue.checkpoint_id[..] as _,
            &residue.task_id[..] as _,
            &residue.position[..] as _,
            &residue.task_path[..] as _,
            &residue.channel[..] as _,
            &residue.kind[..] as _,
            &residue.data[..] as _,
            next.map(|claim| claim.0),
            Text(RunStatus::Pending.after(Transition::Claim)?) as _,
            self.set_time()
        );
        let answer = answer.fetch_one(&mut session).await?;
        session.commit().await?;
        Ok(answer.settled(lease, status, next))
    }
}

impl Answer {
    fn settled(self, lease: &Lease, status: RunStatus, next: Option<ClaimId>) -> Option<Settled> {
        if self.verdict != "settled" {
            return None;
        }
        let moment = self.moment?;
        let next = self.next_run.zip(next).map(|(run, claim)| {
            let fence = Fence {
                epoch: lease.fence.epoch + 1,
                claim,
            };
            Claimed::new(run.0.into(), lease.worker_id, fence, moment)
        });
        let ended = RunChange {
            thread_id: lease.thread_id,
            run_id: lease.run_id,
            status: Some(status),
        };
        let effects = Effects {
            changes: [ended]
                .into_iter()
                .chain(next.as_ref().map(RunChange::started))
                .collect(),
            signals: Vec::new(),
            wakes: self.wakes?.then_some(lease.thread_id).into_iter().collect(),
        };
        Some(Settled {
            effects,
            next: next.map(Box::new),
        })
    }
}
