//! Random operations, chosen so that most of them find something to do: few threads, few workers,
//! rights that may or may not still hold.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use runloom_core::checkpoint::{
    Blob, ChannelBlob, Checkpoint, NULL_TASK, NewCheckpoint, NewWrites, PendingWrite,
};
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{CancelRequest, Database, Guard, Settlement, ThreadPatch, Transit};
use runloom_core::ids::{CheckpointId, ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::partial::PartialPolicy;
use runloom_core::run::{CancelAction, MultitaskStrategy, RunError, RunKwargs};
use runloom_core::search::{CancelSelection, Page, SortOrder, ThreadFilter, ThreadSort};
use runloom_core::state::Head;
use runloom_core::thread::{IfExists, NewThread, ThreadStatus, Ttl, TtlStrategy};
use serde_json::{Value, json};
use uuid::Uuid;

use super::elsewhere;
use super::operation::{Answer, Operation, Right};

/// How many rights are remembered. A database need not remember settlements for ever.
const RIGHTS_KEPT: usize = 8;

/// Makes operations.
pub(super) struct Generator {
    random: StdRng,
    pub(super) threads: Vec<ThreadId>,
    workers: Vec<WorkerId>,
    runs: Vec<(ThreadId, RunId)>,
    rights: Vec<Right>,
    settled: Option<Operation>,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut ids = std::iter::repeat_with(|| Uuid::from_u128(random.random()));
        let threads = ids.by_ref().take(3).map(ThreadId).collect();
        let workers = ids.by_ref().take(3).map(WorkerId).collect();
        Self {
            random,
            threads,
            workers,
            runs: Vec::new(),
            rights: Vec::new(),
            settled: None,
        }
    }

    /// Takes note of what the model answered.
    pub(super) fn learn(&mut self, answer: Answer) {
        for right in answer.rights {
            self.rights.retain(|known| *known != right);
            self.rights.push(right);
        }
        let forgotten = self.rights.len().saturating_sub(RIGHTS_KEPT);
        self.rights.drain(..forgotten);
    }

    /// The next operation. What the model holds helps to choose one that makes sense.
    pub(super) async fn next(&mut self, model: &dyn Database) -> Operation {
        let thread = self.thread();
        let worker = self.worker();
        match self.random.random_range(0..100) {
            0..7 => self.pass(),
            7..20 => Operation::Submit(Box::new(self.run(thread))),
            20..38 => self.claim(model, worker).await,
            38..51 => self.settlement(thread),
            51..54 => self.settled.clone().unwrap_or(Operation::Renew(worker)),
            54..66 => self.put(model, thread).await,
            66..71 => Operation::Cancel(self.cancel(thread)),
            71..76 => self.enlist(),
            76..79 => Operation::Renew(worker),
            79..80 => Operation::Retire(worker),
            80..83 => Operation::Sweep,
            83..85 => Operation::Waiting(Duration::from_secs(self.random.random_range(0..3))),
            85..89 => self.change_thread(thread),
            89..91 => self.search_threads(),
            91..93 => self.delete_run(thread),
            _ => elsewhere::operation(&mut self.random),
        }
    }

    fn thread(&mut self) -> ThreadId {
        let place = self.random.random_range(0..self.threads.len());
        self.threads[place]
    }

    fn worker(&mut self) -> WorkerId {
        let place = self.random.random_range(0..self.workers.len());
        self.workers[place]
    }

    /// A claim, mostly where there may be something to claim and by a worker that may claim.
    async fn claim(&mut self, model: &dyn Database, worker: WorkerId) -> Operation {
        let mut busy = Vec::new();
        for id in &self.threads {
            let thread = model.thread(*id).await.ok().flatten();
            let thread = thread.filter(|thread| thread.status == ThreadStatus::Busy);
            busy.extend(thread.map(|thread| thread.id));
        }
        let thread = busy.choose(&mut self.random).copied();
        let thread = thread.filter(|_| self.random.random_bool(0.9));
        let thread = thread.unwrap_or(self.threads[0]);
        let newest = self.workers[self.workers.len() - 1];
        let worker = if self.random.random_bool(0.7) {
            newest
        } else {
            worker
        };
        // Now and then a claim is repeated.
        let known = self.rights.choose(&mut self.random).copied();
        let known = known.filter(|_| self.random.random_bool(0.1));
        let new = ClaimId(Uuid::from_u128(self.random.random()));
        let claim = known.map_or(new, |right| right.fence.claim);
        Operation::Claim(thread, worker, claim)
    }

    /// Enlists a worker; often a new one, which takes the place of the oldest.
    fn enlist(&mut self) -> Operation {
        if self.random.random_bool(0.5) {
            return Operation::Enlist(self.worker());
        }
        let new = WorkerId(Uuid::from_u128(self.random.random()));
        self.workers.remove(0);
        self.workers.push(new);
        Operation::Enlist(new)
    }

    fn pass(&mut self) -> Operation {
        let millis = Duration::from_millis;
        match self.random.random_range(0..10) {
            0 => Operation::StepBack(millis(self.random.random_range(1..3_000))),
            1 => Operation::Advance(millis(self.random.random_range(3_000..20_000))),
            _ => Operation::Advance(millis(self.random.random_range(1..2_000))),
        }
    }

    fn run(&mut self, thread: ThreadId) -> NewRun {
        let random = &mut self.random;
        let again = self.runs.choose(random).copied();
        let again = again.filter(|_| random.random_bool(0.05));
        let (thread, id) = again.unwrap_or((thread, RunId(Uuid::from_u128(random.random()))));
        self.runs.push((thread, id));
        let strategies = [
            MultitaskStrategy::Reject,
            MultitaskStrategy::Enqueue,
            MultitaskStrategy::Enqueue,
            MultitaskStrategy::Interrupt,
            MultitaskStrategy::Rollback,
        ];
        let input = random
            .random_bool(0.8)
            .then(|| Json::from_value(&json!({"n": id})));
        let strict = random.random_bool(0.2);
        let delayed = random.random_bool(0.2);
        NewRun {
            id,
            thread_id: thread,
            assistant: elsewhere::an_assistant(random),
            kwargs: RunKwargs {
                input,
                temporary: random.random_bool(0.1),
                config: object(&json!({"configurable": {"k": random.random_range(0..3)}})),
                ..RunKwargs::default()
            },
            metadata: metadata(random),
            multitask_strategy: strategies[random.random_range(0..strategies.len())],
            delay: TimeDelta::milliseconds(if delayed {
                random.random_range(-9..9_000)
            } else {
                0
            }),
            if_thread_missing: if random.random_bool(0.7) {
                IfThreadMissing::Create
            } else {
                IfThreadMissing::Reject
            },
            policy: if strict {
                PartialPolicy::STRICT
            } else {
                PartialPolicy::default()
            },
            server_configurable: JsonMap::new(),
            thread_ttl: ttl(random),
        }
    }

    fn settlement(&mut self, thread: ThreadId) -> Operation {
        // Mostly the newest right of the thread, which may still hold.
        let newest = self.rights.iter().rfind(|right| right.thread == thread);
        let any = self.rights.choose(&mut self.random);
        let Some(right) = newest.or(any).copied() else {
            return self.enlist();
        };
        let random = &mut self.random;
        let error = RunError::new("E", "m");
        let delay = Duration::from_millis(random.random_range(0..5_000));
        let transit = match random.random_range(0..8) {
            0..3 => Transit::Succeed,
            3 => Transit::Interrupt,
            4 => Transit::Fail(error),
            5 => Transit::TimeOut(error),
            6 => Transit::HandBack,
            _ => Transit::Retry(delay, error),
        };
        let settlement = Settlement {
            transit,
            head: random.random_bool(0.7).then(|| head(random)),
            residue: random.random_bool(0.2).then(|| writes(random)),
            output: random
                .random_bool(0.5)
                .then(|| Json::from_value(&json!({"out": 1}))),
            interrupted_output: random.random_bool(0.2).then(Json::null),
        };
        let next = random
            .random_bool(0.5)
            .then(|| ClaimId(Uuid::from_u128(random.random())));
        let settle = Operation::Settle(right, Box::new(settlement), next);
        self.settled = Some(settle.clone());
        settle
    }

    async fn put(&mut self, model: &dyn Database, thread: ThreadId) -> Operation {
        let latest = model.checkpoint(thread, "", None).await;
        let latest = latest.ok().flatten().map(|tuple| tuple.checkpoint.id);
        let held = self
            .rights
            .iter()
            .rfind(|right| right.thread == thread)
            .copied();
        let random = &mut self.random;
        let guard = match held.filter(|_| random.random_bool(0.8)) {
            Some(right) => Guard::Attempt(right.fence, right.run),
            None => Guard::Idle {
                seen: latest.filter(|_| random.random_bool(0.9)),
                head: head(random),
            },
        };
        let run = match guard {
            Guard::Attempt(_, run) => Some(run),
            Guard::Idle { .. } => None,
        };
        let checkpoints = (0..random.random_range(0..3))
            .map(|_| checkpoint(random, thread, run))
            .collect();
        let written = (0..random.random_range(0..2)).map(|_| writes(random));
        let written = written.collect();
        Operation::Put(thread, guard, checkpoints, written)
    }

    fn cancel(&mut self, thread: ThreadId) -> CancelRequest {
        let of_thread = self.runs.iter().filter(|(of, _)| *of == thread);
        let newest: Vec<_> = of_thread.rev().take(4).map(|(_, run)| *run).collect();
        let random = &mut self.random;
        let some = newest
            .into_iter()
            .filter(|_| random.random_bool(0.5))
            .collect();
        let selection = match random.random_range(0..10) {
            0 => CancelSelection::Pending,
            1 => CancelSelection::Running,
            2 => CancelSelection::All,
            _ => CancelSelection::Runs(thread, some),
        };
        CancelRequest {
            selection,
            action: if random.random_bool(0.6) {
                CancelAction::Interrupt
            } else {
                CancelAction::Rollback
            },
            reason: "asked for".to_owned(),
        }
    }

    fn change_thread(&mut self, thread: ThreadId) -> Operation {
        let other = self.thread();
        let random = &mut self.random;
        let metadata = metadata(random);
        match random.random_range(0..7) {
            0..2 => Operation::CreateThread(NewThread {
                id: thread,
                metadata,
                if_exists: if random.random_bool(0.5) {
                    IfExists::Raise
                } else {
                    IfExists::DoNothing
                },
                ttl: ttl(random),
            }),
            2 => Operation::PatchThread(
                thread,
                ThreadPatch {
                    metadata,
                    ttl: random.random_bool(0.5).then(|| ttl(random)),
                },
            ),
            3 => Operation::DeleteThread(thread),
            4 => Operation::CopyThread(thread, other),
            5 => Operation::PruneRuns(Duration::from_secs(random.random_range(0..9))),
            _ => Operation::PruneTemporary(Duration::from_secs(random.random_range(0..5))),
        }
    }

    fn search_threads(&mut self) -> Operation {
        let random = &mut self.random;
        let keys = [
            ThreadSort::ThreadId,
            ThreadSort::Status,
            ThreadSort::CreatedAt,
            ThreadSort::UpdatedAt,
            ThreadSort::StateUpdatedAt,
        ];
        let statuses = [
            ThreadStatus::Idle,
            ThreadStatus::Busy,
            ThreadStatus::Interrupted,
        ];
        let status = statuses.choose(random).copied();
        let filter = ThreadFilter {
            ids: None,
            metadata: if random.random_bool(0.3) {
                metadata(random)
            } else {
                JsonMap::new()
            },
            values: if random.random_bool(0.2) {
                object(&json!({"n": 1}))
            } else {
                JsonMap::new()
            },
            status: status.filter(|_| random.random_bool(0.3)),
        };
        let sort = (keys[random.random_range(0..keys.len())], order(random));
        Operation::SearchThreads(filter, sort, page(random))
    }

    fn delete_run(&mut self, thread: ThreadId) -> Operation {
        let run = self.runs.choose(&mut self.random).map(|(_, run)| *run);
        match run {
            Some(run) => Operation::DeleteRun(thread, run),
            None => self.enlist(),
        }
    }
}

