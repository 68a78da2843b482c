//! One small world: a database, a bus that loses things, some gateways and workers, and users.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use runloom_bus::{LocalEventLog, LocalNotifier};
use runloom_core::assistant::Assistant;
use runloom_core::bus::{EventLog, Notifier};
use runloom_core::clock::Clock;
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{CancelRequest, Database, Submission};
use runloom_core::effects::Effects;
use runloom_core::ids::{AssistantId, RunId, ThreadId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::partial::PartialPolicy;
use runloom_core::registry::Registry;
use runloom_core::run::{CancelAction, MultitaskStrategy, RunKwargs, RunStatus};
use runloom_core::search::{CancelSelection, Page, RunFilter};
use runloom_sqlite::{Location, Sqlite};
use runloom_testkit::doubles::{Faults, Faulty, TokioClock};
use runloom_testkit::invariants::{Dump, ThreadDump, check_step};
use runloom_worker::{Config, Ports, Worker};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::acts::Acts;
use crate::chaos::Pause;
use crate::clocks::Skewed;
use crate::executor::{GRAPH, Steps};
use crate::gateway::{Gateway, Gateways};
use crate::slow::{Outage, Slow, Way};

/// A run that was accepted, with what must become of it.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) id: RunId,
    pub(crate) text: String,
    pub(crate) strategy: MultitaskStrategy,
}

/// A small world with one thread.
pub(crate) struct World {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) thread: ThreadId,
    pub(crate) acts: Arc<Acts>,
    pub(crate) accepted: Mutex<Vec<Accepted>>,
    pub(crate) gateways: Gateways,
    clock: Arc<dyn Clock>,
    patience: u32,
    outage: Outage,
    bus: Arc<LocalNotifier>,
    notifier: Arc<dyn Notifier>,
    events: Arc<dyn EventLog>,
    random: Mutex<StdRng>,
    workers: Mutex<Vec<Process>>,
    tasks: Mutex<JoinSet<()>>,
}

/// A worker process.
struct Process {
    pause: Pause,
    shutdown: CancellationToken,
}

impl World {
    /// A world on `database` in which everything random follows `seed`. Where time is real, leases
    /// last `patience` times as long, so that a busy machine does not lose them all.
    pub(crate) fn new(
        database: Arc<dyn Database>,
        clock: Arc<dyn Clock>,
        seed: u64,
        patience: u32,
    ) -> Self {
        let faults = if seed.is_multiple_of(3) {
            NO_FAULTS
        } else {
            Faults::SOME
        };
        let bus = Arc::new(LocalNotifier::new());
        let notifier = Faulty::new(bus.clone(), faults, seed);
        let world = Self {
            database,
            thread: ThreadId::new(),
            acts: Arc::default(),
            accepted: Mutex::default(),
            gateways: Gateways::default(),
            clock,
            patience,
            outage: Outage::default(),
            bus,
            notifier: Arc::new(notifier),
            events: Arc::new(LocalEventLog::default()),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            workers: Mutex::default(),
            tasks: Mutex::new(JoinSet::new()),
        };
        world.start_gateway();
        world.start_gateway();
        world
    }

    /// A way of its own to the database for a process that `pause` may stop.
    fn way(&self, pause: &Pause) -> Slow {
        let way = Way {
            delay: Duration::from_micros(self.draw(3_000)),
            loss: if self.draw(2) == 0 { 0.03 } else { 0.0 },
        };
        let seed = self.draw(u64::MAX - 1);
        let (database, outage) = (self.database.clone(), self.outage.clone());
        Slow::new(database, outage, way, pause.clone(), seed)
    }

    /// Starts another gateway process.
    pub(crate) fn start_gateway(&self) {
        let pause = Pause::default();
        self.gateways.start(self.way(&pause), pause);
    }

    /// A number from 0 to `most`.
    pub(crate) fn draw(&self, most: u64) -> u64 {
        self.random.lock().unwrap().random_range(0..=most)
    }

    /// Waits up to `most` milliseconds.
    pub(crate) async fn jitter(&self, most: u64) {
        let micros = self.draw(most * 1_000);
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }

    /// Starts another worker process, whose clock is a little too slow or too fast.
    pub(crate) fn start_worker(&self) {
        // Leases have a margin of a tenth.
        let percent = u32::try_from(92 + self.draw(16)).unwrap();
        self.start_worker_with_clock(f64::from(percent) / 100.0);
    }

