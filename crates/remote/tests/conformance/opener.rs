//! Gives each thread a call of its own, with an attempt of a run where something is to be stored, and does
//! what concerns several threads.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{Database, DatabaseError, Guard, Settlement, Transit};
use runloom_core::executor::{Attempt, Work};
use runloom_core::ids::{ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::json::JsonMap;
use runloom_core::lease::{ClaimReply, Claimed};
use runloom_core::run::RunKwargs;
use runloom_remote::executor::desk::Desk;
use runloom_remote::peer::{Answers, Peer, Registration};
use runloom_remote::protocol::{RemoteError, decode, encode};
use runloom_testkit::conformance::database::a_run;
use serde::Deserialize;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::host::Stored;

/// Longer than any test.
const LEASE: Duration = Duration::from_hours(1);

/// Answers call 0.
pub(crate) struct Opener {
    database: Arc<dyn Database>,
    peer: Weak<Peer>,
    worker: WorkerId,
    opened: Mutex<Opened>,
}

#[derive(Default)]
struct Opened {
    /// The run that holds each thread.
    claims: HashMap<ThreadId, Claimed>,
    calls: Vec<Registration>,
}

#[derive(Deserialize)]
struct Open {
    thread_id: String,
    write: bool,
    run_id: Option<String>,
}

#[derive(Deserialize)]
struct DeleteThread {
    thread_id: String,
}

#[derive(Deserialize)]
struct DeleteRuns {
    run_ids: Vec<String>,
}

#[derive(Deserialize)]
struct CopyThread {
    from: String,
    to: String,
}

#[derive(Deserialize)]
struct Prune {
    thread_ids: Vec<String>,
    strategy: String,
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn refusal(error: impl ToString) -> RemoteError {
    RemoteError::new(RemoteError::INVALID, error.to_string())
}

/// What is not there needs no change.
fn unless_missing<T>(changed: Result<T, DatabaseError>) -> Result<(), RemoteError> {
    match changed {
        Ok(_) | Err(DatabaseError::NotFound(_)) => Ok(()),
        Err(error) => Err(refusal(error)),
    }
}

#[async_trait]
impl Answers for Opener {
    async fn answer(&self, method: &str, body: Bytes) -> Result<Bytes, RemoteError> {
        let mut opened = self.opened.lock().await;
        if method == "open" {
            return Ok(encode(&self.open(&mut opened, decode(&body)?).await?)?);
        }
        self.rest(&mut opened).await?;
        match method {
            "delete_thread" => {
                let asked: DeleteThread = decode(&body)?;
                self.delete(&asked.thread_id).await?;
            }
            "delete_runs" => self.delete_runs(decode(&body)?).await?,
            "copy_thread" => {
                let asked: CopyThread = decode(&body)?;
                let (from, to) = (thread(&asked.from)?, thread(&asked.to)?);
                let copied = self.database.copy_thread(from, to).await;
                copied.map_err(refusal)?;
            }
            "prune" => self.prune(decode(&body)?).await?,
            other => return Err(refusal(format!("no method named {other}"))),
        }
        Ok(encode(&())?)
    }
}

fn thread(text: &str) -> Result<ThreadId, RemoteError> {
    text.parse().map_err(refusal)
}

fn run(text: &str) -> Result<RunId, RemoteError> {
    text.parse().map_err(refusal)
}

impl Opener {
    pub(crate) async fn new(database: Arc<dyn Database>, peer: &Arc<Peer>) -> Arc<Self> {
        let worker = WorkerId::new();
        database.enlist(worker, LEASE).await.unwrap();
        Arc::new(Self {
            database,
            peer: Arc::downgrade(peer),
            worker,
            opened: Mutex::default(),
        })
    }

    /// Makes a call for a thread: of a reader, or of an attempt.
    async fn open(&self, opened: &mut Opened, asked: Open) -> Result<u64, RemoteError> {
        let thread = thread(&asked.thread_id)?;
        let desk = if asked.write {
            // Metadata may name anything; only ids of runs say whose a checkpoint is.
            let wanted = asked.run_id.and_then(|id| id.parse().ok());
            self.desk_of_run(opened, thread, wanted).await?
        } else {
            Desk::of_reader(thread, Arc::new(self.stored(thread, None)))
        };
        let peer = self.peer.upgrade().expect("the socket outlives its calls");
        let call = peer.number();
        opened.calls.push(peer.register(call, desk));
        Ok(call)
    }

    async fn desk_of_run(
        &self,
        opened: &mut Opened,
        thread: ThreadId,
        wanted: Option<RunId>,
    ) -> Result<Arc<Desk>, RemoteError> {
        let holder = opened.claims.get(&thread);
        if holder.is_none_or(|holder| wanted.is_some_and(|run| run != holder.run.id)) {
            if let Some(holder) = opened.claims.remove(&thread) {
                self.settle(&holder).await?;
            }
            let claimed = self
                .claim(thread, wanted.unwrap_or_else(RunId::new))
                .await?;
            opened.claims.insert(thread, claimed);
        }
        let claimed = &opened.claims[&thread];
        let guard = Guard::Attempt(claimed.lease.fence, claimed.run.id);
        let host = Arc::new(self.stored(thread, Some(guard)));
        let attempt = attempt_of(claimed);
        Ok(Desk::of_run(&attempt, host, CancellationToken::new()))
    }

    fn stored(&self, thread: ThreadId, guard: Option<Guard>) -> Stored {
        Stored {
            database: self.database.clone(),
            thread,
            guard,
        }
    }

    async fn claim(&self, thread: ThreadId, run: RunId) -> Result<Claimed, RemoteError> {
        let submitted = self.database.submit_run(new_run(thread, run)).await;
        submitted.map_err(refusal)?;
        let claim = ClaimId::new();
        let claimed = self.database.claim(thread, self.worker, claim).await;
        match claimed.map_err(refusal)? {
            ClaimReply::Claimed(claimed) => Ok(*claimed),
            other => Err(refusal(format!("nothing to claim: {other:?}"))),
        }
    }

    async fn settle(&self, holder: &Claimed) -> Result<(), RemoteError> {
        let settlement = Settlement {
            transit: Transit::Succeed,
            head: None,
            residue: None,
            output: None,
            interrupted_output: None,
        };
        let settled = self.database.settle(&holder.lease, settlement, None).await;
        settled.map(|_| ()).map_err(refusal)
    }

    /// Ends all runs.
    async fn rest(&self, opened: &mut Opened) -> Result<(), RemoteError> {
        for (_, holder) in opened.claims.drain() {
            self.settle(&holder).await?;
        }
        Ok(())
    }

    async fn delete(&self, id: &str) -> Result<(), RemoteError> {
        unless_missing(self.database.delete_thread(thread(id)?).await)
    }

    async fn delete_runs(&self, asked: DeleteRuns) -> Result<(), RemoteError> {
        for id in asked.run_ids {
            let found = self.database.run(None, run(&id)?).await;
            if let Some(found) = found.map_err(refusal)? {
                let runs = [found.id];
                let deleted = self.database.delete_checkpoints(found.thread_id, &runs);
                deleted.await.map_err(refusal)?;
            }
        }
        Ok(())
    }

    async fn prune(&self, asked: Prune) -> Result<(), RemoteError> {
        for id in asked.thread_ids {
            match asked.strategy.as_str() {
                "delete" => self.delete(&id).await?,
                _ => unless_missing(self.database.prune_checkpoints(thread(&id)?).await)?,
            }
        }
        Ok(())
    }
}

fn new_run(thread: ThreadId, run: RunId) -> NewRun {
    NewRun {
        id: run,
        kwargs: RunKwargs::default(),
        if_thread_missing: IfThreadMissing::Create,
        ..a_run(thread)
    }
}

fn attempt_of(claimed: &Claimed) -> Attempt {
    let (_, stop) = watch::channel(None);
    Attempt {
        run_id: claimed.run.id,
        thread_id: claimed.run.thread_id,
        assistant_id: claimed.run.assistant_id,
        graph_id: "agent".into(),
        attempt: 1,
        kwargs: RunKwargs::default(),
        metadata: JsonMap::new(),
        work: Work::Run,
        stop,
    }
}
