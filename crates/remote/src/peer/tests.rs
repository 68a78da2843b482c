use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use super::*;
use crate::frame::{self, Reader};

/// The other side, by hand.
struct Other {
    reads: Reader<tokio::net::unix::OwnedReadHalf>,
    writes: tokio::net::unix::OwnedWriteHalf,
}

fn connected() -> (Peer, Other) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (reads, writes) = theirs.into_split();
    let other = Other {
        reads: Reader::new(reads),
        writes,
    };
    (Peer::start(ours), other)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, what).await.expect("in time")
}

impl Other {
    async fn hears(&mut self) -> Frame {
        soon(self.reads.next()).await.unwrap().unwrap()
    }

    async fn says<B: Serialize>(&mut self, kind: Kind, call: u64, method: &str, body: &B) {
        let frame = Frame {
            kind,
            call,
            method: method.to_owned(),
            body: protocol::encode(body).unwrap(),
        };
        frame::write(&mut self.writes, &frame).await.unwrap();
    }
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    let (peer, mut other) = connected();
    let mut first = peer.open("a", &1).unwrap();
    let mut second = peer.open("b", &2).unwrap();
    assert_eq!(other.hears().await.method, "a");
    assert_eq!(other.hears().await.call, second.number());
    other.says(Kind::Reply, second.number(), "", &"two").await;
    other.says(Kind::Reply, first.number(), "", &"one").await;
    assert_eq!(soon(first.reply::<String>()).await.unwrap(), "one");
    assert_eq!(soon(second.reply::<String>()).await.unwrap(), "two");
    // After the answer nothing comes.
    assert!(matches!(
        soon(first.next()).await,
        Heard::Done(Err(CallError::Gone))
    ));
}

#[tokio::test]
async fn what_is_said_of_unknown_or_forgotten_calls_is_ignored() {
    let (peer, mut other) = connected();
    let forgotten = peer.open("a", &()).unwrap();
    let number = forgotten.number();
    drop(forgotten);
    for call in [number, 99] {
        other.says(Kind::Item, call, "x", &()).await;
        other.says(Kind::Reply, call, "", &()).await;
    }
    let mut call = peer.open("b", &()).unwrap();
    other.says(Kind::Reply, call.number(), "", &7).await;
    assert_eq!(soon(call.reply::<u8>()).await.unwrap(), 7);
    assert_eq!(peer.shared.calls().as_ref().unwrap().len(), 0);
}

#[tokio::test]
async fn items_go_both_ways() {
    let (peer, mut other) = connected();
    let mut call = peer.open("run", &()).unwrap();
    other.hears().await;
    call.say("stop", &"now").unwrap();
    let heard = other.hears().await;
    assert_eq!((heard.kind, heard.call), (Kind::Item, call.number()));
    other.says(Kind::Item, call.number(), "events", &[1]).await;
    let Heard::Item(said) = soon(call.next()).await else {
        panic!("no item");
    };
    assert_eq!(said.name, "events");
    assert_eq!(protocol::decode::<[u8; 1]>(&said.body).unwrap(), [1]);
}

#[tokio::test]
async fn everybody_hears_when_the_other_side_is_gone() {
    let (peer, other) = connected();
    let mut call = peer.open("a", &()).unwrap();
    drop(other);
    assert!(matches!(
        soon(call.reply::<()>()).await,
        Err(CallError::Gone)
    ));
    assert!(matches!(peer.open("b", &()), Err(CallError::Gone)));
    assert!(matches!(call.say("stop", &()), Err(CallError::Gone)));
}

#[tokio::test]
async fn nonsense_ends_the_conversation() {
    let (peer, mut other) = connected();
    let mut call = peer.open("a", &()).unwrap();
    other.writes.write_all(b"\x01\0\0\0\x07").await.unwrap();
    assert!(matches!(
        soon(call.reply::<()>()).await,
        Err(CallError::Gone)
    ));
}