    /// Starts another worker process, on whose clock `rate` seconds pass in a second.
    pub(crate) fn start_worker_with_clock(&self, rate: f64) {
        let pause = Pause::default();
        let database = self.way(&pause);
        let executor = Steps {
            acts: self.acts.clone(),
            pause: pause.clone(),
            clock: self.clock.clone(),
        };
        let ports = Ports {
            database: Arc::new(database),
            notifier: self.notifier.clone(),
            events: self.events.clone(),
            registry: Registry::new([
                Arc::new(executor) as Arc<dyn runloom_core::executor::Executor>
            ]),
            time: Arc::new(Skewed::new(rate)),
        };
        let shutdown = CancellationToken::new();
        let worker = Worker::new(config(self.patience), ports);
        self.tasks
            .lock()
            .unwrap()
            .spawn(worker.run(shutdown.clone()));
        self.workers
            .lock()
            .unwrap()
            .push(Process { pause, shutdown });
    }

    /// Kills the worker process `index`: nothing of it ever moves again.
    pub(crate) fn kill(&self, index: usize) {
        self.workers.lock().unwrap()[index].pause.set(true);
    }

    /// Pauses the worker process `index` for so many milliseconds.
    pub(crate) async fn freeze(&self, index: usize, millis: u64) {
        let pause = self.workers.lock().unwrap()[index].pause.clone();
        pause.set(true);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        pause.set(false);
    }

    /// Asks the worker process `index` to end in order.
    pub(crate) fn drain(&self, index: usize) {
        self.workers.lock().unwrap()[index].shutdown.cancel();
    }

    /// Nobody gets an answer from the database for so many milliseconds.
    pub(crate) async fn outage(&self, millis: u64) {
        self.outage.set(true);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        self.outage.set(false);
    }

    /// The bus loses every wake-up that it holds.
    pub(crate) async fn forget_bus(&self) {
        let held = self.bus.wakes(usize::MAX, Duration::ZERO).await;
        for wake in held.expect("a bus in process") {
            wake.done();
        }
    }

    async fn follow_up(&self, gateway: &Gateway, effects: Effects) {
        // A gateway that dies between its commit and what must follow.
        if self.draw(9) > 0 && !gateway.pause.is_set() {
            effects
                .carry_out(self.notifier.as_ref(), self.events.as_ref())
                .await;
        }
    }

    /// Submits a run; `None` if it was rejected.
    pub(crate) async fn submit(
        &self,
        strategy: MultitaskStrategy,
        text: &str,
        input: Json,
        delay_millis: i64,
    ) -> Option<RunId> {
        let id = RunId::new();
        let new = NewRun {
            id,
            thread_id: self.thread,
            assistant: assistant(self.clock.as_ref()),
            kwargs: RunKwargs {
                input: Some(input),
                ..RunKwargs::default()
            },
            metadata: JsonMap::new(),
            multitask_strategy: strategy,
            delay: TimeDelta::milliseconds(delay_millis),
            if_thread_missing: IfThreadMissing::Create,
            policy: PartialPolicy::default(),
            server_configurable: JsonMap::new(),
            thread_ttl: None,
        };
        let submit = |database: Arc<dyn Database>| {
            let new = new.clone();
            async move { database.submit_run(new).await }
        };
        let (answer, gateway) = self.gateways.ask(self.client_patience(), submit).await;
        match answer.expect("the database answers") {
            Submission::Rejected => None,
            Submission::Accepted(_, effects) => {
                let accepted = Accepted {
                    id,
                    text: text.to_owned(),
                    strategy,
                };
                self.accepted.lock().unwrap().push(accepted);
                self.follow_up(&gateway, effects).await;
                Some(id)
            }
        }
    }

    /// How long a client waits for an answer.
    fn client_patience(&self) -> Duration {
        Duration::from_millis(100) * self.patience
    }

    /// Asks for a run to be stopped; whether it was still in flight.
    pub(crate) async fn cancel(&self, run: RunId, action: CancelAction) -> bool {
        let request = CancelRequest {
            selection: CancelSelection::Runs(self.thread, vec![run]),
            action,
            reason: "a user asked".to_owned(),
        };
        let cancel = |database: Arc<dyn Database>| {
            let request = request.clone();
            async move { database.cancel_runs(request).await }
        };
        let (answer, gateway) = self.gateways.ask(self.client_patience(), cancel).await;
        let cancelled = answer.expect("the database answers");
        self.follow_up(&gateway, cancelled.effects).await;
        !cancelled.runs.is_empty()
    }

