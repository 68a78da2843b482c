//! Sees a process through to its end.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Exit;
use super::group::Group;
use crate::logs::Tail;

/// How long a process that closed its sockets has to end by itself.
const CLOSING: Duration = Duration::from_secs(1);

/// How long a process that was asked to end may take for what user code wants done then.
const GENTLE: Duration = Duration::from_secs(3);

/// How long to wait for what a process that is gone has said.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What belongs to a process and ends with it.
pub(super) struct Watched {
    pub(super) child: Child,
    pub(super) group: Group,
    /// Asks to kill it.
    pub(super) kill: CancellationToken,
    /// Asks to end it.
    pub(super) end: CancellationToken,
    /// The conversations with it.
    pub(super) control: CancellationToken,
    pub(super) data: CancellationToken,
    /// Who reads what it writes.
    pub(super) output: TaskTracker,
    pub(super) tail: Tail,
    /// To be told how it ended.
    pub(super) exit: watch::Sender<Option<Exit>>,
}

impl Watched {
    /// Returns when the process and everything in its group are gone.
    pub(super) async fn until_gone(mut self) {
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = self.kill.cancelled() => self.kill_now().await,
            () = self.end.cancelled() => self.end_gently().await,
            () = self.control.cancelled() => self.closing().await,
            () = self.data.cancelled() => self.closing().await,
        };
        self.group.end().await;
        // What it sent before it ended is read to the end. Whoever left the group may still hold the sockets
        // and pipes.
        let (control, data) = (self.control.cancelled(), self.data.cancelled());
        let last_words = async { tokio::join!(control, data, self.output.wait()) };
        let _ = timeout(LAST_WORDS, last_words).await;
        self.control.cancel();
        self.data.cancel();
        let exit = Exit {
            how: status.map_or_else(|error| error.to_string(), |status| status.to_string()),
            said: self.tail.text(),
        };
        self.exit.send_replace(Some(exit));
    }

    async fn closing(&mut self) -> std::io::Result<ExitStatus> {
        match timeout(CLOSING, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => self.kill_now().await,
        }
    }

    async fn end_gently(&mut self) -> std::io::Result<ExitStatus> {
        self.group.ask_leader_to_end();
        let ended = tokio::select! {
            status = self.child.wait() => Some(status),
            () = self.kill.cancelled() => None,
            () = sleep(GENTLE) => None,
        };
        match ended {
            Some(status) => status,
            None => self.kill_now().await,
        }
    }

    async fn kill_now(&mut self) -> std::io::Result<ExitStatus> {
        self.group.kill();
        self.child.wait().await
    }
}
