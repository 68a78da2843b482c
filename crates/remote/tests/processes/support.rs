//! A fake executor, and how to talk to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use runloom_remote::peer::{Call, Heard};
use runloom_remote::pool::{Place, PoolConfig};
use runloom_remote::process::{Launch, Process};
use runloom_remote::protocol::{self, *};

/// Nothing here takes long; whatever takes this long does not happen at all.
pub(crate) const NEVER: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(NEVER, what)
        .await
        .expect("it should have happened long ago")
}

/// Waits for something that tells nobody.
pub(crate) async fn until(mut it_is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !it_is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(waiting).await;
}

fn fake_executor() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_executor.py")
}

/// The interpreter to test with.
pub(crate) fn python() -> PathBuf {
    std::env::var_os("RUNLOOM_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// How to start the fake, with variables that make it misbehave.
pub(crate) fn launch(environment: &[(&str, &str)]) -> Launch {
    let source = GraphSource {
        path: "graph.py:graph".to_owned(),
        description: None,
    };
    Launch {
        interpreter: python(),
        arguments: vec!["-u".into(), fake_executor().into()],
        environment: environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        folder: std::env::temp_dir(),
        hello: Hello {
            protocol: PROTOCOL,
            graphs: BTreeMap::from([("echo".to_owned(), source)]),
            root: ".".to_owned(),
            dependencies: vec![],
            settings: Settings::default(),
        },
        patience: NEVER,
    }
}

/// A pool of one process.
pub(crate) fn one() -> PoolConfig {
    PoolConfig {
        processes: 1,
        max_runs: 2,
        spare: false,
        ..PoolConfig::default()
    }
}

/// What a run of the fake looks like.
pub(crate) fn run_of(graph: &str, input: &serde_json::Value) -> RunRequest {
    RunRequest {
        run_id: "r".to_owned(),
        thread_id: "t".to_owned(),
        assistant_id: "a".to_owned(),
        graph_id: graph.to_owned(),
        attempt: 1,
        work: WorkKind::Run,
        input: Some(serde_json::to_vec(input).unwrap().into()),
        command: None,
        config: Bytes::from_static(b"{}"),
        context: None,
        metadata: Bytes::from_static(b"{}"),
        stream_modes: vec!["custom".to_owned()],
        subgraphs: false,
        durability: "async".to_owned(),
        interrupt_before: None,
        interrupt_after: None,
        credit: 1 << 20,
        latest: None,
        trace: None,
    }
}

/// Something that runs can be started in.
pub(crate) trait Runs {
    fn run(&self, graph: &str, input: serde_json::Value) -> Call;
}

impl Runs for Process {
    fn run(&self, graph: &str, input: serde_json::Value) -> Call {
        self.open("run", &run_of(graph, &input), None).unwrap()
    }
}

impl Runs for Place {
    fn run(&self, graph: &str, input: serde_json::Value) -> Call {
        self.open("run", &run_of(graph, &input), None).unwrap()
    }
}

/// Stops a run.
pub(crate) fn stop(call: &Call) {
    let stop = Stop {
        kind: "interrupt".to_owned(),
        grace_ms: 100,
    };
    call.say(item::STOP, &stop).unwrap();
}

/// The answer of a run that succeeds.
pub(crate) async fn values(call: &mut Call) -> serde_json::Value {
    let ended: RunEnded = soon(call.reply()).await.unwrap();
    assert_eq!(ended.outcome, OutcomeKind::Success);
    serde_json::from_slice(&ended.head.unwrap().values).unwrap()
}

/// Waits until a run says that it goes on.
pub(crate) async fn goes_on(call: &mut Call) {
    let Heard::Item(said) = soon(call.next()).await else {
        panic!("the run is over");
    };
    let events: Vec<Event> = protocol::decode(&said.body).unwrap();
    assert_eq!(events[0].2, "\"waits\"");
}
