//! The events of runs.

use bytes::Bytes;
use runloom_core::bus::{From, Tail};
use runloom_core::event::{Event, Retention};

use super::scene::{BusFixture, Done, Emitter, event, id};

pub(super) async fn readers_get_every_event_in_order(f: BusFixture) -> Done {
    for retention in [Retention::Live, Retention::Resumable] {
        let run = Emitter::new(&f, retention);
        let mut readers = [run.tail(From::Start).await?, run.tail(From::Now).await?];
        run.emit(1, 0..20).await?;
        run.append((20..30).map(|number| event(1, number)).collect())
            .await?;
        run.end().await?;
        for reader in &mut readers {
            reader.expect(1, 0..30).await;
            reader.expect_end().await;
        }
    }
    Ok(())
}

pub(super) async fn an_event_comes_as_it_was_appended(f: BusFixture) -> Done {
    let run = Emitter::new(&f, Retention::Resumable);
    let said = Event {
        name: "messages/partial|child:1f0c…".into(),
        data: Bytes::from("[{\"content\":\"naïve \\u0000 \\n\"},{}]"),
        ..event(7, 0)
    };
    let mut reader = run.tail(From::Start).await?;
    run.append(vec![said.clone()]).await?;
    assert_eq!(reader.next().await, Tail::Event(said.clone()));
    let mut late = run.tail(From::Start).await?;
    assert_eq!(late.next().await, Tail::Event(said));
    Ok(())
}

pub(super) async fn a_reader_that_joins_later_reads_on_without_gap_or_double(
    f: BusFixture,
) -> Done {
    let run = Emitter::new(&f, Retention::Resumable);
    run.emit(1, 0..10).await?;
    let mut reader = run.tail(From::Start).await?;
    run.emit(1, 10..20).await?;
    run.end().await?;
    reader.expect(1, 0..20).await;
    reader.expect_end().await;
    Ok(())
}

pub(super) async fn a_reader_resumes_after_any_event(f: BusFixture) -> Done {
    let run = Emitter::new(&f, Retention::Resumable);
    run.emit(1, 0..10).await?;
    let mut readers = Vec::new();
    for number in 0..10 {
        readers.push(run.tail(From::After(id(1, number))).await?);
    }
    run.emit(1, 10..15).await?;
    run.end().await?;
    for (number, mut reader) in (0..).zip(readers) {
        reader.expect(1, number + 1..15).await;
        reader.expect_end().await;
    }
    Ok(())
}

pub(super) async fn now_begins_with_the_next_event(f: BusFixture) -> Done {
    let run = Emitter::new(&f, Retention::Resumable);
    run.emit(1, 0..5).await?;
    let mut all = run.tail(From::Start).await?;
    all.expect(1, 0..5).await;
    let mut reader = run.tail(From::Now).await?;
    run.emit(1, 5..8).await?;
    reader.expect(1, 5..8).await;
    Ok(())
}

pub(super) async fn a_resumable_run_is_read_after_its_end(f: BusFixture) -> Done {
    let run = Emitter::new(&f, Retention::Resumable);
    run.emit(1, 0..10).await?;
    run.end().await?;
    let mut reader = run.tail(From::Start).await?;
    reader.expect(1, 0..10).await;
    reader.expect_end().await;
    let mut reader = run.tail(From::After(id(1, 7))).await?;
    reader.expect(1, 8..10).await;
    reader.expect_end().await;
    Ok(())
}

pub(super) async fn an_end_may_come_without_events_and_twice(f: BusFixture) -> Done {
    for retention in [Retention::Live, Retention::Resumable] {
        let run = Emitter::new(&f, retention);
        let mut reader = run.tail(From::Start).await?;
        run.end().await?;
        run.end().await?;
        reader.expect_end().await;
    }
    Ok(())
}

pub(super) async fn a_late_reader_of_a_live_run_gets_what_is_still_to_come(f: BusFixture) -> Done {
    let run = Emitter::new(&f, Retention::Live);
    run.emit(1, 0..5).await?;
    let mut reader = run.tail(From::Now).await?;
    run.emit(1, 5..8).await?;
    run.end().await?;
    reader.expect(1, 5..8).await;
    reader.expect_end().await;
    Ok(())
}

pub(super) async fn runs_are_apart(f: BusFixture) -> Done {
    let runs = [
        Emitter::new(&f, Retention::Live),
        Emitter::new(&f, Retention::Live),
    ];
    let mut readers = [
        runs[0].tail(From::Start).await?,
        runs[1].tail(From::Start).await?,
    ];
    runs[0].emit(1, 0..3).await?;
    runs[0].end().await?;
    runs[1].emit(4, 0..3).await?;
    readers[0].expect(1, 0..3).await;
    readers[0].expect_end().await;
    readers[1].expect(4, 0..3).await;
    Ok(())
}

