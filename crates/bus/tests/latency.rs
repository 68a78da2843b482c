//! How fast the bus is. Measures and prints; run it by hand with `--ignored --nocapture`.

mod support;

use std::time::{Duration, Instant};

use futures::StreamExt;
use runloom_core::bus::{From, Signal, SignalReply, Tail, Wake};
use runloom_core::event::{Event, EventId, Retention};
use runloom_core::ids::{ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::run::CancelAction;
use support::{Leftovers, PATIENCE, connect, options};

const ROUNDS: u64 = 500;

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[times.len() * share / 100];
    let line = format!("{what}: median {:.0?}, p99 {:.0?}\n", at(50), at(99));
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).expect("printed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, judges nothing"]
async fn how_fast_the_bus_is() {
    let options = options(&runloom_testkit::services::shared::nats_url());
    let _left = Leftovers::of(&options);
    let (near, far) = (connect(options.clone()).await, connect(options).await);

    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let notifier = far.notifier();
        let begun = Instant::now();
        let (taken, sent) = tokio::join!(notifier.wakes(1, PATIENCE), async {
            near.notifier().wake(ThreadId::new()).await
        });
        sent.expect("sent");
        times.push(begun.elapsed());
        taken.expect("taken").into_iter().for_each(Wake::done);
    }
    report("wake-up to pull, acknowledged", times);

    let worker = WorkerId::new();
    let mut signals = far.notifier().signals(worker).await.expect("subscribed");
    let answering = tokio::task::JoinSet::from_iter([async move {
        while let Some(delivery) = signals.next().await {
            (delivery.reply)(SignalReply::Stopping);
        }
    }]);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let signal = Signal {
            run_id: RunId::new(),
            claim: ClaimId::new(),
            action: CancelAction::Interrupt,
            trace: None,
        };
        let begun = Instant::now();
        let reply = near.notifier().signal(worker, signal, PATIENCE).await;
        assert_eq!(reply, SignalReply::Stopping);
        times.push(begun.elapsed());
    }
    report("signal and its answer", times);
    drop(answering);

    let (thread, run) = (ThreadId::new(), RunId::new());
    let mut reader = far
        .events()
        .tail(thread, run, From::Start)
        .await
        .expect("a tail");
    let mut times = Vec::new();
    for number in 0..ROUNDS {
        let event = Event {
            id: EventId { millis: 1, number },
            epoch: 1,
            name: "values".into(),
            data: "{\"content\":\"some text\"}".into(),
        };
        let begun = Instant::now();
        let said = near.events();
        said.append(thread, run, vec![event], Retention::Live)
            .await
            .expect("said");
        assert!(matches!(reader.next().await, Some(Tail::Event(_))));
        times.push(begun.elapsed());
    }
    report("event to reader", times);
}
