//! Gateways and workers as processes of their own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use runloom_testkit::services::postgres::psql;
use runloom_testkit::services::{Port, nats, postgres, shared};
use runloom_tests::http::Http;
use runloom_tests::process::Role;
use runloom_tests::product;
use runloom_tests::witness::{self, Step};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::sleep;

/// How often a condition of another process is looked at.
const GLANCE: Duration = Duration::from_millis(40);

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// What the processes are told.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Where the database is, by its URL.
    pub(crate) database: String,
    /// Where NATS is, by its URL.
    pub(crate) nats: String,
    /// In seconds.
    pub(crate) lease: u64,
    /// Further options of all processes.
    pub(crate) more: Vec<String>,
}

/// Everything that runs. Ends when it is dropped; if the test has failed, the logs stay.
pub(crate) struct Cluster {
    pub(crate) setup: Setup,
    pub(crate) gateways: Vec<Machine>,
    pub(crate) workers: Vec<Machine>,
    /// Where the test itself asks the database: not through whatever stands between.
    pub(crate) truth: String,
    binary: PathBuf,
    started: usize,
    folder: TempDir,
    logs: Vec<PathBuf>,
}

/// One process and where it answers.
pub(crate) struct Machine {
    pub(crate) role: Role,
    port: Port,
}

impl Setup {
    /// A database of the test's own on the shared Postgres.
    pub(crate) async fn on(nats: &nats::Server, lease: u64) -> Self {
        Self {
            database: shared::new_database().await,
            nats: nats.url(),
            lease,
            more: Vec::new(),
        }
    }

    /// The whole of a private Postgres.
    pub(crate) fn on_own(postgres: &postgres::Server, nats: &nats::Server, lease: u64) -> Self {
        Self {
            database: postgres.url(),
            nats: nats.url(),
            lease,
            more: Vec::new(),
        }
    }

    fn arguments(&self, role: &str) -> Vec<String> {
        let lease = self.lease.to_string();
        let words = [
            role,
            "--database-url",
            &self.database,
            "--nats-url",
            &self.nats,
            "--test-graphs",
            "--lease",
            &lease,
            "--drain-budget",
            "3",
            "--log",
            "info",
            "--log-format",
            "json",
        ];
        let words = words.map(str::to_owned).into_iter();
        words.chain(self.more.clone()).collect()
    }
}

impl Cluster {
    /// Starts so many of each, and waits until they answer.
    pub(crate) async fn start(setup: Setup, gateways: usize, workers: usize) -> Self {
        let mut cluster = Self {
            truth: setup.database.clone(),
            setup,
            gateways: Vec::new(),
            workers: Vec::new(),
            binary: product::binary(),
            started: 0,
            folder: tempfile::tempdir().expect("a folder"),
            logs: Vec::new(),
        };
        for _ in 0..gateways {
            let gateway = cluster.gateway(Port::choose()).await;
            cluster.gateways.push(gateway);
        }
        for _ in 0..workers {
            let worker = cluster.worker().await;
            cluster.workers.push(worker);
        }
        cluster
    }

    /// Starts one more gateway on this port, and waits until it answers.
    pub(crate) async fn gateway(&mut self, port: Port) -> Machine {
        let number = port.to_string();
        let own = ["--port", &number, "--end-event", "--migrate"];
        let setup = self.setup.clone();
        self.machine("gateway", &setup, &own, port).await
    }

    /// Starts one more worker, and waits until it answers.
    pub(crate) async fn worker(&mut self) -> Machine {
        let setup = self.setup.clone();
        self.worker_with(&setup).await
    }

    /// Starts one more worker that is told something else than the others.
    pub(crate) async fn worker_with(&mut self, setup: &Setup) -> Machine {
        let port = Port::choose();
        let monitor = format!("127.0.0.1:{port}");
        let own = ["--monitor", &monitor, "--slots", "40"];
        self.machine("worker", setup, &own, port).await
    }

