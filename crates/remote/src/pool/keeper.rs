//! The task that keeps as many processes as there should be.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::PoolConfig;
use super::backoff::Backoff;
use super::endings::Ending;
use super::member::Member;
use super::rooms::Rooms;
use crate::measures;
use crate::process::{Launch, Process, StartError};
use crate::protocol::Manifest;

/// How long a shutdown waits for processes that were asked to end, and then killed.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Asks for newer code.
pub(super) struct Replacement {
    pub(super) launch: Launch,
    pub(super) answer: oneshot::Sender<Result<Arc<Manifest>, StartError>>,
}

/// Keeps the processes of a pool.
pub(super) struct Keeper {
    config: Arc<PoolConfig>,
    launch: Arc<Launch>,
    /// Counts reloads: processes of an older one hold older code.
    generation: u64,
    rooms: Arc<Rooms>,
    manifest: watch::Sender<Arc<Manifest>>,
    next_member: u64,
    backoff: Backoff,
    /// Processes that load their graphs, with the generation that they are of.
    starting: JoinSet<(u64, Result<Process, StartError>)>,
    /// How many of them are of this generation.
    underway: usize,
    /// Who asked for newer code, the first of whom is being served.
    replacements: VecDeque<Replacement>,
    replacing: bool,
    /// Follows each process to its end.
    followed: JoinSet<Arc<Member>>,
    /// Asks each process how it is.
    pings: JoinSet<()>,
}

impl Keeper {
    pub(super) fn new(
        config: PoolConfig,
        launch: Launch,
        rooms: Arc<Rooms>,
        manifest: watch::Sender<Arc<Manifest>>,
    ) -> Self {
        Self {
            config: Arc::new(config),
            launch: Arc::new(launch),
            generation: 0,
            rooms,
            manifest,
            next_member: 0,
            backoff: Backoff::default(),
            starting: JoinSet::new(),
            underway: 0,
            replacements: VecDeque::new(),
            replacing: false,
            followed: JoinSet::new(),
            pings: JoinSet::new(),
        }
    }

    /// Takes a process that has loaded its graphs.
    pub(super) fn join(&mut self, process: Process) {
        self.next_member += 1;
        let member = Arc::new(Member::new(self.next_member, self.generation, process));
        let watched = Arc::clone(&member);
        let config = Arc::clone(&self.config);
        self.pings
            .spawn(watched.watch(Arc::clone(&self.rooms), config));
        self.followed
            .spawn(follow(Arc::clone(&member), Arc::clone(&self.rooms)));
        self.rooms.join(member);
    }

    /// Works until `closing`, then ends all processes.
    pub(super) async fn keep(
        mut self,
        mut asked: mpsc::UnboundedReceiver<Replacement>,
        closing: CancellationToken,
    ) {
        let mut changes = self.rooms.changes();
        loop {
            changes.mark_unchanged();
            let wait = self.fill();
            let waiting = wait.unwrap_or_else(Instant::now);
            tokio::select! {
                () = closing.cancelled() => break,
                Some(replacement) = asked.recv() => self.replacements.push_back(replacement),
                Some(started) = self.starting.join_next() => {
                    if let Ok((generation, started)) = started {
                        self.started(generation, started);
                    }
                }
                Some(gone) = self.followed.join_next() => {
                    if let Ok(member) = gone {
                        self.gone(&member).await;
                    }
                }
                Ok(()) = changes.changed() => {}
                Some(_) = self.pings.join_next() => {}
                () = sleep_until(waiting), if wait.is_some() => {}
            }
        }
        self.end().await;
    }

    /// Starts what is missing; says when to look again if that has to wait.
    fn fill(&mut self) -> Option<Instant> {
        if !self.replacing
            && let Some(replacement) = self.replacements.front()
        {
            self.replacing = true;
            let launch = Arc::new(replacement.launch.clone());
            self.start(self.generation + 1, launch);
        }
        let wanted = self.config.processes.max(1) + usize::from(self.config.spare);
        let missing = wanted.saturating_sub(self.rooms.ready() + self.underway);
        if missing == 0 {
            return None;
        }
        if let Some(until) = self.backoff.until(Instant::now()) {
            return Some(until);
        }
        let at_once = if self.backoff.is_careful() {
            usize::from(self.underway == 0)
        } else {
            missing
        };
        for _ in 0..at_once {
            self.underway += 1;
            self.start(self.generation, Arc::clone(&self.launch));
        }
        None
    }

    fn start(&mut self, generation: u64, launch: Arc<Launch>) {
        self.starting
            .spawn(async move { (generation, start(&launch).await) });
    }

    fn started(&mut self, generation: u64, started: Result<Process, StartError>) {
        if generation > self.generation {
            self.replaced(generation, started);
            return;
        }
        if generation < self.generation {
            // It holds older code and was not needed yet.
            return;
        }
        self.underway -= 1;
        match started {
            Ok(process) => self.join(process),
            Err(error) => {
                error!(%error, "an executor did not start");
                self.backoff.failed(Instant::now(), fastrand::f64());
            }
        }
    }

    /// The first process with newer code is there, or is not to be had.
    fn replaced(&mut self, generation: u64, started: Result<Process, StartError>) {
        self.replacing = false;
        let Some(Replacement { launch, answer }) = self.replacements.pop_front() else {
            return;
        };
        let answered = match started {
            Ok(process) => {
                let manifest = Arc::clone(process.manifest());
                self.generation = generation;
                self.launch = Arc::new(launch);
                self.underway = 0;
                self.backoff.reset();
                // The new one first: nobody is left without.
                self.join(process);
                self.rooms.retire_before(generation);
                self.manifest.send_replace(Arc::clone(&manifest));
                Ok(manifest)
            }
            Err(error) => Err(error),
        };
        // Whoever asked may not wait for the answer.
        let _ = answer.send(answered);
    }

    async fn gone(&mut self, member: &Member) {
        let exit = member.process.gone().await;
        let pid = member.process.pid();
        measures::ended(member.end_reason().unwrap_or("died"));
        if let Some(reason) = member.end_reason() {
            info!(executor.pid = pid, reason, "an executor ended");
        } else {
            error!(
                executor.pid = pid,
                how = exit.how,
                "an executor died\n{}",
                exit.said
            );
            let now = Instant::now();
            self.backoff.died(member.born, now, fastrand::f64());
        }
    }

    async fn end(mut self) {
        self.starting.abort_all();
        for member in self.rooms.close() {
            member.end(Ending::Shutdown);
        }
        let all_gone = async {
            while let Some(gone) = self.followed.join_next().await {
                if let Ok(member) = gone {
                    self.gone(&member).await;
                }
            }
        };
        // What was killed and does not end hangs in the kernel.
        let _ = timeout(LAST_WAIT, all_gone).await;
    }
}

/// Starts a process.
pub(super) async fn start(launch: &Launch) -> Result<Process, StartError> {
    let began = Instant::now();
    let started = Process::start(launch).await;
    match &started {
        Ok(process) => {
            measures::started(began.elapsed());
            info!(executor.pid = process.pid(), "an executor started");
        }
        Err(_) => measures::failed_to_start(),
    }
    started
}

/// Takes a process out of service when it ends; returns when it is gone.
async fn follow(member: Arc<Member>, rooms: Arc<Rooms>) -> Arc<Member> {
    member.ending().await;
    rooms.retire(member.id);
    member.process.gone().await;
    rooms.remove(member.id);
    member
}