pub(super) fn order(random: &mut StdRng) -> SortOrder {
    if random.random_bool(0.5) {
        SortOrder::Asc
    } else {
        SortOrder::Desc
    }
}

pub(super) fn page(random: &mut StdRng) -> Page {
    Page {
        limit: random.random_range(0..5),
        offset: random.random_range(0..3),
    }
}

pub(super) fn object(value: &Value) -> JsonMap {
    value.as_object().cloned().unwrap_or_default()
}

pub(super) fn metadata(random: &mut StdRng) -> JsonMap {
    let key = ["user", "team"][random.random_range(0..2)];
    object(&json!({ key: random.random_range(0..3) }))
}

fn ttl(random: &mut StdRng) -> Option<Ttl> {
    let strategies = [TtlStrategy::Delete, TtlStrategy::KeepLatest];
    let strategy = strategies[random.random_range(0..2)];
    Ttl::new(f64::from(random.random_range(0..5)) / 2.0, strategy)
}

fn head(random: &mut StdRng) -> Head {
    let next = random.random_bool(0.4).then(|| "tools".to_owned());
    Head {
        checkpoint_id: None,
        values: Json::from_value(&json!({"n": random.random_range(0..3)})),
        interrupts: match next {
            Some(_) => object(&json!({"task": [{"id": random.random_range(0..9)}]})),
            None => JsonMap::new(),
        },
        next: next.into_iter().collect(),
    }
}