#[tokio::test]
async fn a_dropped_peer_closes_its_socket() {
    let (peer, mut other) = connected();
    drop(peer);
    assert!(soon(other.reads.next()).await.is_none());
}

/// Answers `slow` when it is told to, `broken` with a panic, everything else at once.
#[derive(Default)]
struct Desk {
    go: Notify,
    answered: AtomicUsize,
}

#[async_trait]
impl Answers for Desk {
    async fn answer(&self, method: &str, _body: Bytes) -> Result<Bytes, RemoteError> {
        match method {
            "slow" => self.go.notified().await,
            "broken" => panic!("as asked"),
            _ => {}
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
        Ok(protocol::encode(&method).unwrap())
    }
}

#[derive(Serialize)]
struct Body {
    call: u64,
}

async fn refusal(other: &mut Other) -> String {
    let frame = other.hears().await;
    assert_eq!(frame.kind, Kind::Error);
    protocol::decode::<RemoteError>(&frame.body).unwrap().kind
}

#[tokio::test]
async fn a_slow_answer_holds_up_no_other() {
    let (peer, mut other) = connected();
    let desk = Arc::new(Desk::default());
    let _registration = peer.register(4, Arc::clone(&desk) as _);
    other
        .says(Kind::Request, 1, "slow", &Body { call: 4 })
        .await;
    other
        .says(Kind::Request, 2, "fast", &Body { call: 4 })
        .await;
    assert_eq!(other.hears().await.call, 2);
    desk.go.notify_one();
    assert_eq!(other.hears().await.call, 1);
}

#[tokio::test]
async fn who_is_not_registered_is_fenced_and_who_names_nobody_unsupported() {
    let (peer, mut other) = connected();
    let registration = peer.register(4, Arc::new(Desk::default()));
    other.says(Kind::Request, 1, "x", &Body { call: 5 }).await;
    assert_eq!(refusal(&mut other).await, RemoteError::FENCED);
    other.says(Kind::Request, 2, "x", &[1, 2]).await;
    assert_eq!(refusal(&mut other).await, RemoteError::UNSUPPORTED);
    drop(registration);
    other.says(Kind::Request, 3, "x", &Body { call: 4 }).await;
    assert_eq!(refusal(&mut other).await, RemoteError::FENCED);
}

#[tokio::test]
async fn an_answer_that_panics_is_a_failure_and_not_the_end() {
    let (peer, mut other) = connected();
    let _registration = peer.register(4, Arc::new(Desk::default()));
    other
        .says(Kind::Request, 1, "broken", &Body { call: 4 })
        .await;
    assert_eq!(refusal(&mut other).await, RemoteError::FAILED);
    other.says(Kind::Request, 2, "x", &Body { call: 4 }).await;
    assert_eq!(other.hears().await.kind, Kind::Reply);
}

#[tokio::test]
async fn closing_a_registration_waits_for_what_was_taken() {
    let (peer, mut other) = connected();
    let desk = Arc::new(Desk::default());
    let mut registration = peer.register(4, Arc::clone(&desk) as _);
    other
        .says(Kind::Request, 1, "slow", &Body { call: 4 })
        .await;
    other
        .says(Kind::Request, 2, "fast", &Body { call: 4 })
        .await;
    other.hears().await;
    let mut closing = Box::pin(registration.close());
    assert!(futures::poll!(&mut closing).is_pending());
    // Nothing more is taken meanwhile.
    other
        .says(Kind::Request, 3, "fast", &Body { call: 4 })
        .await;
    assert_eq!(refusal(&mut other).await, RemoteError::FENCED);
    desk.go.notify_one();
    soon(closing).await;
    assert_eq!(desk.answered.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_here() {
    let (peer, _other) = connected();
    let huge = Bytes::from(vec![0; frame::LARGEST]);
    assert!(matches!(peer.open("a", &huge), Err(CallError::TooLarge(_))));
}
