//! A private `PgBouncer` in transaction mode.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::process::{Port, Process, User, folder};
use super::{postgres, variable};

/// A `PgBouncer` before a Postgres of the test's own, in transaction mode, else as strict as its
/// defaults: it refuses a client's start parameters that it does not know.
pub struct Server {
    process: Process,
    port: Port,
    user: Option<User>,
    folder: TempDir,
}

impl Server {
    /// Starts one before `postgres`, with 20 connections to each database.
    pub async fn start(postgres: &postgres::Server) -> Self {
        Self::start_with(postgres, &[]).await
    }

    /// Like `start`, with further settings of the section `pgbouncer`.
    pub async fn start_with(postgres: &postgres::Server, settings: &[(&str, &str)]) -> Self {
        let user = User::unprivileged().await;
        let (folder, port) = (folder(user), Port::choose());
        let users = folder.path().join("users");
        fs::write(&users, "\"postgres\" \"\"\n").expect("the users");
        let mut config = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\npool_mode = transaction\nauth_type = trust\n\
             auth_file = {}\nmax_client_conn = 1000\n",
            postgres.port(),
            users.display()
        );
        for (name, value) in settings {
            writeln!(config, "{name} = {value}").expect("a string takes it");
        }
        fs::write(folder.path().join("config"), config).expect("the configuration");
        let process = launch(&folder, user);
        let mut server = Self {
            process,
            port,
            user,
            folder,
        };
        server.ready().await;
        server
    }

    /// The URL of the database `name` through it.
    pub fn database_url(&self, name: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// The server's folder: what the server printed is in `log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// kill -9, and a new process on the same port.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = launch(&self.folder, self.user);
        self.ready().await;
    }

    async fn ready(&mut self) {
        let port = self.port.number();
        let answers = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        self.process.ready(answers).await;
    }
}

fn launch(folder: &TempDir, user: Option<User>) -> Process {
    let program = PathBuf::from(variable("RUNLOOM_TEST_PGBOUNCER_BIN"));
    let config = folder.path().join("config").display().to_string();
    Process::start(&program, &[config], user, &folder.path().join("log"))
}
