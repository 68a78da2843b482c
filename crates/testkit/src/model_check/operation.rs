//! One call of a method of the port, as data.

use std::fmt::Debug;
use std::time::Duration;

use runloom_core::assistant::{AssistantPatch, NewAssistant};
use runloom_core::checkpoint::{NewCheckpoint, NewWrites};
use runloom_core::compose::NewRun;
use runloom_core::database::{
    CancelRequest, Database, DatabaseError, Guard, Settlement, ThreadPatch,
};
use runloom_core::effects::Effects;
use runloom_core::ids::{AssistantId, ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::item::{ItemSearch, NamespaceSearch};
use runloom_core::json::Json;
use runloom_core::lease::{ClaimReply, Claimed, Fence, Lease};
use runloom_core::search::{
    AssistantFilter, AssistantSort, Page, SortOrder, ThreadFilter, ThreadSort, VersionFilter,
};
use runloom_core::thread::NewThread;

/// The lease of every worker.
const LEASE: Duration = Duration::from_secs(10);

/// A page that holds everything.
const ALL: Page = Page {
    limit: 1_000,
    offset: 0,
};

/// A lease as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Right {
    pub(super) run: RunId,
    pub(super) thread: ThreadId,
    pub(super) worker: WorkerId,
    pub(super) fence: Fence,
}

impl Right {
    fn of(claimed: &Claimed) -> Self {
        Self {
            run: claimed.lease.run_id,
            thread: claimed.lease.thread_id,
            worker: claimed.lease.worker_id,
            fence: claimed.lease.fence,
        }
    }

    fn lease(self) -> Lease {
        Lease {
            run_id: self.run,
            thread_id: self.thread,
            worker_id: self.worker,
            fence: self.fence,
        }
    }
}

/// A call.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Advance(Duration),
    StepBack(Duration),
    CreateThread(NewThread),
    PatchThread(ThreadId, ThreadPatch),
    DeleteThread(ThreadId),
    CopyThread(ThreadId, ThreadId),
    SearchThreads(ThreadFilter, (ThreadSort, SortOrder), Page),
    PruneTemporary(Duration),
    PruneRuns(Duration),
    Submit(Box<NewRun>),
    Cancel(CancelRequest),
    DeleteRun(ThreadId, RunId),
    Enlist(WorkerId),
    Renew(WorkerId),
    Retire(WorkerId),
    Claim(ThreadId, WorkerId, ClaimId),
    Settle(Right, Box<Settlement>, Option<ClaimId>),
    Sweep,
    Waiting(Duration),
    Put(ThreadId, Guard, Vec<NewCheckpoint>, Vec<NewWrites>),
    CreateAssistant(NewAssistant),
    PatchAssistant(AssistantId, AssistantPatch),
    DeleteAssistant(AssistantId),
    SetAssistantVersion(AssistantId, i64),
    SearchAssistants(AssistantFilter, (AssistantSort, SortOrder), Page),
    PutItem(Vec<String>, String, Json),
    DeleteItem(Vec<String>, String),
    SearchItems(ItemSearch),
    Namespaces(NamespaceSearch),
}

impl Operation {
    /// The name of the method.
    pub(super) fn name(&self) -> String {
        let shown = format!("{self:?}");
        let end = shown.find(['(', ' ']).unwrap_or(shown.len());
        shown[..end].to_owned()
    }
}

/// What a call answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The answer, as it is compared.
    shown: Vec<String>,
    /// The rights that it gave.
    pub(super) rights: Vec<Right>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        self.shown.join("\n")
    }

    fn of(result: &Result<impl Debug, DatabaseError>) -> Self {
        let mut answer = Self::default();
        answer.and(result);
        answer
    }

    fn and(&mut self, result: &Result<impl Debug, DatabaseError>) {
        self.shown.push(format!("{result:#?}"));
    }
}

/// Effects with everything in order that has none of its own: only what happens to one thread has.
fn sorted(mut effects: Effects) -> Effects {
    effects.changes.sort_by_key(|change| change.thread_id);
    effects.signals.sort_by_key(|(_, signal)| signal.run_id);
    effects.wakes.sort_unstable();
    effects
}

