//! How processes start, and what is said when they do not.

use std::time::Duration;

use runloom_remote::process::{Process, StartError};
use serde_json::json;

use crate::support::{Runs, launch, soon, values};

#[tokio::test]
async fn a_process_says_what_it_has() {
    let process = soon(Process::start(&launch(&[]))).await.unwrap();
    let manifest = process.manifest();
    assert_eq!(manifest.language, "python");
    assert_eq!(manifest.pid, process.pid());
    assert_eq!(manifest.graphs[0].id, "echo");
    let mut call = process.run("echo", json!({"a": [1]}));
    assert_eq!(values(&mut call).await, json!({"a": [1]}));
}

#[tokio::test]
async fn a_process_gets_its_own_variables_and_not_the_workers() {
    let launch = launch(&[("FAKE", "x")]);
    let process = soon(Process::start(&launch)).await.unwrap();
    let found = values(&mut process.run("environment", json!(null))).await;
    assert_eq!(found["fake"], "x");
    // Whatever the test itself was started with.
    assert_eq!(
        found["ours"],
        json!(["RUNLOOM_CONTROL_FD", "RUNLOOM_DATA_FD"])
    );
    let folder = launch.folder.canonicalize().unwrap();
    assert_eq!(found["folder"], json!(folder));
}

async fn failure(environment: &[(&str, &str)]) -> StartError {
    let started = soon(Process::start(&launch(environment))).await;
    started.err().expect("it should not start")
}

#[tokio::test]
async fn a_process_that_dies_while_it_starts_is_quoted() {
    let error = failure(&[("FAKE_START", "die")]).await;
    let StartError::Died { exit, said } = &error else {
        panic!("{error:?}");
    };
    assert!(exit.contains('7'), "{exit}");
    assert_eq!(said, "Traceback: no module named langgraph");
}

#[tokio::test]
async fn a_process_has_a_limited_time_to_start() {
    let mut launch = launch(&[("FAKE_START", "hang")]);
    launch.patience = Duration::from_secs(1);
    let error = soon(Process::start(&launch)).await.err().unwrap();
    assert!(matches!(error, StartError::Late { .. }), "{error:?}");
}

#[tokio::test]
async fn a_process_may_refuse_and_be_refused() {
    for how in ["refuse", "version"] {
        let error = failure(&[("FAKE_START", how)]).await;
        assert!(
            matches!(&error, StartError::Refused(error) if error.kind == "Protocol"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn an_interpreter_that_is_not_there_is_named() {
    let mut launch = launch(&[]);
    launch.interpreter = "/nowhere/python".into();
    let error = soon(Process::start(&launch)).await.err().unwrap();
    assert!(error.to_string().contains("/nowhere/python"), "{error}");
}
