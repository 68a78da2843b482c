//! Nothing that a worker started outlives it, nor does what user code started outlive its executor.

use std::path::Path;

use runloom_remote::process::Process;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;

use crate::support::{Runs, launch, soon};

/// Where the address is found that the processes of a test connect to.
const ADDRESS: &str = "RUNLOOM_TEST_ADDRESS";

/// Starts an executor which stays, whatever happens to its sockets, and so does its child.
async fn stubborn(address: &Path) -> Process {
    let process = soon(Process::start(&launch(&[("FAKE_END", "stay")])))
        .await
        .unwrap();
    drop(process.run("stay", json!(address)));
    process
}

/// Connections from an executor and its child. The system closes them when the processes end.
async fn connected(listener: &UnixListener) -> Vec<UnixStream> {
    let mut connections = Vec::new();
    while connections.len() < 2 {
        connections.push(soon(listener.accept()).await.unwrap().0);
    }
    connections
}

async fn gone(connections: Vec<UnixStream>) {
    for mut connection in connections {
        let ended = soon(connection.read(&mut [0])).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
}

fn listener() -> (tempfile::TempDir, std::path::PathBuf, UnixListener) {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("s");
    let listener = UnixListener::bind(&address).unwrap();
    (folder, address, listener)
}

#[tokio::test]
async fn a_killed_worker_leaves_nothing_behind() {
    let (_folder, address, listener) = listener();
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "outlive::worker"])
        .env(ADDRESS, &address)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let connections = connected(&listener).await;
    worker.kill().await.unwrap();
    gone(connections).await;
}

/// Not a test: the worker of the test above.
#[tokio::test]
#[ignore = "started by another test"]
async fn worker() {
    let Some(address) = std::env::var_os(ADDRESS) else {
        return;
    };
    let _process = stubborn(Path::new(&address)).await;
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_dropped_process_leaves_nothing_behind() {
    let (_folder, address, listener) = listener();
    let process = stubborn(&address).await;
    let connections = connected(&listener).await;
    drop(process);
    gone(connections).await;
}

#[test]
fn nothing_is_left_when_the_runtime_ends() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let (_folder, address, listener) = second.block_on(async { listener() });
    let process = first.block_on(stubborn(&address));
    let connections = second.block_on(connected(&listener));
    // Neither the process is dropped nor can its tasks do anything.
    drop(first);
    second.block_on(gone(connections));
    drop(process);
}

#[tokio::test]
async fn children_of_a_process_that_dies_end_with_it() {
    let (_folder, address, listener) = listener();
    let process = stubborn(&address).await;
    let connections = connected(&listener).await;
    drop(process.run("die", json!(null)));
    soon(process.gone()).await;
    gone(connections).await;
}
