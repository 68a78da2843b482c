//! The bus on NATS while its server is killed, wiped, slow or away, and what it says about it.

mod support;

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use runloom_bus::nats::{Nats, Options, State, Storage};
use runloom_core::bus::{BusError, From, RunChange, Signal, SignalReply, Tail, Wake};
use runloom_core::event::{Event, EventId, Retention};
use runloom_core::ids::{ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::run::{CancelAction, RunStatus};
use runloom_testkit::services::nats::{Server, Version};
use support::proxy::{Proxy, Way};
use support::{PATIENCE, connect, connected, delete_streams, options};
use tokio::time::{Instant, sleep, timeout};

/// Longer than any call may take, whatever the server does, and shorter than the client library waits
/// by itself.
const IN_TIME: Duration = Duration::from_secs(8);

fn on_disk(server: &Server) -> Options {
    Options {
        storage: Storage::File,
        ..options(&server.url())
    }
}

fn event(number: u64, data: &str) -> Event {
    Event {
        id: EventId {
            millis: 1_700_000_000_000 + number,
            number,
        },
        epoch: 1,
        name: "values".into(),
        data: format!("\"{number} {data}\"").into(),
    }
}

/// Wakes until the bus takes it.
async fn wake(nats: &Nats, thread: ThreadId) {
    let work = async {
        while nats.notifier().wake(thread).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, work).await.expect("the wake-up is taken");
}

/// Takes wake-ups until the one for `thread` comes.
async fn woken(nats: &Nats, thread: ThreadId) {
    let work = async {
        loop {
            let Ok(wakes) = nats.notifier().wakes(8, PATIENCE).await else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            let found = wakes.iter().any(|wake| wake.thread == thread);
            wakes.into_iter().for_each(Wake::done);
            if found {
                return;
            }
        }
    };
    timeout(PATIENCE, work).await.expect("the wake-up comes");
}

/// Appends an event, again and again as a worker does, until the bus takes it.
async fn append(nats: &Nats, place: (ThreadId, RunId), event: Event) {
    let work = async {
        let events = nats.events();
        loop {
            let said = vec![event.clone()];
            if events
                .append(place.0, place.1, said, Retention::Live)
                .await
                .is_ok()
            {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, work).await.expect("the event is taken");
}

async fn end(nats: &Nats, place: (ThreadId, RunId)) {
    let work = async {
        while nats.events().end(place.0, place.1).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, work).await.expect("the end is taken");
}

/// Reads, tried again and again as a gateway does, until there is a connection.
async fn tail(nats: &Nats, place: (ThreadId, RunId), from: From) -> BoxStream<'static, Tail> {
    let work = async {
        loop {
            if let Ok(tail) = nats.events().tail(place.0, place.1, from).await {
                return tail;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, work).await.expect("events can be read")
}

/// Reads to the end, and expects exactly the events with these numbers.
async fn expect(reader: &mut BoxStream<'static, Tail>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        match timeout(PATIENCE, reader.next()).await {
            Ok(Some(Tail::Event(event))) => assert_eq!(event.id.number, number),
            other => panic!("not event {number} but {other:?}"),
        }
    }
    let end = timeout(PATIENCE, reader.next()).await;
    assert_eq!(end, Ok(Some(Tail::End)));
}

/// Two processes of one installation, the second by way of a proxy.
async fn worker_and_gateway(server: &Server) -> (Nats, Nats, Proxy) {
    let near = options(&server.url());
    let proxy = Proxy::to(&server.url()).await;
    let far = Options {
        urls: vec![proxy.url()],
        ..near.clone()
    };
    (connect(near).await, connect(far).await, proxy)
}

fn a_run() -> (ThreadId, RunId) {
    (ThreadId::new(), RunId::new())
}

fn a_signal() -> Signal {
    Signal {
        run_id: RunId::new(),
        claim: ClaimId::new(),
        action: CancelAction::Interrupt,
        trace: None,
    }
}

/// Runs a call that must answer in time; says whether it succeeded.
async fn in_time<T>(call: impl Future<Output = Result<T, BusError>>) -> bool {
    timeout(IN_TIME, call)
        .await
        .expect("an answer in time")
        .is_ok()
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_is_used_again() {
    let mut server = Server::start(Version::Newest).await;
    let nats = connect(on_disk(&server)).await;
    let worker = WorkerId::new();
    let mut signals = nats.notifier().signals(worker).await.unwrap();
    let thread = ThreadId::new();
    let waiting = woken(&nats, thread);
    let killing = async {
        server.kill();
        server.restart().await;
        wake(&nats, thread).await;
    };
    tokio::join!(waiting, killing);
    let (notifier, signal) = (nats.notifier(), a_signal());
    let asking = notifier.signal(worker, signal, PATIENCE);
    let answering = async {
        let delivery = signals.next().await.expect("the subscription came back");
        (delivery.reply)(SignalReply::Stopping);
    };
    assert_eq!(tokio::join!(asking, answering).0, SignalReply::Stopping);
    connected(&nats).await;
}

#[tokio::test]
async fn a_store_that_was_wiped_is_made_anew() {
    let mut server = Server::start(Version::Newest).await;
    let nats = connect(on_disk(&server)).await;
    let place = a_run();
    append(&nats, place, event(0, "lost")).await;
    server.wipe();
    server.restart().await;
    let thread = ThreadId::new();
    tokio::join!(woken(&nats, thread), wake(&nats, thread));
    let place = a_run();
    append(&nats, place, event(0, "kept")).await;
    end(&nats, place).await;
    expect(&mut tail(&nats, place, From::Start).await, 0..1).await;
}

#[tokio::test]
async fn streams_that_are_deleted_under_load_are_made_anew() {
    let server = Server::start(Version::Newest).await;
    let options = options(&server.url());
    let prefix = options.prefix.to_uppercase();
    let nats = connect(options).await;
    let place = a_run();
    let mut reader = tail(&nats, place, From::Start).await;
    let load = async {
        for number in 0..200 {
            let thread = ThreadId::new();
            tokio::join!(
                wake(&nats, thread),
                append(&nats, place, event(number, "x"))
            );
            sleep(Duration::from_millis(5)).await;
        }
        end(&nats, place).await;
    };
    let deleting = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(200)).await;
            delete_streams(&server.url(), &prefix).await;
        }
    };
    tokio::join!(load, deleting, expect(&mut reader, 0..200));
    let thread = ThreadId::new();
    tokio::join!(woken(&nats, thread), wake(&nats, thread));
}