    async fn machine(&mut self, kind: &str, setup: &Setup, own: &[&str], port: Port) -> Machine {
        self.started += 1;
        let mut arguments = setup.arguments(kind);
        arguments.extend(own.iter().map(|word| (*word).to_owned()));
        let name = format!("{kind}-{}", self.started);
        let mut role = Role::new(&name, &self.binary, &arguments, self.folder.path());
        role.start();
        self.logs.push(role.log().to_owned());
        let machine = Machine { role, port };
        self.answers(&machine).await;
        machine
    }

    async fn answers(&self, machine: &Machine) {
        let http = Http::new(vec![machine.url()]);
        let answers = async || matches!(http.ask(0, "/ok", None).await, Ok((200, _)));
        if !holds(answers).await {
            let log = std::fs::read_to_string(machine.role.log()).unwrap_or_default();
            panic!("{} does not answer:\n{log}", machine.role.name);
        }
    }

    /// A client of all gateways.
    pub(crate) fn http(&self) -> Http {
        Http::new(self.gateways.iter().map(Machine::url).collect())
    }

    /// Runs a statement in the database; see [`psql`].
    pub(crate) async fn sql(&self, statement: &str) -> String {
        psql(&self.truth, statement).await
    }

    /// What the graph wrote down so far, in the order of time.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let entries = self.logs.iter().flat_map(|log| witness::entries(log));
        let mut steps: Vec<Step> = entries.filter_map(|entry| Step::of(&entry)).collect();
        steps.sort_by(|a, b| a.at.total_cmp(&b.at));
        steps
    }

    /// Waits until the graph has written down a step of which `wanted` holds, and returns the first.
    pub(crate) async fn step(&self, what: &str, wanted: impl Fn(&Step) -> bool) -> Step {
        let mut found = None;
        self.until(what, async || {
            found = self.steps().into_iter().find(&wanted);
            found.is_some()
        })
        .await;
        found.expect("it was awaited")
    }

    /// Waits until `condition` holds; fails with the ends of all logs if it does not in time.
    pub(crate) async fn until(&self, what: &str, condition: impl AsyncFnMut() -> bool) {
        if holds(condition).await {
            return;
        }
        panic!("waited in vain for {what}\n{}", self.warnings());
    }

    /// Waits until no run is in flight. The time it took.
    pub(crate) async fn quiet(&self) -> Duration {
        let began = Instant::now();
        let busy = "select (select count(*) from runs where status in ('pending', 'running')) \
                    + (select count(*) from threads where status = 'busy')";
        self.until("all runs to end", async || self.sql(busy).await == "0")
            .await;
        began.elapsed()
    }

    /// The last warnings and errors of each log.
    pub(crate) fn warnings(&self) -> String {
        let mut text = String::new();
        for log in &self.logs {
            let lines = witness::entries(log).into_iter();
            let loud: Vec<_> = lines
                .filter(|line| matches!(line["level"].as_str(), Some("WARN" | "ERROR")))
                .map(|line| line.to_string())
                .collect();
            let from = loud.len().saturating_sub(8);
            text.extend([log.display().to_string(), ":\n".to_owned()]);
            text.extend(loud[from..].iter().map(|line| format!("  {line}\n")));
        }
        text
    }
}

impl Machine {
    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.role.pid()
    }

    /// Asks it to stop and waits until it has. Its port is free then. The time it took.
    pub(crate) async fn stop(self) -> (Port, Duration) {
        self.role.signal(Signal::TERM);
        self.ended(Instant::now()).await
    }

    /// Waits until it has stopped, which it was asked to at `began`: asked twice it stops at once.
    pub(crate) async fn ended(mut self, began: Instant) -> (Port, Duration) {
        let name = self.role.name.clone();
        assert!(
            holds(async || !self.role.is_running()).await,
            "{name} does not stop"
        );
        (self.port, began.elapsed())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Whoever looks for the reason needs the logs.
        self.folder.disable_cleanup(std::thread::panicking());
    }
}

/// Whether `condition` comes to hold in time.
async fn holds(mut condition: impl AsyncFnMut() -> bool) -> bool {
    let began = Instant::now();
    while !condition().await {
        if began.elapsed() > PATIENCE {
            return false;
        }
        sleep(GLANCE).await;
    }
    true
}
