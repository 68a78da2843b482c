//! Starts the process with its sockets.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;

use command_fds::CommandFdExt;
use rustix::process::Pid;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::Launch;
use super::group::Group;

/// Variables that begin like this are the worker's own: addresses and credentials that are no concern of
/// user code.
const OURS: &str = "RUNLOOM_";

/// A process that was just started.
pub(super) struct Spawned {
    pub(super) child: Child,
    pub(super) group: Group,
    pub(super) pid: u32,
    pub(super) control: UnixStream,
    pub(super) data: UnixStream,
}

/// Starts a process.
///
/// The process asks the system to be killed with its parent, which to Linux is the *thread* that forked. So
/// this must be called on a thread that lives as long as the runtime, never from `spawn_blocking`.
pub(super) fn spawn(launch: &Launch) -> io::Result<Spawned> {
    let (control, their_control) = pair()?;
    let (data, their_data) = pair()?;
    let mut command = Command::new(&launch.interpreter);
    command
        .args(&launch.arguments)
        .current_dir(&launch.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with(OURS)) {
        command.env_remove(name);
    }
    command
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .env("RUNLOOM_CONTROL_FD", their_control.as_raw_fd().to_string())
        .env("RUNLOOM_DATA_FD", their_data.as_raw_fd().to_string())
        // They keep their numbers: other ones could be taken by what the start itself needs.
        .preserved_fds(vec![their_control, their_data]);
    let child = command.spawn()?;
    let pid = child.id().expect("nobody has waited for it yet");
    let leader = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let group = Group::guard(leader.expect("a process id is a positive number"));
    Ok(Spawned {
        child,
        group,
        pid,
        control,
        data,
    })
}

/// Our end of a socket, and the end that is handed over.
fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}
