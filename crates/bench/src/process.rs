//! Servers started for the measurement.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How many processes of each role a cluster has.
const GATEWAYS: usize = 2;
const WORKERS: usize = 3;

/// A process; stopped when dropped, and its folder removed.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, if it does.
    url: Option<String>,
    data: Option<PathBuf>,
}

impl Server {
    /// Starts `bin` alone on a free port and waits until it says where it listens.
    pub(crate) async fn start(bin: &Path) -> anyhow::Result<Self> {
        let data = std::env::temp_dir().join(format!("runloom-bench-{}", std::process::id()));
        let folder = data.display().to_string();
        let arguments = ["dev", "--port", "0", "--data", &folder];
        let mut server = Self::spawn(bin, &arguments)?;
        server.data = Some(data);
        server.listening().await
    }

    /// Starts `bin` as gateways, which bring the schema, and as workers.
    pub(crate) async fn cluster(
        bin: &Path,
        database: &str,
        nats: &str,
    ) -> anyhow::Result<Vec<Self>> {
        let backends = ["--database-url", database, "--nats-url", nats];
        let mut servers = Vec::new();
        for _ in 0..GATEWAYS {
            let gateway = [&["gateway", "--port", "0", "--migrate"], &backends[..]].concat();
            servers.push(Self::spawn(bin, &gateway)?.listening().await?);
        }
        for _ in 0..WORKERS {
            let worker = [&["worker"], &backends[..]].concat();
            servers.push(Self::spawn(bin, &worker)?);
        }
        Ok(servers)
    }

    fn spawn(bin: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let child = Command::new(bin)
            .args(arguments)
            .args(["--test-graphs", "--log", "warn"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", bin.display()))?;
        Ok(Self {
            child,
            url: None,
            data: None,
        })
    }

    /// Waits until the server says where it listens.
    async fn listening(mut self) -> anyhow::Result<Self> {
        let output = self.child.stdout.take();
        let output = output.context("the server's output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let url = loop {
            let line = lines.next_line().await?;
            let line = line.context("the server ended before it was ready")?;
            if let Some(at) = line.find("http://") {
                break line[at..].split_whitespace().next().map(str::to_owned);
            }
        };
        self.url = url;
        Ok(self)
    }

    /// Where it listens, if it does.
    pub(crate) fn url(&self) -> Option<String> {
        self.url.clone()
    }

    /// Its resident memory, as the operating system counts it.
    pub(crate) fn memory_mib(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        if let Some(data) = &self.data {
            let _ = std::fs::remove_dir_all(data);
        }
    }
}
