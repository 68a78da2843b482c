use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use runloom_core::checkpoint::{CheckpointTuple, NewWrites};
use runloom_core::executor::{Attempt, ExecutorError, Host, HostError, Work};
use runloom_core::ids::{AssistantId, GraphId, RunId, ThreadId};
use runloom_core::json::JsonMap;
use runloom_core::run::RunKwargs;
use runloom_testkit::doubles::{HostDouble, TokioClock};
use serde_json::json;
use tokio::sync::watch;

use super::{convert, errors, events, request};
use crate::peer::CallError;
use crate::protocol::{
    Event, HeadBody, PutCheckpoint, PutWrites, RemoteError, SaidPiece, Typed, VersionedBlob,
    WriteRow,
};

fn put() -> PutCheckpoint {
    PutCheckpoint {
        ns: "child:1".to_owned(),
        id: "c2".to_owned(),
        parent: Some("c1".to_owned()),
        metadata: Bytes::from_static(br#"{"source":"loop","step":1}"#),
        head: Typed("msgpack".to_owned(), Bytes::from_static(b"\x80")),
        versions: BTreeMap::from([("messages".to_owned(), "0002.5".to_owned())]),
        blobs: vec![VersionedBlob(
            "messages".to_owned(),
            "0002.5".to_owned(),
            "bytes".to_owned(),
            Bytes::from_static(b"\x00\xff"),
        )],
        created_at: "2024-02-29T23:59:58.123456+02:00".to_owned(),
    }
}

fn write() -> WriteRow {
    WriteRow(
        "t1".to_owned(),
        "~path".to_owned(),
        -3,
        "__interrupt__".to_owned(),
        "msgpack".to_owned(),
        Bytes::from_static(b"\xc0"),
    )
}

#[test]
fn a_checkpoint_reads_back_as_it_was_put() {
    let (thread, run) = (ThreadId::new(), RunId::new());
    let new = convert::new_checkpoint(put(), thread, Some(run)).unwrap();
    let NewWrites { writes, .. } = convert::new_writes(PutWrites {
        ns: String::new(),
        checkpoint_id: "c2".to_owned(),
        writes: vec![write()],
    });
    let channels = new.blobs.iter();
    let tuple = convert::tuple(CheckpointTuple {
        checkpoint: new.checkpoint.clone(),
        channels: channels
            .map(|blob| (blob.channel.clone(), blob.blob.clone()))
            .collect(),
        writes,
    });
    let put = put();
    assert_eq!(
        (&tuple.ns, &tuple.id, &tuple.parent),
        (&put.ns, &put.id, &put.parent)
    );
    assert_eq!(tuple.run_id, Some(run.to_string()));
    assert_eq!((&tuple.metadata, &tuple.head), (&put.metadata, &put.head));
    assert_eq!(tuple.versions, put.versions);
    assert_eq!(tuple.created_at, "2024-02-29T21:59:58.123456Z");
    let channel = &tuple.channels[0];
    assert_eq!(
        (channel.1.as_str(), &channel.2[..]),
        ("bytes", &b"\x00\xff"[..])
    );
    assert_eq!(tuple.writes, [write()]);
}

#[test]
fn what_is_not_valid_is_told_to_the_executor_and_not_stored() {
    let broken = [
        PutCheckpoint {
            metadata: Bytes::from_static(b"[]"),
            ..put()
        },
        PutCheckpoint {
            created_at: "yesterday".to_owned(),
            ..put()
        },
    ];
    for put in broken {
        let odd = convert::new_checkpoint(put, ThreadId::new(), None).unwrap_err();
        assert_eq!(RemoteError::from(odd).kind, RemoteError::INVALID);
    }
    let head = HeadBody {
        checkpoint_id: None,
        values: Bytes::from_static(b"{\"a\":"),
        next: Vec::new(),
        interrupts: Bytes::from_static(b"{}"),
    };
    assert!(convert::head(head).is_err());
}

#[test]
fn events_keep_everything_and_those_without_a_name_on_the_wire_are_dropped() {
    let said = SaidPiece("t".into(), "n".into(), "m".into(), "hi".into());
    let data = Bytes::from_static(b"[1]");
    let event = |name: &str| {
        let ns = vec!["child:1".to_owned()];
        Event(name.to_owned(), ns, data.clone(), Some(said.clone()))
    };
    let emission = events::emission(event("messages/partial")).unwrap();
    assert_eq!(emission.event, "messages/partial");
    assert_eq!(
        (emission.ns, emission.data),
        (vec!["child:1".to_owned()], data.clone())
    );
    assert_eq!(emission.said.unwrap().text, "hi");
    assert!(events::emission(event("gossip")).is_none());
}

#[test]
fn errors_mean_on_this_side_what_they_mean_on_the_other() {
    let graph = GraphId("agent".to_owned());
    let of = |kind: &str| {
        let refusal = RemoteError::new(kind, "why");
        errors::of_question(CallError::Refused(refusal), &graph)
    };
    assert!(matches!(of("UnknownGraph"), ExecutorError::UnknownGraph(named) if named == graph));
    assert!(matches!(of("Invalid"), ExecutorError::Invalid(text) if text == "why"));
    assert!(matches!(
        of("Fenced"),
        ExecutorError::Host(HostError::Fenced)
    ));
    let unavailable = of("Unavailable");
    assert!(matches!(
        unavailable,
        ExecutorError::Host(HostError::Unavailable(_))
    ));
    assert!(matches!(of("KeyError"), ExecutorError::Failed(_)));
    let gone = errors::of_question(CallError::Gone, &graph);
    assert!(matches!(gone, ExecutorError::Unavailable(_)));
    assert_eq!(
        errors::refusal(&HostError::Fenced).kind,
        RemoteError::FENCED
    );
}

fn attempt_on(thread_id: ThreadId) -> Attempt {
    let graph_id = GraphId("agent".to_owned());
    Attempt {
        run_id: RunId::new(),
        thread_id,
        assistant_id: AssistantId::of_graph(&graph_id),
        graph_id,
        attempt: 1,
        kwargs: RunKwargs::default(),
        metadata: JsonMap::default(),
        work: Work::Run,
        stop: watch::channel(None).1,
    }
}

#[tokio::test]
async fn the_newest_checkpoint_travels_with_a_run_unless_it_is_large_or_not_wanted() {
    let thread = ThreadId::new();
    let host = HostDouble::new(thread, Arc::new(TokioClock::start()));
    let mut attempt = attempt_on(thread);
    assert_eq!(request::latest(&attempt, &*host).await, Some(Vec::new()));

    let at_root = |id: &str, size: usize| {
        let mut put = put();
        (put.ns, put.id) = (String::new(), id.to_owned());
        put.blobs[0].1 = id.to_owned();
        put.blobs[0].3 = vec![0; size].into();
        put.versions = BTreeMap::from([("messages".to_owned(), id.to_owned())]);
        convert::new_checkpoint(put, thread, Some(attempt.run_id)).unwrap()
    };
    for (id, size, travels) in [("c2", 3, true), ("c3", 1 << 20, false), ("c4", 3, true)] {
        host.put_checkpoint(at_root(id, size)).await.unwrap();
        let latest = request::latest(&attempt, &*host).await;
        let ids = latest.map(|latest| latest.into_iter().map(|tuple| tuple.id).collect::<Vec<_>>());
        assert_eq!(ids, travels.then(|| vec![id.to_owned()]));
    }

    let serde_json::Value::Object(config) = json!({"configurable": {"checkpoint_id": "c2"}}) else {
        unreachable!("it is an object");
    };
    attempt.kwargs.config = config;
    assert_eq!(request::latest(&attempt, &*host).await, None);
}