/// Makes the call.
pub(super) async fn perform(db: &dyn Database, operation: &Operation) -> Answer {
    use Operation as O;
    match operation.clone() {
        O::Advance(_) | O::StepBack(_) => Answer::default(),
        O::CreateThread(new) => Answer::of(&db.create_thread(new).await),
        O::PatchThread(thread, patch) => Answer::of(&db.patch_thread(thread, patch).await),
        O::DeleteThread(thread) => Answer::of(&db.delete_thread(thread).await),
        O::CopyThread(from, to) => Answer::of(&db.copy_thread(from, to).await),
        O::SearchThreads(filter, sort, page) => {
            let mut answer = Answer::of(&db.search_threads(&filter, sort, page).await);
            answer.and(&db.count_threads(&filter).await);
            answer
        }
        O::PruneTemporary(age) => Answer::of(&db.prune_temporary(age, 100).await),
        O::PruneRuns(age) => Answer::of(&db.prune_runs(age, 10_000).await),
        O::Submit(new) => Answer::of(&db.submit_run(*new).await),
        O::Cancel(request) => {
            let result = db.cancel_runs(request).await;
            Answer::of(&result.map(|mut cancelled| {
                cancelled.runs.sort_unstable();
                cancelled.effects = sorted(cancelled.effects);
                cancelled
            }))
        }
        O::DeleteRun(thread, run) => Answer::of(&db.delete_run(thread, run).await),
        O::Enlist(worker) => Answer::of(&db.enlist(worker, LEASE).await),
        O::Renew(worker) => {
            let held = db.renew(worker, LEASE).await;
            Answer::of(&held.map(|mut held| {
                held.sort_by_key(|held| held.thread_id);
                held
            }))
        }
        O::Retire(worker) => Answer::of(&db.retire(worker).await),
        O::Claim(thread, worker, claim) => claim_for(db, thread, worker, claim).await,
        O::Settle(right, settlement, next) => settle(db, right, *settlement, next).await,
        O::Sweep => {
            let sweep = db.sweep(100).await;
            Answer::of(&sweep.map(|sweep| (sorted(sweep.effects), sweep.reaped)))
        }
        O::Waiting(age) => {
            let waiting = db.waiting(age, 100).await;
            Answer::of(&waiting.map(|mut waiting| {
                waiting.sort_unstable();
                waiting
            }))
        }
        O::Put(thread, guard, checkpoints, writes) => {
            Answer::of(&db.put_checkpoints(thread, guard, checkpoints, writes).await)
        }
        other => perform_elsewhere(db, other).await,
    }
}

/// The calls that have nothing to do with threads.
async fn perform_elsewhere(db: &dyn Database, operation: Operation) -> Answer {
    use Operation as O;
    match operation {
        O::CreateAssistant(new) => Answer::of(&db.create_assistant(new).await),
        O::PatchAssistant(id, patch) => Answer::of(&db.patch_assistant(id, patch).await),
        O::DeleteAssistant(id) => Answer::of(&db.delete_assistant(id).await),
        O::SetAssistantVersion(id, version) => {
            let mut answer = Answer::of(&db.set_assistant_version(id, version).await);
            let filter = VersionFilter {
                id,
                metadata: serde_json::Map::new(),
            };
            answer.and(&db.assistant_versions(&filter, ALL).await);
            answer
        }
        O::SearchAssistants(filter, sort, page) => {
            let mut answer = Answer::of(&db.search_assistants(&filter, sort, page).await);
            answer.and(&db.count_assistants(&filter).await);
            answer
        }
        O::PutItem(namespace, key, value) => {
            let mut answer = Answer::of(&db.put_item(&namespace, &key, value).await);
            answer.and(&db.item(&namespace, &key).await);
            answer
        }
        O::DeleteItem(namespace, key) => Answer::of(&db.delete_item(&namespace, &key).await),
        O::SearchItems(search) => Answer::of(&db.search_items(&search).await),
        O::Namespaces(search) => Answer::of(&db.namespaces(&search).await),
        other => unreachable!("{other:?} belongs to a thread"),
    }
}

async fn claim_for(
    db: &dyn Database,
    thread: ThreadId,
    worker: WorkerId,
    claim: ClaimId,
) -> Answer {
    let reply = db.claim(thread, worker, claim).await;
    let right = match &reply {
        Ok(ClaimReply::Claimed(claimed)) => Some(Right::of(claimed)),
        _ => None,
    };
    Answer {
        rights: right.into_iter().collect(),
        ..Answer::of(&reply)
    }
}

async fn settle(
    db: &dyn Database,
    right: Right,
    settlement: Settlement,
    next: Option<ClaimId>,
) -> Answer {
    let settled = db.settle(&right.lease(), settlement, next).await;
    let next = settled.as_ref().ok().and_then(|settled| {
        let next = settled.next.as_ref();
        next.map(|claimed| Right::of(claimed))
    });
    Answer {
        rights: next.into_iter().collect(),
        ..Answer::of(&settled.map(|settled| (sorted(settled.effects), settled.next)))
    }
}
