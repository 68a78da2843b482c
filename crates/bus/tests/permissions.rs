//! The permissions that `docs/nats.md` offers for pasting: each role can do its part with them, and
//! no more.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, consumer::pull};
use async_nats::{Client, ConnectOptions, Message};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::select_all;
use futures::{Stream, StreamExt};
use runloom_bus::nats::{Nats, Options, Storage};
use runloom_core::bus::{From, RunChange, Signal, SignalReply, Tail};
use runloom_core::event::{Event, EventId, Retention};
use runloom_core::ids::{AssistantId, ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::lifecycle::{LifecycleEvent, Stage};
use runloom_core::run::{CancelAction, RunStatus};
use runloom_core::service::{Answer, Operation, Service};
use runloom_core::trace::TraceContext;
use runloom_testkit::services::nats::{Server, Version};
use support::{PATIENCE, connected};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than a server needs that answers at all.
const SILENCE: Duration = Duration::from_millis(300);

/// The users and their passwords in the page.
const USERS: [(&str, &str, &str); 4] = [
    ("runloom-setup", "change-me-1", "_INBOX_setup"),
    ("runloom-gateway", "change-me-2", "_INBOX_gateway"),
    ("runloom-worker", "change-me-3", "_INBOX_worker"),
    ("integration", "change-me-4", "_INBOX_integration"),
];

/// What the page says to paste.
fn pasted() -> &'static str {
    let page = include_str!("../../../docs/nats.md");
    let begin = page.find("```text\nauthorization {").unwrap() + "```text\n".len();
    let end = begin + page[begin..].find("```").unwrap();
    &page[begin..end]
}

fn user(name: &str) -> (&'static str, &'static str, &'static str) {
    *USERS.iter().find(|(user, ..)| *user == name).unwrap()
}

/// A process of a role.
async fn role(server: &Server, name: &str) -> Nats {
    let (user, password, inbox) = user(name);
    let mut options = Options::new([server.url()]);
    options.auth.user = Some(user.to_owned());
    options.auth.password = Some(password.to_owned());
    options.inbox_prefix = inbox.to_owned();
    options.manage_streams = user == "runloom-setup";
    options.storage = Storage::Memory;
    options.event_bytes = 1 << 20;
    options.wake_bytes = 1 << 20;
    options.lifecycle_bytes = 1 << 20;
    let nats = Nats::connect(options).await.unwrap();
    connected(&nats).await;
    nats
}

/// A client of any kind.
async fn client(server: &Server, name: &str) -> Client {
    let (user, password, inbox) = user(name);
    let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    let options = options.custom_inbox_prefix(inbox);
    options.connect(server.url()).await.unwrap()
}

struct Echo;

static ECHO: [Operation; 2] = [operation("runs.create"), operation("runs.cancel")];

const fn operation(name: &'static str) -> Operation {
    Operation {
        name,
        description: "",
        stands_for: "",
        request: "",
        response: "",
    }
}

#[async_trait]
impl Service for Echo {
    fn operations(&self) -> &'static [Operation] {
        &ECHO
    }

    async fn call(&self, _: &Operation, body: Bytes, _: Option<&TraceContext>) -> Answer {
        Answer {
            status: 200,
            body,
            retry_after: None,
        }
    }
}

/// A server with these permissions, its streams, a gateway and a worker.
async fn installation() -> (Server, Nats, Nats) {
    let server = Server::start_with(Version::Newest, pasted()).await;
    drop(role(&server, "runloom-setup").await);
    let gateway = role(&server, "runloom-gateway").await;
    let worker = role(&server, "runloom-worker").await;
    (server, gateway, worker)
}

#[tokio::test]
async fn gateway_and_worker_exchange_wake_ups_signals_and_changes() {
    let (_server, gateway, worker) = installation().await;
    let (thread, run) = (ThreadId::new(), RunId::new());
    gateway.notifier().wake(thread).await.unwrap();
    let mut wakes = worker.notifier().wakes(1, PATIENCE).await.unwrap();
    assert_eq!(wakes[0].thread, thread);
    wakes.remove(0).done();
    let id = WorkerId::new();
    let mut signals = worker.notifier().signals(id).await.unwrap();
    let signal = Signal {
        run_id: run,
        claim: ClaimId::new(),
        action: CancelAction::Interrupt,
        trace: None,
    };
    let notifier = gateway.notifier();
    let (reply, ()) = tokio::join!(notifier.signal(id, signal, PATIENCE), async {
        (signals.next().await.unwrap().reply)(SignalReply::Stopping);
    });
    assert_eq!(reply, SignalReply::Stopping);
    let mut changes = notifier.changes(thread).await.unwrap();
    let change = RunChange {
        thread_id: thread,
        run_id: run,
        status: Some(RunStatus::Success),
    };
    worker.notifier().announce(change).await.unwrap();
    assert_eq!(
        timeout(PATIENCE, changes.next()).await.unwrap(),
        Some(change)
    );
}

