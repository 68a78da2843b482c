//! How much there is, as whoever watches over an installation is told.

use std::collections::BTreeSet;
use std::time::Duration;

use runloom_core::database::{DatabaseError, Tally, Transit};
use runloom_core::run::RunError;

use super::scene::{Done, Fixture, LEASE, a_delayed_run};

/// What is counted, but for what is still to be told.
async fn tally(f: &Fixture) -> Result<Tally, DatabaseError> {
    let tally = f.db.tally().await?;
    assert_eq!(tally.at, f.now());
    Ok(Tally {
        untold: None,
        ..tally
    })
}

fn nothing(f: &Fixture) -> Tally {
    Tally {
        at: f.now(),
        pending: 0,
        scheduled: 0,
        running: 0,
        backlog_threads: 0,
        oldest_due: None,
        untold: None,
    }
}

pub(super) async fn runs_are_counted_by_what_they_wait_for(f: Fixture) -> Done {
    assert_eq!(tally(&f).await?, nothing(&f));
    let (one, two, three) = (f.thread().await?, f.thread().await?, f.thread().await?);
    f.running(one).await?;
    f.accepted(one).await?;
    f.accepted(two).await?;
    f.accepted(two).await?;
    f.submit(a_delayed_run(three, 30)).await?;
    f.pass(20);
    let expected = Tally {
        pending: 3,
        scheduled: 1,
        running: 1,
        backlog_threads: 2,
        oldest_due: Some(Duration::from_secs(20)),
        ..nothing(&f)
    };
    assert_eq!(tally(&f).await?, expected);
    f.pass(10);
    let expected = Tally {
        at: f.now(),
        pending: 4,
        scheduled: 0,
        backlog_threads: 3,
        oldest_due: Some(Duration::from_secs(30)),
        ..expected
    };
    assert_eq!(tally(&f).await?, expected, "the delayed one is due");
    Ok(())
}

pub(super) async fn what_is_over_is_not_counted(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let claimed = f.running(thread).await?;
    f.settle(&claimed.lease, Transit::Succeed).await?;
    f.pass(60);
    assert_eq!(tally(&f).await?, nothing(&f));
    Ok(())
}

pub(super) async fn a_run_behind_another_one_waits_for_nobody_to_claim_it(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let claimed = f.running(thread).await?;
    f.accepted(thread).await?;
    f.pass(60);
    assert_eq!(tally(&f).await?.oldest_due, None);
    f.settle(&claimed.lease, Transit::Succeed).await?;
    f.pass(5);
    let waited = tally(&f).await?.oldest_due;
    assert_eq!(waited, Some(Duration::from_secs(5)), "it could not before");
    Ok(())
}

pub(super) async fn a_run_that_was_given_back_waits_from_then_on(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let claimed = f.running(thread).await?;
    f.pass(LEASE.as_secs() - 1);
    f.settle(&claimed.lease, Transit::HandBack).await?;
    assert_eq!(tally(&f).await?.oldest_due, Some(Duration::ZERO));
    let worker = f.worker().await?;
    let again = f.claim(thread, worker).await?;
    f.pass(1);
    assert_eq!(tally(&f).await?.oldest_due, None);
    let retry = Transit::Retry(Duration::from_secs(4), RunError::new("E", "e"));
    f.settle(&again.lease, retry).await?;
    let between = Tally {
        scheduled: 1,
        ..nothing(&f)
    };
    assert_eq!(tally(&f).await?, between);
    f.accepted(thread).await?;
    f.pass(3);
    let kept_back = tally(&f).await?;
    assert_eq!(kept_back.oldest_due, None, "nothing overtakes the retry");
    assert_eq!((kept_back.pending, kept_back.scheduled), (1, 1));
    f.pass(3);
    assert_eq!(tally(&f).await?.oldest_due, Some(Duration::from_secs(2)));
    Ok(())
}

pub(super) async fn tables_have_a_size_and_one_name_each(f: Fixture) -> Done {
    f.complete(
        f.thread().await?,
        super::scene::finished(&serde_json::json!({})),
    )
    .await?;
    let sizes = f.db.sizes().await?;
    let names: BTreeSet<_> = sizes.iter().map(|size| size.table).collect();
    assert_eq!(names.len(), sizes.len());
    assert!(sizes.iter().all(|size| size.bytes > 0), "{sizes:?}");
    Ok(())
}
