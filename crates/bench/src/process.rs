//! A server started for the measurement.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A server in a folder of its own; stopped and removed when dropped.
pub(crate) struct Server {
    child: Child,
    url: String,
    data: PathBuf,
}

impl Server {
    /// Starts `bin` on a free port and waits until it says where it listens.
    pub(crate) async fn start(bin: &Path) -> anyhow::Result<Self> {
        let data = std::env::temp_dir().join(format!("runloom-bench-{}", std::process::id()));
        let mut child = Command::new(bin)
            .args([
                "dev",
                "--port",
                "0",
                "--test-graphs",
                "--log",
                "warn",
                "--data",
            ])
            .arg(&data)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", bin.display()))?;
        let output = child
            .stdout
            .take()
            .context("the server's output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let url = loop {
            let line = lines
                .next_line()
                .await?
                .context("the server ended before it was ready")?;
            if let Some(at) = line.find("http://") {
                break line[at..]
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
            }
        };
        Ok(Self { child, url, data })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
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
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