#[tokio::test]
async fn events_reach_readers_that_come_before_and_after() {
    let (_server, gateway, worker) = installation().await;
    let (thread, run) = (ThreadId::new(), RunId::new());
    let event = |number| Event {
        id: EventId { millis: 1, number },
        epoch: 1,
        name: "values".into(),
        data: Bytes::from_static(b"{}"),
    };
    let write = worker.events();
    let kept = Retention::Resumable;
    write
        .append(thread, run, vec![event(0)], kept)
        .await
        .unwrap();
    let mut tail = gateway
        .events()
        .tail(thread, run, From::Start)
        .await
        .unwrap();
    assert_eq!(
        timeout(PATIENCE, tail.next()).await.unwrap(),
        Some(Tail::Event(event(0)))
    );
    write
        .append(thread, run, vec![event(1)], kept)
        .await
        .unwrap();
    assert_eq!(
        timeout(PATIENCE, tail.next()).await.unwrap(),
        Some(Tail::Event(event(1)))
    );
    gateway.events().end(thread, run).await.unwrap();
    assert_eq!(
        timeout(PATIENCE, tail.next()).await.unwrap(),
        Some(Tail::End)
    );
}

#[tokio::test]
async fn an_integration_finds_and_calls_the_api_and_hears_what_happens() {
    let (server, gateway, worker) = installation().await;
    let (thread, run) = (ThreadId::new(), RunId::new());
    let told = LifecycleEvent {
        id: 1,
        at: DateTime::<Utc>::UNIX_EPOCH,
        thread_id: thread,
        run_id: run,
        assistant_id: AssistantId::new(),
        graph_id: "agent".into(),
        stage: Stage::Success,
        attempt: 1,
    };
    worker.lifecycle().publish(&told).await.unwrap();
    let stop = CancellationToken::new();
    let (host, stopped) = (gateway.service_host(), stop.clone().cancelled_owned());
    let serving = async move { host.serve(Arc::new(Echo), "1.0.0", Box::pin(stopped)).await };
    let serving = TaskTracker::new().spawn(serving);
    let outside = client(&server, "integration").await;
    let called = async {
        loop {
            let asked = outside.request("runloom.c0.api.runs.create", "{}".into());
            if let Ok(Ok(answer)) = timeout(SILENCE, asked).await {
                return answer.payload;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, called).await.unwrap(), "{}");
    let found = outside
        .request("$SRV.INFO.runloom", Bytes::new())
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&found.payload).contains("runs-create"));
    let context = jetstream::new(outside);
    let config = pull::Config {
        durable_name: Some("mine".to_owned()),
        filter_subject: "runloom.c0.run.>".to_owned(),
        ..pull::Config::default()
    };
    let listener = context.create_consumer_on_stream(config, "RUNLOOM_RUN_c0");
    let mut heard = listener.await.unwrap().messages().await.unwrap();
    let message = timeout(PATIENCE, heard.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let subject = format!("runloom.c0.run.success.{thread}.{run}");
    assert_eq!(message.subject.as_str(), subject);
    message.double_ack().await.unwrap();
    stop.cancel();
    serving.await.unwrap();
}

/// Whether anybody hears what `name` says on `subject`.
async fn can_say(server: &Server, name: &str, subject: &str, wait: Duration) -> bool {
    let speaker = client(server, name).await;
    // JetStream itself answers those who may ask it.
    if subject.starts_with('$') {
        let asked = speaker.request(subject.to_owned(), Bytes::new());
        return matches!(timeout(wait, asked).await, Ok(Ok(_)));
    }
    let (mut clients, mut heard) = (Vec::new(), Vec::new());
    for (listener, ..) in USERS {
        let listener = client(server, listener).await;
        heard.push(listener.subscribe(subject.to_owned()).await.unwrap());
        listener.flush().await.unwrap();
        clients.push(listener);
    }
    is_heard(&speaker, subject, &mut select_all(heard), wait).await
}

