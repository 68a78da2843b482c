//! Runs ended in one round trip, and the next ones claimed with it, those of several threads
//! together.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use runloom_core::bus::RunChange;
use runloom_core::database::{Settled, Settlement, Transit};
use runloom_core::effects::Effects;
use runloom_core::ids::{ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::lease::{Claimed, Fence, Lease};
use runloom_core::run::{RunStatus, Transition};
use runloom_core::thread::ThreadFacts;
use sqlx::types::{Json, Text, Uuid};

use crate::attempts::slot;
use crate::error::Result;
use crate::json::texts;
use crate::rows::RunDocument;
use crate::server::Server;
use crate::shelf::Writes;
use crate::together::Request;

/// An attempt to be ended, on the assumption that it holds its thread and that nobody wants its run
/// rolled back.
pub(crate) struct Settle {
    thread: ThreadId,
    run: RunId,
    worker: WorkerId,
    fence: Fence,
    transition: Transition,
    status: RunStatus,
    settlement: Settlement,
    next: Option<ClaimId>,
}

/// The answer of the database.
struct Answer {
    verdict: String,
    moment: Option<DateTime<Utc>>,
    wakes: Option<bool>,
    next_run: Option<Json<RunDocument>>,
}

impl Settle {
    /// None if the run does not end, which takes more.
    pub(crate) fn of(
        lease: &Lease,
        settlement: &Settlement,
        next: Option<ClaimId>,
    ) -> Option<Self> {
        let (transition, _) = match &settlement.transit {
            Transit::HandBack | Transit::Retry(..) => return None,
            ending => ending.transition(),
        };
        Some(Self {
            thread: lease.thread_id,
            run: lease.run_id,
            worker: lease.worker_id,
            fence: lease.fence,
            transition,
            status: RunStatus::Running.after(transition).ok()?,
            settlement: settlement.clone(),
            next,
        })
    }

    /// Ends it alone, waiting for the lock of its thread. None if that takes more, with nothing
    /// changed.
    pub(crate) async fn alone(self: Arc<Self>, server: &Server) -> Result<Option<Settled>> {
        let mut settled = settle(server, &[self], true).await?;
        Ok(settled.pop().flatten())
    }

    /// The status of the thread afterwards.
    fn thread_status(&self, in_flight: bool, unfinished: bool) -> String {
        let facts = ThreadFacts {
            in_flight,
            failed: self.transition.is_failure(),
            unfinished,
        };
        facts.status().to_string()
    }
}

impl Request for Settle {
    type Reply = Settled;

    fn thread(&self) -> Option<ThreadId> {
        Some(self.thread)
    }

    fn bytes(&self) -> usize {
        let Settlement {
            head,
            residue,
            output,
            interrupted_output,
            ..
        } = &self.settlement;
        let texts = [
            head.as_ref().map(|head| &head.values),
            output.as_ref(),
            interrupted_output.as_ref(),
        ];
        let texts = texts.into_iter().flatten().map(|json| json.as_str().len());
        let residue = residue.iter().flat_map(|residue| &residue.writes);
        texts.sum::<usize>() + residue.map(|write| write.blob.data.len()).sum::<usize>()
    }

    async fn carry_out(server: &Server, requests: &[Arc<Self>]) -> Result<Vec<Option<Settled>>> {
        settle(server, requests, false).await
    }
}

/// Ends attempts, waiting for the locks of their threads if `patient`. None for those that take more,
/// with nothing changed.
async fn settle(
    server: &Server,
    requests: &[Arc<Settle>],
    patient: bool,
) -> Result<Vec<Option<Settled>>> {
    let each = || requests.iter();
    let settlements = || requests.iter().map(|request| &request.settlement);
    let uuids = |uuid: fn(&Settle) -> Uuid| each().map(|request| uuid(request)).collect::<Vec<_>>();
    let epochs: Vec<_> = each().map(|request| request.fence.epoch).collect();
    let heads = || settlements().map(|settlement| settlement.head.as_ref());
    let unfinished: Vec<_> = heads()
        .map(|head| head.map(|head| !head.next.is_empty()))
        .collect();
    let failed: Vec<_> = each()
        .map(|request| request.transition.is_failure())
        .collect();
    let mut residue = Writes::default();
    for (owner, settlement) in (1..).zip(settlements()) {
        residue.add(owner, settlement.residue.as_slice());
    }
    let mut session = server.statement().await?;
    let answers = sqlx::query_as!(
        Answer,
        r#"select verdict as "verdict!", moment, wakes, next_run as "next_run: _"
        from settle_runs(
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
            $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30
        )"#,
        &uuids(|request| request.thread.0),
        &uuids(|request| request.run.0),
        &uuids(|request| request.worker.0),
        &epochs,
        &uuids(|request| request.fence.claim.0),
        &each()
            .map(|request| request.status.to_string())
            .collect::<Vec<_>>(),
        &texts(settlements().map(|it| it.transit.transition().1))? as _,
        &texts(settlements().map(|it| it.output.as_ref()))? as _,
        &texts(settlements().map(|it| it.interrupted_output.as_ref()))? as _,
        &texts(heads().map(|head| head.map(|head| &head.values)))? as _,
        &texts(heads().map(|head| head.map(|head| &head.interrupts)))? as _,
        &unfinished as _,
        &failed,
        requests
            .first()
            .map(|request| request.thread_status(true, false)),
        &each()
            .map(|request| request.thread_status(false, false))
            .collect::<Vec<_>>(),
        &each()
            .map(|request| request.thread_status(false, true))
            .collect::<Vec<_>>(),
        &epochs.iter().copied().map(slot).collect::<Vec<_>>(),
        &each()
            .map(|request| request.next.map(|claim| claim.0))
            .collect::<Vec<_>>() as _,
        &residue.owner,
        &residue.ns[..] as _,
        &residue.checkpoint_id[..] as _,
        &residue.task_id[..] as _,
        &residue.position[..] as _,
        &residue.task_path[..] as _,
        &residue.channel[..] as _,
        &residue.kind[..] as _,
        &residue.data[..] as _,
        Text(RunStatus::Pending.after(Transition::Claim)?) as _,
        server.set_time(),
        patient
    );
    let answers = answers.fetch_all(&mut session).await?;
    session.commit().await?;
    let answers = answers.into_iter().zip(requests);
    Ok(answers
        .map(|(answer, request)| answer.settled(request))
        .collect())
}

impl Answer {
    fn settled(self, request: &Settle) -> Option<Settled> {
        if self.verdict != "settled" {
            return None;
        }
        let moment = self.moment?;
        let next = self.next_run.zip(request.next).map(|(run, claim)| {
            let fence = Fence {
                epoch: request.fence.epoch + 1,
                claim,
            };
            Claimed::new(run.0.into(), request.worker, fence, moment)
        });
        let ended = RunChange {
            thread_id: request.thread,
            run_id: request.run,
            status: Some(request.status),
        };
        let effects = Effects {
            changes: [ended]
                .into_iter()
                .chain(next.as_ref().map(RunChange::started))
                .collect(),
            signals: Vec::new(),
            wakes: self.wakes?.then_some(request.thread).into_iter().collect(),
        };
        Some(Settled {
            effects,
            next: next.map(Box::new),
        })
    }
}