#[tokio::test]
async fn a_consumer_that_is_deleted_is_made_anew_while_somebody_waits() {
    let server = Server::start(Version::Newest).await;
    let options = options(&server.url());
    let stream = format!("{}_DISP_c0", options.prefix.to_uppercase());
    let nats = connect(options).await;
    let thread = ThreadId::new();
    let deleting = async {
        let client = async_nats::connect(server.url()).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let stream = context.get_stream(stream).await.unwrap();
        // The pull that waits is what would hang.
        sleep(Duration::from_millis(200)).await;
        stream.delete_consumer("default").await.unwrap();
        wake(&nats, thread).await;
    };
    let begun = Instant::now();
    tokio::join!(woken(&nats, thread), deleting);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_worker_that_asks_and_goes_hears_again_once_others_have_made_the_queue() {
    let server = Server::start(Version::Newest).await;
    let options = options(&server.url());
    let owner = connect(options.clone()).await;
    let guest = Options {
        manage_streams: false,
        ..options.clone()
    };
    let worker = connect(guest).await;
    delete_streams(&server.url(), &options.prefix.to_uppercase()).await;
    // From its first refusal on, asking ends before anything is asked of the server.
    let refused = async { while worker.notifier().wakes(8, PATIENCE).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("it is refused");
    let thread = ThreadId::new();
    wake(&owner, thread).await;
    woken(&worker, thread).await;
}

#[tokio::test]
async fn without_a_server_every_call_fails_in_time() {
    let mut server = Server::start(Version::Newest).await;
    let nats = connect(options(&server.url())).await;
    let (notifier, events, place) = (nats.notifier(), nats.events(), a_run());
    server.kill();
    // Far more than the library queues before it blocks.
    for _ in 0..3_000 {
        let said = vec![event(0, "x")];
        let _ = timeout(
            IN_TIME,
            events.append(place.0, place.1, said, Retention::Live),
        )
        .await
        .expect("in time");
    }
    let change = RunChange {
        thread_id: place.0,
        run_id: place.1,
        status: Some(RunStatus::Success),
    };
    assert!(!in_time(notifier.wake(place.0)).await);
    assert!(
        !in_time(notifier.wakes(1, PATIENCE)).await,
        "so the worker looks by itself"
    );
    assert!(!in_time(notifier.announce(change)).await);
    assert!(!in_time(notifier.changes(place.0)).await);
    assert!(!in_time(notifier.signals(WorkerId::new())).await);
    assert!(
        in_time(events.end(place.0, place.1)).await,
        "said when there is a server again"
    );
    assert!(!in_time(events.tail(place.0, place.1, From::Now)).await);
    let reply = timeout(
        IN_TIME,
        notifier.signal(WorkerId::new(), a_signal(), PATIENCE),
    )
    .await;
    assert_eq!(reply, Ok(SignalReply::NoAnswer));
    assert!(matches!(*nats.state().borrow(), State::Down(_)));
    server.restart().await;
    connected(&nats).await;
    let thread = ThreadId::new();
    tokio::join!(woken(&nats, thread), wake(&nats, thread));
}

#[tokio::test]
async fn a_server_that_stands_still_is_not_waited_for() {
    let server = Server::start(Version::Newest).await;
    let nats = connect(options(&server.url())).await;
    server.pause();
    let place = a_run();
    let (notifier, events) = (nats.notifier(), nats.events());
    timeout(IN_TIME, notifier.wake(place.0))
        .await
        .expect("in time")
        .ok();
    assert!(!in_time(notifier.changes(place.0)).await);
    assert!(!in_time(events.end(place.0, place.1)).await);
    let wait = Duration::from_millis(100);
    let reply = notifier.signal(WorkerId::new(), a_signal(), wait).await;
    assert_eq!(reply, SignalReply::NoAnswer);
    server.resume();
    let thread = ThreadId::new();
    tokio::join!(woken(&nats, thread), wake(&nats, thread));
}

#[tokio::test]
async fn a_process_starts_without_a_server_and_finds_it_later() {
    let mut server = Server::start(Version::Newest).await;
    server.kill();
    let options = Options {
        connect_wait: Duration::from_millis(100),
        ..options(&server.url())
    };
    let begun = Instant::now();
    let nats = Nats::connect(options)
        .await
        .expect("it comes up all the same");
    assert!(!in_time(nats.notifier().wake(ThreadId::new())).await);
    assert!(!in_time(nats.notifier().wakes(1, PATIENCE)).await);
    assert!(begun.elapsed() < IN_TIME);
    server.restart().await;
    connected(&nats).await;
    let thread = ThreadId::new();
    tokio::join!(woken(&nats, thread), wake(&nats, thread));
}

#[tokio::test]
async fn a_stream_goes_on_without_gap_when_the_server_is_killed() {
    const EVENTS: u64 = 400;
    let mut server = Server::start(Version::Newest).await;
    let nats = connect(on_disk(&server)).await;
    let place = a_run();
    let mut reader = tail(&nats, place, From::Start).await;
    let emitting = async {
        for number in 0..EVENTS {
            append(&nats, place, event(number, "x")).await;
            sleep(Duration::from_millis(5)).await;
        }
        end(&nats, place).await;
    };
    let killing = async {
        for _ in 0..2 {
            sleep(Duration::from_millis(500)).await;
            server.kill();
            server.restart().await;
        }
    };
    tokio::join!(emitting, killing, expect(&mut reader, 0..EVENTS));
    // Who was not there meanwhile finds the same.
    expect(&mut tail(&nats, place, From::Start).await, 0..EVENTS).await;
}

#[tokio::test]
async fn what_is_said_and_ended_without_a_server_is_heard_when_there_is_one() {
    const EVENTS: u64 = 50;
    let mut server = Server::start(Version::Newest).await;
    let nats = connect(on_disk(&server)).await;
    let place = a_run();
    let mut reader = tail(&nats, place, From::Start).await;
    append(&nats, place, event(0, "before")).await;
    server.kill();
    let down = |state: &State| matches!(state, State::Down(_));
    nats.state().wait_for(down).await.unwrap();
    for number in 1..EVENTS {
        append(&nats, place, event(number, "meanwhile")).await;
    }
    end(&nats, place).await;
    server.restart().await;
    expect(&mut reader, 0..EVENTS).await;
    connected(&nats).await;
    expect(&mut tail(&nats, place, From::Start).await, 0..EVENTS).await;
}

#[tokio::test]
async fn a_reader_that_was_cut_off_goes_on_without_gap() {
    let server = Server::start(Version::Newest).await;
    let (worker, gateway, proxy) = worker_and_gateway(&server).await;
    let place = a_run();
    let mut reader = tail(&gateway, place, From::Start).await;
    append(&worker, place, event(0, "heard")).await;
    assert!(matches!(reader.next().await, Some(Tail::Event(_))));
    proxy.set(Way::Cut);
    for number in 1..50 {
        append(&worker, place, event(number, "missed")).await;
    }
    proxy.set(Way::Open);
    append(&worker, place, event(50, "after")).await;
    end(&worker, place).await;
    expect(&mut reader, 1..51).await;
}

#[tokio::test]
async fn a_reader_that_stands_still_is_cut_off_and_loses_nothing() {
    const EVENTS: u64 = 400;
    // A server that is soon tired of slow readers.
    let config = "max_pending: 1MB\nwrite_deadline: \"1s\"";
    let server = Server::start_with(Version::Newest, config).await;
    let (worker, gateway, proxy) = worker_and_gateway(&server).await;
    let place = a_run();
    let mut reader = tail(&gateway, place, From::Start).await;
    proxy.set(Way::Frozen);
    let large = "x".repeat(50_000);
    for number in 0..EVENTS {
        append(&worker, place, event(number, &large)).await;
    }
    end(&worker, place).await;
    proxy.set(Way::Open);
    expect(&mut reader, 0..EVENTS).await;
}

#[tokio::test]
async fn events_larger_than_a_message_may_be_are_carried_in_parts() {
    let server = Server::start(Version::Newest).await;
    let nats = connect(options(&server.url())).await;
    let place = a_run();
    let large = "é".repeat(1_500_000);
    let mut live = tail(&nats, place, From::Start).await;
    let said = vec![event(0, "small"), event(1, &large), event(2, "small")];
    let events = nats.events();
    events
        .append(place.0, place.1, said.clone(), Retention::Live)
        .await
        .unwrap();
    end(&nats, place).await;
    let mut late = tail(&nats, place, From::Start).await;
    for reader in [&mut live, &mut late] {
        for event in &said {
            let told = timeout(PATIENCE, reader.next()).await.expect("it comes");
            assert!(
                told == Some(Tail::Event(event.clone())),
                "event {}",
                event.id
            );
        }
        assert_eq!(reader.next().await, Some(Tail::End));
    }
}

#[tokio::test]
async fn a_run_whose_events_were_wiped_has_a_gap_and_no_more() {
    let mut server = Server::start(Version::Newest).await;
    let nats = connect(on_disk(&server)).await;
    let place = a_run();
    append(&nats, place, event(0, "lost")).await;
    // Only a run that takes a while asks whether what it said is kept.
    sleep(Duration::from_millis(300)).await;
    append(&nats, place, event(1, "lost")).await;
    expect_nothing_unconfirmed().await;
    server.wipe();
    server.restart().await;
    connected(&nats).await;
    for number in 2..5 {
        append(&nats, place, event(number, "kept")).await;
    }
    end(&nats, place).await;
    let mut late = tail(&nats, place, From::Start).await;
    assert_eq!(timeout(PATIENCE, late.next()).await, Ok(Some(Tail::Gap)));
    expect(&mut late, 2..5).await;
}

/// What was not acknowledged yet would be published again; by then it is.
async fn expect_nothing_unconfirmed() {
    sleep(Duration::from_secs(2)).await;
}
