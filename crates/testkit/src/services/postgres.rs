//! A private Postgres, with a standby if wanted.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{Port, Process, User, folder, run, until};
use super::variable;

/// How a server for tests differs from the default: small, and careless about the machine's own death.
/// What it acknowledged survives the death of its processes all the same.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("max_connections", "400"),
    ("shared_buffers", "32MB"),
    ("timezone", "UTC"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
];

/// A Postgres of the test's own, on one loopback port for its whole life.
pub struct Server {
    process: Option<Process>,
    port: Port,
    /// The arguments of every start.
    arguments: Vec<String>,
    user: Option<User>,
    folder: TempDir,
}

impl Server {
    /// Makes a fresh server and starts it.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Like `start`, with further settings, which no SQL can change: `&[("max_connections", "20")]`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::new(settings, User::unprivileged().await);
        let data = server.data();
        let data = data.to_str().expect("a readable path");
        let options = [
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
            data,
        ];
        run(&binary("initdb"), &options, server.user).await;
        server.restart().await;
        server
    }

    /// Chooses what a server is started with; its data are still missing.
    fn new(settings: &[(&str, &str)], user: Option<User>) -> Self {
        let (folder, port) = (folder(user), Port::choose());
        let data = folder.path().join("data");
        let mut arguments = vec![
            "-D".into(),
            data.display().to_string(),
            "-p".into(),
            port.to_string(),
        ];
        for (name, value) in SETTINGS.iter().chain(settings) {
            arguments.extend(["-c".into(), format!("{name}={value}")]);
        }
        Self {
            process: None,
            port,
            arguments,
            user,
            folder,
        }
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The URL of the database `postgres`, as a superuser.
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// The URL of the database `name`, as a superuser.
    pub fn database_url(&self, name: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// The server's folder: the data in `data`, what the server printed in `log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes an empty database and returns its URL.
    pub async fn create_database(&self, name: &str) -> String {
        self.sql(&format!("CREATE DATABASE {name}")).await;
        self.database_url(name)
    }

    /// Runs a statement in the database `postgres` and returns its rows, one a line, the columns
    /// separated by `|`.
    pub async fn sql(&self, statement: &str) -> String {
        psql(&self.url(), statement).await
    }

    /// Changes a setting that can be changed while the server runs, for good.
    pub async fn set(&self, name: &str, value: &str) {
        self.sql(&format!("ALTER SYSTEM SET {name} = {value}"))
            .await;
        self.sql("SELECT pg_reload_conf()").await;
    }

    /// Stops in order, which ends all sessions: what a planned restart does (`fast`).
    pub async fn stop(&mut self) {
        self.end_by(Signal::INT).await;
    }

    /// Stops at once; the next start recovers from the log (`immediate`).
    pub async fn stop_immediately(&mut self) {
        self.end_by(Signal::QUIT).await;
    }

    /// kill -9 of all its processes.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill_all();
        }
    }

    /// Starts again on the same port and data; kills it first if it runs.
    pub async fn restart(&mut self) {
        self.kill();
        let log = self.folder.path().join("log");
        let mut process = Process::start(&binary("postgres"), &self.arguments, self.user, &log);
        let (state, id) = (self.data().join("postmaster.pid"), process.id().to_string());
        process.ready(async || is_ready(&state, &id)).await;
        self.process = Some(process);
    }

    /// Makes a standby of this server. When it returns, every commit here waits until the standby has
    /// it too. The standby's name is for `pg_stat_replication`.
    pub async fn add_standby(&self, name: &str) -> Self {
        let mut standby = Self::new(&[], self.user);
        let data = standby.data();
        let data = data.to_str().expect("a readable path");
        let from = format!("{}?application_name={name}", self.url());
        // `-R` writes down whom to follow.
        let options = [
            "-d",
            &from,
            "-D",
            data,
            "-R",
            "-X",
            "stream",
            "--checkpoint=fast",
            "--no-sync",
        ];
        run(&binary("pg_basebackup"), &options, self.user).await;
        standby.restart().await;
        self.set("synchronous_standby_names", &format!("'\"{name}\"'"))
            .await;
        let follows = format!(
            "SELECT count(*) FROM pg_stat_replication \
             WHERE application_name = '{name}' AND sync_state = 'sync'"
        );
        until("the standby to follow", async || {
            self.sql(&follows).await == "1"
        })
        .await;
        standby
    }

    /// Makes a standby the primary: it takes writes when this returns.
    pub async fn promote(&self) {
        let promoted = self.sql("SELECT pg_promote(true, 30)").await;
        assert_eq!(promoted, "t", "the standby was not promoted");
    }

    async fn end_by(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            process.signal(signal);
            process.ended().await;
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the server with this process id has written that it takes connections.
fn is_ready(state: &Path, id: &str) -> bool {
    let state = fs::read_to_string(state).unwrap_or_default();
    let mut lines = state.lines();
    // What a killed server has left says "ready" too.
    lines.next() == Some(id) && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

fn binary(name: &str) -> PathBuf {
    Path::new(&variable("RUNLOOM_TEST_POSTGRES_BIN")).join(name)
}

/// Runs a statement in the database at `url`, of whichever server; see `Server::sql`.
pub async fn psql(url: &str, statement: &str) -> String {
    let options = [
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        url,
        "-c",
        statement,
    ];
    run(&binary("psql"), &options, None).await
}
