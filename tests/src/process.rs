//! A gateway or a worker: one process after the other under one name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A place for a process that is started again and again. Dropping it kills the process.
pub struct Role {
    /// Its name, for people.
    pub name: String,
    binary: PathBuf,
    arguments: Vec<String>,
    /// What comes before the binary, such as another network.
    prefix: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Role {
    /// A process that is not started yet. What it logs is appended to `NAME.log` in `folder`.
    pub fn new(name: &str, binary: &Path, arguments: &[String], folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            binary: binary.to_owned(),
            arguments: arguments.to_vec(),
            prefix: Vec::new(),
            log: folder.join(format!("{name}.log")),
            child: None,
        }
    }

    /// Has it started by this command, which gets the binary and its arguments and becomes it.
    pub fn by(mut self, prefix: &[String]) -> Self {
        self.prefix = prefix.to_vec();
        self
    }

    /// Has it started from this binary from now on.
    pub fn replace(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// Starts the process. To be called by a thread that lives as long as the test: for the kernel,
    /// which ends the process with its parent, the parent is that thread.
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.expect("the log can be written");
        let mut words = self.prefix.clone();
        if cfg!(target_os = "linux") {
            words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        }
        words.push(self.binary.display().to_string());
        words.extend(self.arguments.clone());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", words[0]));
        self.child = Some(child);
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Whether the process is there. It may have ended by itself.
    pub fn is_running(&mut self) -> bool {
        let ended = self
            .child
            .as_mut()
            .is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
        !ended
    }

    /// Sends a signal, if the process is there.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may just have ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// kill -9. Returns when the process is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may just have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Where its log is.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.kill();
    }
}
