//! The process group of an executor, which does not outlive the worker.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tracing::warn;

/// Waits for the end of its input, which only the worker holds, and kills the group. Works also where the
/// worker is killed itself, and for children of user code, which know nothing of the worker.
const GUARD: &str = "trap '' HUP INT TERM; read _; kill -s KILL -- \"-$0\"";

/// A process group that is killed when this is dropped, or when the worker ends in whatever way.
pub(super) struct Group {
    leader: Pid,
    guard: Option<Child>,
    over: bool,
}

impl Group {
    /// Guards the group of a process that was just started as the leader of its group.
    pub(super) fn guard(leader: Pid) -> Self {
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD])
            .arg(leader.as_raw_nonzero().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn();
        // Without it the executor still ends with the worker; only its children may stay.
        let guard = guard
            .inspect_err(|error| warn!(%error, "executors have no guard"))
            .ok();
        Self {
            leader,
            guard,
            over: false,
        }
    }

    /// Asks the leader to end, which must not have been waited for.
    pub(super) fn ask_leader_to_end(&self) {
        // The only error is that it has ended already.
        let _ = kill_process(self.leader, Signal::TERM);
    }

    /// Kills everything in the group.
    pub(super) fn kill(&self) {
        // The only error is that nothing is left.
        let _ = kill_process_group(self.leader, Signal::KILL);
    }

    /// Kills what is left of the group. To be called as soon as the leader was waited for: its number is
    /// free for others then.
    pub(super) async fn end(mut self) {
        if let Some(guard) = &mut self.guard {
            // Before its number can mean another group.
            let _ = guard.start_kill();
        }
        self.kill();
        self.over = true;
        if let Some(guard) = &mut self.guard {
            let _ = guard.wait().await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
        }
    }
}