pub(super) async fn a_stream_goes_on_over_attempts(f: BusFixture) -> Done {
    let run = Emitter::new(&f, Retention::Resumable);
    let mut reader = run.tail(From::Start).await?;
    run.emit(1, 0..3).await?;
    run.emit(2, 0..3).await?;
    run.end().await?;
    let mut resumed = run.tail(From::After(id(1, 1))).await?;
    let mut between = run.tail(From::After(id(1, 2))).await?;
    reader.expect(1, 0..3).await;
    reader.expect(2, 0..3).await;
    reader.expect_end().await;
    resumed.expect(1, 2..3).await;
    resumed.expect(2, 0..3).await;
    resumed.expect_end().await;
    between.expect(2, 0..3).await;
    between.expect_end().await;
    Ok(())
}

pub(super) async fn what_a_superseded_attempt_still_says_is_left_out(f: BusFixture) -> Done {
    let run = Emitter::new(&f, Retention::Resumable);
    let mut reader = run.tail(From::Start).await?;
    run.emit(1, 0..3).await?;
    run.emit(2, 0..1).await?;
    run.emit(1, 3..5).await?;
    run.emit(2, 1..3).await?;
    run.end().await?;
    let mut late = run.tail(From::Start).await?;
    for reader in [&mut reader, &mut late] {
        reader.expect(1, 0..3).await;
        reader.expect(2, 0..3).await;
        reader.expect_end().await;
    }
    Ok(())
}

pub(super) async fn what_is_said_again_is_told_once(f: BusFixture) -> Done {
    let run = Emitter::new(&f, Retention::Resumable);
    let mut reader = run.tail(From::Start).await?;
    run.emit(1, 0..3).await?;
    run.append((1..5).map(|number| event(1, number)).collect())
        .await?;
    run.emit(1, 4..6).await?;
    run.end().await?;
    let mut late = run.tail(From::Start).await?;
    for reader in [&mut reader, &mut late] {
        reader.expect(1, 0..6).await;
        reader.expect_end().await;
    }
    Ok(())
}

pub(super) async fn a_reader_that_does_not_read_harms_nobody(f: BusFixture) -> Done {
    const EVENTS: u64 = 6_000;
    const BATCH: u64 = 100;
    for retention in [Retention::Live, Retention::Resumable] {
        let run = Emitter::new(&f, retention);
        let mut stuck = run.tail(From::Start).await?;
        let mut keen = run.tail(From::Start).await?;
        for first in (0..EVENTS).step_by(100) {
            let numbers = first..first + BATCH;
            run.append(numbers.clone().map(|number| event(1, number)).collect())
                .await?;
            keen.expect(1, numbers).await;
        }
        run.end().await?;
        keen.expect_end().await;
        let (events, gaps) = stuck.rest().await;
        assert!(
            events == EVENTS || gaps > 0,
            "{events} of {EVENTS} came, without a gap"
        );
        assert!(events > 0, "it gets at least the newest");
    }
    Ok(())
}

pub(super) async fn what_a_log_no_longer_has_is_a_gap(f: BusFixture) -> Done {
    const EVENTS: u64 = 30_000;
    const BATCH: u64 = 500;
    let run = Emitter::new(&f, Retention::Resumable);
    for first in (0..EVENTS).step_by(500) {
        let numbers = first..first + BATCH;
        run.append(numbers.map(|number| event(1, number)).collect())
            .await?;
    }
    run.end().await?;
    for (from, wanted) in [(From::Start, EVENTS), (From::After(id(1, 9)), EVENTS - 10)] {
        let mut reader = run.tail(from).await?;
        let (events, gaps) = reader.rest().await;
        assert!(
            events == wanted || gaps > 0,
            "{events} of {wanted} came, without a gap"
        );
        assert!((1..=wanted).contains(&events));
    }
    let mut reader = run.tail(From::After(id(1, EVENTS - 3))).await?;
    reader.expect(1, EVENTS - 2..EVENTS).await;
    reader.expect_end().await;
    Ok(())
}

pub(super) async fn many_readers_of_many_runs_each_get_their_own(f: BusFixture) -> Done {
    let runs: Vec<_> = (0..10).map(|_| Emitter::new(&f, Retention::Live)).collect();
    let mut readers = Vec::new();
    for (epoch, run) in (1..).zip(&runs) {
        for _ in 0..5 {
            readers.push((epoch, run.tail(From::Start).await?));
        }
    }
    for number in 0..20 {
        for (epoch, run) in (1..).zip(&runs) {
            run.append(vec![event(epoch, number)]).await?;
        }
    }
    for (epoch, reader) in &mut readers {
        reader.expect(*epoch, 0..20).await;
    }
    Ok(())
}

pub(super) async fn a_reader_that_left_harms_nobody(f: BusFixture) -> Done {
    let run = Emitter::new(&f, Retention::Live);
    let mut stays = run.tail(From::Start).await?;
    let mut leaves = run.tail(From::Start).await?;
    run.emit(1, 0..2).await?;
    leaves.expect(1, 0..1).await;
    drop(leaves);
    run.emit(1, 2..4).await?;
    stays.expect(1, 0..4).await;
    drop(stays);
    run.emit(1, 4..5).await?;
    let mut back = run.tail(From::Now).await?;
    run.emit(1, 5..6).await?;
    run.end().await?;
    back.expect(1, 5..6).await;
    back.expect_end().await;
    Ok(())
}