/// Whether what `speaker` says on `subject` comes. It is said again and again: the server may learn of
/// it before it learns of the subscription.
async fn is_heard(
    speaker: &Client,
    subject: &str,
    heard: &mut (impl Stream<Item = Message> + Unpin),
    wait: Duration,
) -> bool {
    let say = async {
        loop {
            let said = speaker.publish(subject.to_owned(), Bytes::new());
            said.await.unwrap();
            sleep(SILENCE / 10).await;
        }
    };
    tokio::select! {
        heard = timeout(wait, heard.next()) => heard.is_ok(),
        () = say => false,
    }
}

/// Whether `name` hears what the one says who may.
async fn can_hear(
    server: &Server,
    name: &str,
    speaker: &str,
    subject: &str,
    wait: Duration,
) -> bool {
    let listener = client(server, name).await;
    let mut heard = listener.subscribe(subject.to_owned()).await.unwrap();
    listener.flush().await.unwrap();
    let speaker = client(server, speaker).await;
    is_heard(&speaker, subject, &mut heard, wait).await
}

#[tokio::test]
async fn no_role_can_do_more() {
    let server = Server::start_with(Version::Newest, pasted()).await;
    drop(role(&server, "runloom-setup").await);
    let (thread, run) = (ThreadId::new(), RunId::new());
    let event = format!("runloom.c0.ev.0.{thread}.{run}");
    let told = format!("runloom.c0.run.success.{thread}.{run}");
    let changed = format!("runloom.c0.st.{thread}");
    let signal = format!("runloom.c0.ctl.w.{}.interrupt", WorkerId::new());
    // The probes work: what is granted is heard.
    assert!(can_say(&server, "runloom-worker", &event, PATIENCE).await);
    assert!(can_say(&server, "runloom-worker", &told, PATIENCE).await);
    assert!(
        can_say(
            &server,
            "integration",
            "runloom.c0.api.runs.create",
            PATIENCE
        )
        .await
    );
    assert!(
        can_say(
            &server,
            "runloom-gateway",
            "$JS.API.STREAM.INFO.RUNLOOM_RUN_c0",
            PATIENCE
        )
        .await
    );
    assert!(can_hear(&server, "integration", "runloom-worker", &told, PATIENCE).await);
    for (name, subject) in [
        ("integration", event.as_str()),
        ("integration", &told),
        ("integration", &signal),
        ("integration", "runloom.c0.wake.default"),
        ("integration", "runloom.c0.api.runs.cancel"),
        ("integration", "runloom.c0.api.threads.state"),
        ("integration", "$JS.API.STREAM.INFO.RUNLOOM_DISP_c0"),
        ("integration", "$JS.API.STREAM.PURGE.RUNLOOM_RUN_c0"),
        ("integration", "$JS.API.STREAM.DELETE.RUNLOOM_RUN_c0"),
        (
            "integration",
            "$JS.API.CONSUMER.MSG.NEXT.RUNLOOM_DISP_c0.default",
        ),
        ("runloom-gateway", &told),
        ("runloom-gateway", "$JS.API.STREAM.DELETE.RUNLOOM_RUN_c0"),
        ("runloom-gateway", "$JS.API.STREAM.CREATE.ELSE"),
        ("runloom-worker", "runloom.c0.api.runs.create"),
        ("runloom-worker", "$JS.API.STREAM.DELETE.RUNLOOM_RUN_c0"),
        ("runloom-setup", &event),
        ("runloom-setup", "$JS.API.STREAM.DELETE.RUNLOOM_RUN_c0"),
    ] {
        assert!(
            !can_say(&server, name, subject, SILENCE).await,
            "{name}: {subject}"
        );
    }
    for (name, speaker, subject) in [
        ("integration", "runloom-worker", changed.as_str()),
        ("integration", "runloom-gateway", &signal),
        (
            "runloom-worker",
            "integration",
            "runloom.c0.api.runs.create",
        ),
        ("runloom-gateway", "runloom-worker", &told),
        ("runloom-setup", "runloom-worker", &event),
    ] {
        let hears = can_hear(&server, name, speaker, subject, SILENCE).await;
        assert!(!hears, "{name}: {subject}");
    }
}
