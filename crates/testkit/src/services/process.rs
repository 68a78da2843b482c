//! A server's process, its folder and its port.

use std::fmt;
use std::fs::{DirEntry, File, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// How long anything here may take before the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often a condition of another process is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// A running server. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`, as `user` where one is named; what it prints is appended to the file `log`.
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        user: Option<User>,
        log: &Path,
    ) -> Self {
        let mut command = if cfg!(target_os = "linux") {
            // The kernel ends it with this process, also if that is killed.
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let output = File::options().create(true).append(true).open(log);
        let output = output.expect("the log can be written");
        let errors = output.try_clone().expect("a second handle");
        command
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null());
        // Its own group: a Ctrl-C is for the tests, which then decide.
        command.stdout(output).stderr(errors).process_group(0);
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
        let child = spawn(command).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let log = log.to_owned();
        Self { child, log }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn signal(&self, signal: Signal) {
        send(self.id(), signal);
    }

    /// Stops all its threads. Returns when they stand still.
    pub(super) fn pause(&self) {
        self.signal(Signal::STOP);
        let threads = format!("/proc/{}/task", self.id());
        let moves = |thread: io::Result<DirEntry>| {
            thread
                .is_ok_and(|thread| !matches!(state(&thread.path()), None | Some('T' | 'Z' | 'X')))
        };
        // Each thread stops when it next comes by, which is a matter of a millisecond.
        while std::fs::read_dir(&threads).is_ok_and(|mut all| all.any(moves)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// kill -9. Returns when the process is gone.
    pub(super) fn kill(&mut self) {
        // Fails only if it has ended already.
        drop(self.child.kill());
        self.child.wait().expect("our own child");
    }

    /// kill -9 of the process and all its children, as if their machine had lost its power.
    pub(super) fn kill_all(&mut self) {
        // While it is stopped it can have no new ones.
        self.pause();
        let id = self.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        self.kill();
        let children: Vec<u32> = children
            .unwrap_or_default()
            .split_whitespace()
            .map(|child| child.parse().expect("a process id"))
            .collect();
        for child in &children {
            send(*child, Signal::KILL);
        }
        // They are orphans now, so nobody tells us of their end, which is a matter of a millisecond.
        while children.iter().any(|child| executes(*child)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the process has ended.
    pub(super) async fn ended(&mut self) {
        until("a server to end", async || self.has_ended()).await;
    }

    /// Waits until the server takes requests, which is when `probe` says so.
    pub(super) async fn ready(&mut self, mut probe: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !probe().await {
            if self.has_ended() || Instant::now() > deadline {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!("a server did not start:\n{log}");
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until `condition` holds of another process, which cannot tell us by itself.
pub(super) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(GLANCE).await;
    }
}

/// Signals a process that may have ended already.
fn send(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    let _ = kill_process(id.expect("a process id"), signal);
}

/// Whether the process is there, and not only waits for its parent to hear of its end.
fn executes(id: u32) -> bool {
    let state = state(&PathBuf::from(format!("/proc/{id}")));
    !matches!(state, None | Some('Z' | 'X'))
}

/// The letter for the state of a process or thread, by its folder in /proc; none if it is gone.
fn state(folder: &Path) -> Option<char> {
    let line = std::fs::read_to_string(folder.join("stat")).ok()?;
    line.rsplit(") ").next()?.chars().next()
}

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Spawns a process from a thread that lives as long as this process: for the kernel, the thread that
/// spawned is the parent with whose death the child ends, and a test's threads come and go.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                drop(answer.send(command.spawn()));
            }
        });
        jobs
    });
    let (answer, answered) = mpsc::channel();
    SPAWNER.send((command, answer)).expect("the thread lives");
    answered.recv().expect("the thread answers")
}

/// Runs a command to its end and returns what it printed; panics with its errors if it fails.
pub(super) async fn run(program: &Path, arguments: &[&str], user: Option<User>) -> String {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).current_dir("/").kill_on_drop(true);
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    let name = program.display();
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{name} took too long"));
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

/// Who a server runs as if not as us.
#[derive(Clone, Copy)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The user `postgres` if we are root, as whom neither Postgres nor `PgBouncer` will run.
    pub(super) async fn unprivileged() -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let id = Path::new("id");
        let uid = run(id, &["-u", "postgres"], None).await;
        let gid = run(id, &["-g", "postgres"], None).await;
        let number = |text: String| text.parse().expect("a number");
        Some(Self {
            uid: number(uid),
            gid: number(gid),
        })
    }
}

/// Makes a folder for one server, which `user` may fill.
pub(super) fn folder(user: Option<User>) -> TempDir {
    let parent =
        std::env::var_os("RUNLOOM_TEST_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::Builder::new()
        .prefix("server-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .expect("a folder for the server");
    if let Some(user) = user {
        std::os::unix::fs::chown(folder.path(), Some(user.uid), Some(user.gid)).expect("root may");
    }
    folder
}

/// A TCP port of the loopback that nobody else takes, also while the server is down.
pub struct Port {
    number: u16,
    /// The UDP port of the same number, which keeps other tests away.
    _claim: UdpSocket,
}

impl Port {
    /// Chooses a free one below those of outgoing connections.
    pub fn choose() -> Self {
        loop {
            let number = rand::random_range(10_000..32_000);
            let address = (Ipv4Addr::LOCALHOST, number);
            if let (Ok(claim), Ok(_)) = (UdpSocket::bind(address), TcpListener::bind(address)) {
                return Self {
                    number,
                    _claim: claim,
                };
            }
        }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}