fn checkpoint_id(random: &mut StdRng) -> CheckpointId {
    let number: u32 = random.random_range(1..10);
    CheckpointId(format!("1f000000-0000-6000-8000-{number:012}"))
}

fn namespace(random: &mut StdRng) -> String {
    ["", "", "child:1"][random.random_range(0..3)].to_owned()
}

fn blob(random: &mut StdRng) -> Blob {
    Blob {
        kind: ["json", "msgpack"][random.random_range(0..2)].to_owned(),
        data: Bytes::from(vec![random.random::<u8>(); random.random_range(0..4)]),
    }
}

fn checkpoint(random: &mut StdRng, thread: ThreadId, run: Option<RunId>) -> NewCheckpoint {
    let mut versions = BTreeMap::new();
    let mut blobs = Vec::new();
    for channel in ["log", "count"] {
        let version = format!("v{}", random.random_range(0..4));
        if random.random_bool(0.7) {
            versions.insert(channel.to_owned(), version.clone());
            blobs.push(ChannelBlob {
                channel: channel.to_owned(),
                version,
                blob: blob(random),
            });
        }
    }
    NewCheckpoint {
        checkpoint: Checkpoint {
            thread_id: thread,
            ns: namespace(random),
            id: checkpoint_id(random),
            parent: random.random_bool(0.8).then(|| checkpoint_id(random)),
            run_id: run,
            metadata: metadata(random),
            head: blob(random),
            versions,
            created_at: DateTime::from_timestamp(1_900_000_000, 0).expect("a time within range"),
        },
        blobs,
    }
}

fn writes(random: &mut StdRng) -> NewWrites {
    let write = |random: &mut StdRng| PendingWrite {
        task_id: ["a", "b", NULL_TASK][random.random_range(0..3)].to_owned(),
        task_path: ["x", "y"][random.random_range(0..2)].to_owned(),
        index: random.random_range(-4..3),
        channel: "log".to_owned(),
        blob: blob(random),
    };
    NewWrites {
        ns: namespace(random),
        checkpoint_id: checkpoint_id(random),
        writes: (0..random.random_range(1..4))
            .map(|_| write(random))
            .collect(),
    }
}