    /// Deletes the thread as the gateway does: asks until nothing of it executes.
    pub(crate) async fn delete_thread(&self) {
        use runloom_core::database::{DatabaseError, ThreadDeletion};
        loop {
            let thread = self.thread;
            let delete =
                |database: Arc<dyn Database>| async move { database.delete_thread(thread).await };
            let (answer, gateway) = self.gateways.ask(self.client_patience(), delete).await;
            match answer {
                Ok(ThreadDeletion::Deleted(effects)) => {
                    return self.follow_up(&gateway, effects).await;
                }
                Ok(ThreadDeletion::Stopping(effects)) => self.follow_up(&gateway, effects).await,
                Err(DatabaseError::NotFound(_)) => return,
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The status of a run; `None` if it is gone.
    pub(crate) async fn status(&self, run: RunId) -> Option<RunStatus> {
        let run = self
            .database
            .run(Some(self.thread), run)
            .await
            .expect("the database answers");
        run.map(|run| run.status)
    }

    /// What became of every accepted run, and when: the same for the same seed.
    pub(crate) async fn story(&self) -> Vec<String> {
        let accepted = self.accepted.lock().unwrap().clone();
        let mut story = Vec::new();
        for run in accepted {
            let found = self.database.run(Some(self.thread), run.id).await;
            let end = found.expect("the database answers").map(|run| {
                let when = run.updated_at.timestamp_micros();
                format!("{} in attempt {} at {when}", run.status, run.attempt)
            });
            story.push(format!(
                "{}: {}",
                run.text,
                end.unwrap_or_else(|| "gone".to_owned())
            ));
        }
        story
    }

    /// What a step may change, without the checkpoints.
    async fn glance(&self) -> Dump {
        let all = Page {
            limit: 1_000,
            offset: 0,
        };
        let thread = self.database.thread(self.thread).await;
        let runs = self.database.runs(self.thread, RunFilter::default(), all);
        let runs = runs.await.expect("the database answers");
        let mut dump = Dump::default();
        if let Some(thread) = thread.expect("the database answers") {
            let checkpoints = Vec::new();
            let read = ThreadDump {
                thread,
                runs,
                checkpoints,
            };
            dump.threads.insert(self.thread, read);
        }
        dump
    }

    /// Waits until every accepted run is over or gone.
    pub(crate) async fn quiet(&self) {
        let mut before = Dump::default();
        for look in 0.. {
            // Only the model is read in no time, so that what is read belongs to one moment.
            if self.patience == 1 && look % 4 == 0 {
                let now = self.glance().await;
                check_step(&before, &now).expect("every step keeps the invariants");
                before = now;
            }
            let accepted = self.accepted.lock().unwrap().clone();
            let mut in_flight = 0;
            for run in &accepted {
                let status = self.status(run.id).await;
                in_flight += usize::from(status.is_some_and(|status| !status.is_terminal()));
            }
            if in_flight == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const NO_FAULTS: Faults = Faults {
    lost: 0.0,
    doubled: 0.0,
    delayed: 0.0,
    refused: 0.0,
};

fn config(patience: u32) -> Config {
    Config {
        slots: 4,
        lease: Duration::from_millis(400) * patience,
        margin: Duration::from_millis(40) * patience,
        poll: Duration::from_millis(50),
        hint_age: Duration::from_millis(50),
        sweep: Duration::from_millis(50),
        grace: Duration::from_millis(100),
        drain: Duration::from_millis(100),
        retry_first: Duration::from_millis(20),
        retry_longest: Duration::from_millis(100),
        call_timeout: Duration::from_millis(100) * patience,
        ..Config::default()
    }
}

fn assistant(clock: &dyn Clock) -> Assistant {
    Assistant {
        id: AssistantId::of_graph(&GRAPH.into()),
        graph_id: GRAPH.into(),
        config: JsonMap::new(),
        context: JsonMap::new(),
        created_at: clock.now(),
        updated_at: clock.now(),
        metadata: JsonMap::new(),
        version: 1,
        name: GRAPH.to_owned(),
        description: None,
    }
}

/// The clock of a world.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(TokioClock::start())
}

/// An SQLite database of its own.
pub(crate) async fn sqlite(clock: Arc<dyn Clock>) -> Arc<dyn Database> {
    let opened = Sqlite::open(Location::Memory, clock, runloom_sqlite::Config::default());
    Arc::new(opened.await.expect("a database"))
}
