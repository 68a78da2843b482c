//! LangGraph's conformance tests of checkpointers, in Python, on the databases of the worker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod host;
mod opener;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use command_fds::CommandFdExt;
use runloom_core::database::Database;
use runloom_remote::peer::Peer;
use runloom_testkit::doubles::ManualClock;
use runloom_testkit::services::shared;
use tokio::process::Command;
use tokio::time::timeout;

use opener::Opener;

/// How long all of it may take.
const NEVER: Duration = Duration::from_mins(5);

/// The interpreter to test with: it has langgraph, pytest and langgraph-checkpoint-conformance.
fn python() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    std::env::var_os("RUNLOOM_TEST_PYTHON").map_or_else(own, PathBuf::from)
}

/// Runs the tests against `database`.
async fn conforms(database: Arc<dyn Database>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let peer = Arc::new(Peer::start(tokio::net::UnixStream::from_std(ours).unwrap()));
    let opener = Opener::new(database, &peer).await;
    let _maintenance = peer.register(0, opener.clone());
    let theirs = OwnedFd::from(theirs);
    let mut pytest = Command::new(python());
    pytest
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .args(["tests/test_conformance.py", "-k", "on_a_database"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("python"))
        .env("PYTHONPATH", ".")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("RUNLOOM_CONFORMANCE_FD", theirs.as_raw_fd().to_string())
        .kill_on_drop(true)
        .preserved_fds(vec![theirs]);
    let output = timeout(NEVER, pytest.output()).await;
    let output = output.expect("pytest should have ended long ago");
    let output = output.expect("RUNLOOM_TEST_PYTHON should name an interpreter");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    assert!(said.contains("1 passed"), "{said}{complaint}");
}

#[tokio::test]
async fn sqlite_conforms() {
    use runloom_sqlite::{Config, Location, Sqlite};

    let folder = tempfile::tempdir().unwrap();
    let location = Location::Folder(folder.path().to_owned());
    let database = Sqlite::open(location, ManualClock::new(), Config::default()).await;
    conforms(Arc::new(database.unwrap())).await;
}

#[tokio::test]
async fn postgres_conforms() {
    use runloom_postgres::{Config, Postgres};

    let url = shared::new_database().await;
    let database = Postgres::connect(&url, Config::default()).unwrap();
    database.migrate().await.unwrap();
    conforms(Arc::new(database)).await;
}
