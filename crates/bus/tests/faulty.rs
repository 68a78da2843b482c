//! With a bus that loses, doubles, delays, reorders, refuses and forgets: nothing wrong is ever told,
//! and what is said again and again comes in the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use runloom_bus::{LocalEventLog, LocalNotifier};
use runloom_core::bus::{EventLog, From, Notifier, Signal, SignalReply, Tail};
use runloom_core::event::{Event, EventId, Retention};
use runloom_core::ids::{ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::run::CancelAction;
use runloom_testkit::doubles::{Faults, Faulty, FaultyLog};
use tokio::time::timeout;

const SEEDS: std::ops::Range<u64> = 0..50;

const SOON: Duration = Duration::from_mins(1);

fn notifier(seed: u64) -> Faulty {
    Faulty::new(Arc::new(LocalNotifier::new()), Faults::SOME, seed)
}

#[tokio::test(start_paused = true)]
async fn only_threads_that_were_woken_are_heard_and_in_the_end_all() {
    for seed in SEEDS {
        let bus = notifier(seed);
        let threads: BTreeSet<_> = (0..20).map(|_| ThreadId::new()).collect();
        let mut heard = BTreeSet::new();
        let hearing = async {
            while heard != threads {
                for thread in threads.difference(&heard) {
                    // Refused or lost: the sweep says it again.
                    let _ = bus.wake(*thread).await;
                }
                for wake in bus.wakes(7, Duration::from_millis(10)).await.unwrap() {
                    assert!(threads.contains(&wake.thread), "seed {seed}");
                    heard.insert(wake.thread);
                    wake.done();
                }
            }
        };
        timeout(SOON, hearing).await.expect("all are heard");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_forgot_everything_serves_what_comes_after() {
    for seed in SEEDS {
        let bus = notifier(seed);
        for _ in 0..20 {
            let _ = bus.wake(ThreadId::new()).await;
        }
        bus.forget().await;
        let none = bus.wakes(9, Duration::from_secs(30)).await.unwrap();
        assert!(none.is_empty(), "seed {seed}: {none:?}");
        let thread = ThreadId::new();
        let hearing = async {
            loop {
                let _ = bus.wake(thread).await;
                let wakes = bus.wakes(1, Duration::from_millis(10)).await.unwrap();
                if let Some(wake) = wakes.into_iter().next() {
                    assert_eq!(wake.thread, thread, "seed {seed}");
                    return wake.done();
                }
            }
        };
        timeout(SOON, hearing).await.expect("it is heard");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_that_a_worker_stops_a_run_that_it_was_not_asked_to() {
    for seed in SEEDS {
        let bus = notifier(seed);
        let worker = WorkerId::new();
        let mut signals = bus.signals(worker).await.unwrap();
        for _ in 0..20 {
            let signal = Signal {
                run_id: RunId::new(),
                claim: ClaimId::new(),
                action: CancelAction::Interrupt,
                trace: None,
            };
            let mut asked = Vec::new();
            let wait = Duration::from_millis(100);
            let reply = tokio::select! {
                reply = bus.signal(worker, signal, wait) => reply,
                () = async {
                    while let Some(delivery) = signals.next().await {
                        asked.push(delivery.signal);
                        (delivery.reply)(SignalReply::Stopping);
                    }
                } => unreachable!("the worker listens"),
            };
            let told = reply == SignalReply::Stopping;
            assert!(!told || asked.contains(&signal), "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_each_event_once_and_in_order() {
    const EVENTS: u64 = 40;
    for seed in SEEDS {
        let log = FaultyLog::new(Arc::new(LocalEventLog::default()), Faults::SOME, seed);
        let (thread, run) = (ThreadId::new(), RunId::new());
        let mut reader = loop {
            if let Ok(reader) = log.tail(thread, run, From::Start).await {
                break reader;
            }
        };
        for number in 0..EVENTS {
            let event = Event {
                id: EventId { millis: 1, number },
                epoch: 1,
                name: "values".into(),
                data: "1".into(),
            };
            let say = || log.append(thread, run, vec![event.clone()], Retention::Live);
            while say().await.is_err() {}
        }
        while log.end(thread, run).await.is_err() {}
        for number in 0..EVENTS {
            match reader.next().await {
                Some(Tail::Event(event)) => assert_eq!(event.id.number, number, "seed {seed}"),
                other => panic!("seed {seed}: not event {number} but {other:?}"),
            }
        }
        assert_eq!(reader.next().await, Some(Tail::End));
    }
}
