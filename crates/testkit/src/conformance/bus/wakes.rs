//! Wake-ups.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures::future::join_all;
use futures::poll;
use runloom_core::bus::{BusError, Wake};
use runloom_core::ids::ThreadId;
use tokio::time::timeout;

use super::scene::{BusFixture, Done, PATIENCE};

/// Takes wake-ups until `count` have come.
async fn take(f: &BusFixture, count: usize) -> Result<Vec<Wake>, BusError> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let more = f.notifier.wakes(count - taken.len(), PATIENCE).await?;
        assert!(!more.is_empty(), "{} of {count} wake-ups came", taken.len());
        taken.extend(more);
    }
    Ok(taken)
}

/// Takes the next wake-up, which must come, and does not answer it.
async fn take_one(f: &BusFixture) -> Result<Wake, BusError> {
    Ok(take(f, 1).await?.remove(0))
}

/// Says that all is done, and which threads it was about.
fn done(wakes: Vec<Wake>) -> Vec<ThreadId> {
    let finish = |wake: Wake| {
        let thread = wake.thread;
        wake.done();
        thread
    };
    wakes.into_iter().map(finish).collect()
}

pub(super) async fn a_wake_up_is_heard(f: BusFixture) -> Done {
    let thread = ThreadId::new();
    f.notifier.wake(thread).await?;
    assert_eq!(done(take(&f, 1).await?), [thread]);
    Ok(())
}

pub(super) async fn a_pull_that_waits_is_woken(f: BusFixture) -> Done {
    let thread = ThreadId::new();
    let mut pull = pin!(f.notifier.wakes(1, PATIENCE));
    assert!(poll!(&mut pull).is_pending());
    f.notifier.wake(thread).await?;
    assert_eq!(done(pull.await?), [thread]);
    Ok(())
}

pub(super) async fn a_pull_gives_up_after_its_wait(f: BusFixture) -> Done {
    let none = f.notifier.wakes(5, Duration::from_millis(20)).await?;
    assert!(none.is_empty(), "{none:?}");
    Ok(())
}

pub(super) async fn a_pull_takes_no_more_than_it_asked_for(f: BusFixture) -> Done {
    let threads: BTreeSet<_> = (0..5).map(|_| ThreadId::new()).collect();
    for thread in &threads {
        f.notifier.wake(*thread).await?;
    }
    let mut taken = Vec::new();
    while taken.len() < threads.len() {
        let some = f.notifier.wakes(2, PATIENCE).await?;
        assert!((1..=2).contains(&some.len()), "{some:?}");
        taken.extend(done(some));
    }
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), threads);
    Ok(())
}

pub(super) async fn each_wake_up_goes_to_one_of_many_pulls(f: BusFixture) -> Done {
    let threads: BTreeSet<_> = (0..40).map(|_| ThreadId::new()).collect();
    let taken_by_all = Cell::new(0);
    let pull = async |_| {
        let mut taken = Vec::new();
        loop {
            let more = f.notifier.wakes(3, Duration::from_millis(500)).await?;
            if more.is_empty() && taken_by_all.get() >= threads.len() {
                return Ok::<_, BusError>(taken);
            }
            taken_by_all.set(taken_by_all.get() + more.len());
            taken.extend(done(more));
            assert!(
                taken_by_all.get() <= threads.len(),
                "more come than were sent"
            );
        }
    };
    let pulls = join_all((0..4).map(pull));
    let wake_all = async {
        for thread in &threads {
            f.notifier.wake(*thread).await?;
        }
        Ok::<_, BusError>(())
    };
    let all = timeout(PATIENCE, async { tokio::join!(pulls, wake_all) }).await;
    let (pulls, woken) = all.expect("all are taken");
    woken?;
    let mut taken = Vec::new();
    for pull in pulls {
        taken.extend(pull?);
    }
    assert_eq!(taken.len(), threads.len(), "each is taken once");
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), threads);
    Ok(())
}

pub(super) async fn a_pull_that_was_dropped_takes_nothing_with_it(f: BusFixture) -> Done {
    let threads = [ThreadId::new(), ThreadId::new()];
    {
        let mut early = pin!(f.notifier.wakes(5, PATIENCE));
        assert!(poll!(&mut early).is_pending());
    }
    f.notifier.wake(threads[0]).await?;
    assert_eq!(done(take(&f, 1).await?), threads[..1]);
    {
        // Dropped when there is something to take and it was not looked at yet.
        let mut late = pin!(f.notifier.wakes(5, PATIENCE));
        assert!(poll!(&mut late).is_pending());
        f.notifier.wake(threads[1]).await?;
    }
    assert_eq!(done(take(&f, 1).await?), threads[1..]);
    Ok(())
}

pub(super) async fn of_two_waiting_pulls_the_one_that_stays_is_served(f: BusFixture) -> Done {
    let thread = ThreadId::new();
    let mut stays = pin!(f.notifier.wakes(1, PATIENCE));
    {
        let mut goes = pin!(f.notifier.wakes(1, PATIENCE));
        assert!(poll!(&mut goes).is_pending());
        assert!(poll!(&mut stays).is_pending());
        f.notifier.wake(thread).await?;
    }
    assert_eq!(done(stays.await?), [thread]);
    Ok(())
}

pub(super) async fn a_wake_up_that_was_not_answered_comes_again(f: BusFixture) -> Done {
    let [done, dropped, held] = [ThreadId::new(), ThreadId::new(), ThreadId::new()];
    f.notifier.wake(done).await?;
    take_one(&f).await?.done();
    f.notifier.wake(dropped).await?;
    drop(take_one(&f).await?);
    f.notifier.wake(held).await?;
    let first = take_one(&f).await?;
    // What was answered would come before these, as it was taken before them.
    let again = [take_one(&f).await?, take_one(&f).await?];
    let threads: BTreeSet<_> = again.iter().map(|wake| wake.thread).collect();
    assert_eq!(threads, BTreeSet::from([dropped, held]));
    again.into_iter().for_each(Wake::done);
    first.done();
    let more = f.notifier.wakes(9, Duration::from_millis(20)).await?;
    assert!(more.is_empty(), "{more:?}");
    Ok(())
}

pub(super) async fn a_wake_up_that_was_given_back_comes_when_it_was_asked_to(
    f: BusFixture,
) -> Done {
    let [unanswered, soon, at_once] = [ThreadId::new(), ThreadId::new(), ThreadId::new()];
    for thread in [unanswered, soon, at_once] {
        f.notifier.wake(thread).await?;
    }
    for wake in take(&f, 3).await? {
        match wake.thread {
            thread if thread == soon => wake.later(Duration::from_millis(200)),
            thread if thread == at_once => wake.later(Duration::ZERO),
            _ => drop(wake),
        }
    }
    for thread in [at_once, soon, unanswered] {
        let wake = take_one(&f).await?;
        assert_eq!(wake.thread, thread);
        wake.done();
    }
    Ok(())
}

pub(super) async fn a_pull_that_waits_gets_what_another_gave_back(f: BusFixture) -> Done {
    let thread = ThreadId::new();
    f.notifier.wake(thread).await?;
    let wake = take_one(&f).await?;
    let mut pull = pin!(f.notifier.wakes(1, PATIENCE));
    assert!(poll!(&mut pull).is_pending());
    wake.later(Duration::ZERO);
    assert_eq!(done(pull.await?), [thread]);
    Ok(())
}
