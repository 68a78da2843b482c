//! Signals to workers, and changes of runs.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use runloom_core::bus::{Delivery, RunChange, Signal, SignalReply};
use runloom_core::ids::{ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::run::{CancelAction, RunStatus};
use tokio::time::timeout;

use super::scene::{BusFixture, Done, PATIENCE, soon};

/// Where a signal belongs.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn a_signal() -> Signal {
    Signal {
        run_id: RunId::new(),
        claim: ClaimId::new(),
        action: CancelAction::Rollback,
        trace: PARENT.parse().ok(),
    }
}

/// The next signal to a worker.
async fn received(inbox: &mut BoxStream<'static, Delivery>) -> Delivery {
    match timeout(PATIENCE, inbox.next()).await {
        Ok(Some(delivery)) => delivery,
        Ok(None) => panic!("the inbox closed"),
        Err(elapsed) => panic!("no signal came: {elapsed}"),
    }
}

pub(super) async fn a_signal_brings_back_the_worker_s_answer(f: BusFixture) -> Done {
    let worker = WorkerId::new();
    let mut inbox = f.notifier.signals(worker).await?;
    for answer in [SignalReply::Stopping, SignalReply::Unknown] {
        let signal = a_signal();
        let answering = async {
            let delivery = received(&mut inbox).await;
            assert_eq!(delivery.signal, signal);
            (delivery.reply)(answer);
        };
        let asking = f.notifier.signal(worker, signal, PATIENCE);
        let (reply, ()) = tokio::join!(asking, answering);
        assert_eq!(reply, answer);
    }
    Ok(())
}

pub(super) async fn a_signal_to_nobody_fails_fast(f: BusFixture) -> Done {
    let other = f.notifier.signals(WorkerId::new()).await?;
    let asking = f.notifier.signal(WorkerId::new(), a_signal(), PATIENCE);
    let reply = timeout(PATIENCE / 2, asking).await;
    assert_eq!(reply.ok(), Some(SignalReply::NoReceiver));
    drop(other);
    Ok(())
}

pub(super) async fn a_signal_to_a_worker_that_left_finds_nobody(f: BusFixture) -> Done {
    let worker = WorkerId::new();
    drop(f.notifier.signals(worker).await?);
    let until_noticed = async {
        let wait = Duration::from_millis(100);
        while f.notifier.signal(worker, a_signal(), wait).await != SignalReply::NoReceiver {}
    };
    let noticed = timeout(PATIENCE, until_noticed).await;
    assert!(
        noticed.is_ok(),
        "signals to a worker that left still find somebody"
    );
    Ok(())
}

pub(super) async fn a_worker_that_does_not_answer_is_not_waited_for(f: BusFixture) -> Done {
    let worker = WorkerId::new();
    let mut inbox = f.notifier.signals(worker).await?;
    let signal = a_signal();
    let asking = f.notifier.signal(worker, signal, Duration::from_millis(50));
    let (reply, delivery) = tokio::join!(asking, received(&mut inbox));
    assert_eq!(reply, SignalReply::NoAnswer);
    assert_eq!(delivery.signal, signal, "it was delivered all the same");
    // An answer that comes too late harms nobody.
    (delivery.reply)(SignalReply::Stopping);
    Ok(())
}

pub(super) async fn a_signal_that_is_thrown_away_is_not_taken_for_answered(f: BusFixture) -> Done {
    let worker = WorkerId::new();
    let mut inbox = f.notifier.signals(worker).await?;
    let asking = f
        .notifier
        .signal(worker, a_signal(), Duration::from_millis(200));
    let throwing_away = async { drop(received(&mut inbox).await) };
    let (reply, ()) = tokio::join!(asking, throwing_away);
    let unanswered = [SignalReply::NoReceiver, SignalReply::NoAnswer];
    assert!(unanswered.contains(&reply), "{reply:?}");
    Ok(())
}

pub(super) async fn signals_go_to_their_worker_in_order(f: BusFixture) -> Done {
    let workers = [WorkerId::new(), WorkerId::new()];
    let mut inboxes = [
        f.notifier.signals(workers[0]).await?,
        f.notifier.signals(workers[1]).await?,
    ];
    let signals: Vec<_> = (0..20).map(|_| a_signal()).collect();
    let asking = async {
        for (place, signal) in signals.iter().enumerate() {
            let worker = workers[place % 2];
            let reply = f.notifier.signal(worker, *signal, PATIENCE).await;
            assert_eq!(reply, SignalReply::Stopping);
        }
    };
    let answering = async {
        for (place, signal) in signals.iter().enumerate() {
            let delivery = received(&mut inboxes[place % 2]).await;
            assert_eq!(delivery.signal, *signal);
            (delivery.reply)(SignalReply::Stopping);
        }
    };
    tokio::join!(asking, answering);
    Ok(())
}

fn a_change(thread: ThreadId, status: Option<RunStatus>) -> RunChange {
    RunChange {
        thread_id: thread,
        run_id: RunId::new(),
        status,
    }
}

pub(super) async fn changes_reach_all_who_follow_the_thread(f: BusFixture) -> Done {
    let (thread, other) = (ThreadId::new(), ThreadId::new());
    f.notifier
        .announce(a_change(thread, Some(RunStatus::Pending)))
        .await?;
    let mut readers = [
        f.notifier.changes(thread).await?,
        f.notifier.changes(thread).await?,
    ];
    let mut elsewhere = f.notifier.changes(other).await?;
    let changes = [
        a_change(thread, Some(RunStatus::Running)),
        a_change(thread, Some(RunStatus::Interrupted)),
        a_change(thread, None),
    ];
    for change in changes {
        f.notifier.announce(change).await?;
    }
    let last = a_change(other, Some(RunStatus::Error));
    f.notifier.announce(last).await?;
    for reader in &mut readers {
        for change in changes {
            assert_eq!(
                soon(reader).await,
                change,
                "from the subscription on, in order"
            );
        }
    }
    assert_eq!(soon(&mut elsewhere).await, last);
    Ok(())
}

pub(super) async fn a_reader_of_changes_that_left_harms_nobody(f: BusFixture) -> Done {
    let thread = ThreadId::new();
    let mut stays = f.notifier.changes(thread).await?;
    drop(f.notifier.changes(thread).await?);
    let change = a_change(thread, Some(RunStatus::Success));
    f.notifier.announce(change).await?;
    assert_eq!(soon(&mut stays).await, change);
    drop(stays);
    f.notifier.announce(change).await?;
    let mut again = f.notifier.changes(thread).await?;
    let next = a_change(thread, None);
    f.notifier.announce(next).await?;
    // What was said just before may still be on its way.
    let mut heard = soon(&mut again).await;
    if heard == change {
        heard = soon(&mut again).await;
    }
    assert_eq!(heard, next);
    Ok(())
}
