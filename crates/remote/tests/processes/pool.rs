//! Processes are shared, replaced and brought up to date.

use std::collections::HashSet;
use std::time::Duration;

use futures::FutureExt;
use runloom_remote::peer::Heard;
use runloom_remote::pool::{Closed, Loss, Place, Pool, PoolConfig};
use runloom_remote::process::{Launch, StartError};
use runloom_remote::protocol::RunEnded;
use serde_json::json;

use crate::support::{Runs, goes_on, launch, one, soon, stop, until, values};

async fn pool(config: PoolConfig) -> Pool {
    soon(Pool::start(config, launch(&[]))).await.unwrap()
}

async fn place(pool: &Pool) -> Place {
    soon(pool.place()).await.unwrap()
}

fn pid(place: &Place) -> u32 {
    place.manifest().pid
}

async fn serving(pool: &Pool, number: usize) {
    until(|| pool.census().serving == number).await;
}

#[tokio::test]
async fn a_pool_that_cannot_start_says_why() {
    let started = soon(Pool::start(one(), launch(&[("FAKE_START", "die")]))).await;
    assert!(matches!(started.err(), Some(StartError::Died { .. })));
}

#[tokio::test]
async fn runs_wait_for_room_in_the_order_of_asking() {
    let pool = pool(one()).await;
    let first = place(&pool).await;
    let second = place(&pool).await;
    let mut third = Box::pin(pool.place());
    let mut fourth = Box::pin(pool.place());
    let mut fifth = Box::pin(pool.place());
    for waiting in [&mut third, &mut fourth, &mut fifth] {
        assert!(futures::poll!(waiting).is_pending());
    }
    // Who gave up takes no place.
    drop(third);
    drop(first);
    assert!(futures::poll!(&mut fifth).is_pending());
    let fourth = soon(fourth).await.unwrap();
    drop(second);
    let fifth = soon(fifth).await.unwrap();
    assert_eq!(pid(&fourth), pid(&fifth));
}

#[tokio::test]
async fn a_place_that_was_given_and_never_taken_is_given_on() {
    let pool = pool(one()).await;
    let first = place(&pool).await;
    let _second = place(&pool).await;
    let mut third = Box::pin(pool.place());
    let mut fourth = Box::pin(pool.place());
    assert!(futures::poll!(&mut third).is_pending());
    assert!(futures::poll!(&mut fourth).is_pending());
    drop(first);
    drop(third);
    soon(fourth).await.unwrap();
}

#[tokio::test]
async fn the_process_with_the_fewest_runs_gets_the_next_one() {
    let config = PoolConfig {
        processes: 2,
        ..one()
    };
    let pool = pool(config).await;
    let first = place(&pool).await;
    serving(&pool, 2).await;
    let second = place(&pool).await;
    assert_ne!(pid(&first), pid(&second));
    let third = place(&pool).await;
    let fourth = place(&pool).await;
    assert_ne!(pid(&third), pid(&fourth));
    assert!(futures::poll!(std::pin::pin!(pool.place())).is_pending());
}

#[tokio::test]
async fn questions_take_no_place_of_a_run() {
    let pool = pool(one()).await;
    let places = (place(&pool).await, place(&pool).await);
    let answered: u32 = soon(pool.ask("drawing", &json!({}), None)).await.unwrap();
    assert_eq!(answered, pid(&places.0));
}

#[tokio::test]
async fn a_process_that_died_is_replaced_and_its_runs_hear_why() {
    let pool = pool(one()).await;
    let (first, second) = (place(&pool).await, place(&pool).await);
    let mut waits = first.run("wait", json!(null));
    goes_on(&mut waits).await;
    drop(second.run("die", json!(null)));
    for place in [&first, &second] {
        let loss = soon(place.lost()).await;
        assert!(
            matches!(&loss, Loss::Died(how) if how.contains("signal")),
            "{loss:?}"
        );
    }
    let third = place(&pool).await;
    assert_ne!(pid(&third), pid(&first));
    assert_eq!(values(&mut third.run("echo", json!(1))).await, 1);
}

#[tokio::test]
async fn a_kill_tells_the_run_that_needed_it_from_its_neighbours() {
    let pool = pool(one()).await;
    let (stuck, innocent) = (place(&pool).await, place(&pool).await);
    let mut goes = innocent.run("wait", json!(null));
    goes_on(&mut goes).await;
    stuck.kill();
    assert_eq!(soon(stuck.lost()).await, Loss::Killed);
    assert_eq!(soon(innocent.lost()).await, Loss::Evicted);
}

#[tokio::test]
async fn a_spare_takes_over_at_once() {
    let config = PoolConfig {
        spare: true,
        ..one()
    };
    let pool = pool(config).await;
    let first = place(&pool).await;
    until(|| pool.census().spare == 1).await;
    first.kill();
    // Before anything could have been started, or the killed one be gone.
    let next = pool.place().now_or_never().unwrap().unwrap();
    assert_ne!(pid(&first), pid(&next));
    // And there will be another one.
    until(|| pool.census().spare == 1).await;
}

#[tokio::test]
async fn a_process_with_an_old_leaked_thread_ends_when_its_other_runs_are_over() {
    let pool = pool(one()).await;
    let (leaky, other) = (place(&pool).await, place(&pool).await);
    let mut goes = other.run("wait", json!(null));
    goes_on(&mut goes).await;
    values(&mut leaky.run("leak", json!(null))).await;
    drop(leaky);
    until(|| pool.census().retiring == 1).await;
    let next = place(&pool).await;
    assert_ne!(pid(&next), pid(&other));
    // Its neighbour has all the time it needs.
    assert_eq!(values(&mut other.run("echo", json!(1))).await, 1);
    stop(&goes);
    soon(goes.reply::<RunEnded>()).await.unwrap();
    let mut last = other.run("wait", json!(null));
    goes_on(&mut last).await;
    drop(other);
    assert!(matches!(soon(last.next()).await, Heard::Done(Err(_))));
}

#[tokio::test]
async fn a_process_that_uses_too_much_memory_is_replaced() {
    let config = PoolConfig {
        memory_limit: Some(1 << 30),
        ..one()
    };
    let pool = pool(config).await;
    let first = place(&pool).await;
    values(&mut first.run("grow", json!(null))).await;
    until(|| pool.census().retiring == 1).await;
    let next = place(&pool).await;
    assert_ne!(pid(&first), pid(&next));
    assert_eq!(values(&mut first.run("echo", json!(1))).await, 1);
}

#[tokio::test]
async fn a_process_that_does_not_answer_gets_no_more_runs_and_can_be_killed() {
    let config = PoolConfig {
        silence: Duration::from_secs(1),
        ..one()
    };
    let pool = pool(config).await;
    let frozen = place(&pool).await;
    drop(frozen.run("freeze", json!(null)));
    until(|| pool.census().retiring == 1).await;
    let next = place(&pool).await;
    assert_eq!(values(&mut next.run("echo", json!(1))).await, 1);
    frozen.kill();
    assert_eq!(soon(frozen.lost()).await, Loss::Killed);
}

fn newer(start: &str) -> Launch {
    launch(&[("FAKE", "2"), ("FAKE_START", start)])
}

#[tokio::test]
async fn newer_code_serves_new_runs_while_old_ones_go_on() {
    let config = PoolConfig {
        spare: true,
        ..one()
    };
    let pool = pool(config).await;
    let old = place(&pool).await;
    let mut goes = old.run("wait", json!(null));
    goes_on(&mut goes).await;
    let manifest = soon(pool.replace(newer(""))).await.unwrap();
    assert_eq!(manifest.versions["fake"], "2");
    assert_eq!(pool.manifest().borrow().versions["fake"], "2");
    let mut seen = HashSet::new();
    for _ in 0..2 {
        let new = place(&pool).await;
        assert_eq!(new.manifest().versions["fake"], "2");
        seen.insert(pid(&new));
        new.kill();
    }
    assert_eq!(seen.len(), 2);
    stop(&goes);
    soon(goes.reply::<RunEnded>()).await.unwrap();
}

#[tokio::test]
async fn code_that_does_not_start_replaces_nothing() {
    let pool = pool(one()).await;
    let old = pid(&place(&pool).await);
    let replaced = soon(pool.replace(newer("die"))).await;
    assert!(matches!(replaced, Err(StartError::Died { .. })));
    assert_eq!(pid(&place(&pool).await), old);
    assert_eq!(pool.manifest().borrow().versions["fake"], "1");
    soon(pool.replace(newer(""))).await.unwrap();
    assert_ne!(pid(&place(&pool).await), old);
}

#[tokio::test]
async fn a_process_that_cannot_be_replaced_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let mark_text = mark.to_str().unwrap();
    let launch = launch(&[("FAKE_START", "once"), ("FAKE_MARK", mark_text)]);
    let pool = soon(Pool::start(one(), launch)).await.unwrap();
    place(&pool).await.kill();
    let mut next = Box::pin(pool.place());
    assert!(futures::poll!(&mut next).is_pending());
    // The first one started; the next two did not.
    until(|| std::fs::read(&mark).unwrap().len() == 3).await;
    std::fs::remove_file(&mark).unwrap();
    soon(next).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_ends_everything() {
    let pool = pool(one()).await;
    let (first, second) = (place(&pool).await, place(&pool).await);
    let mut third = Box::pin(pool.place());
    assert!(futures::poll!(&mut third).is_pending());
    soon(pool.shutdown()).await;
    assert_eq!(soon(first.lost()).await, Loss::Evicted);
    drop(second);
    assert_eq!(soon(third).await.err(), Some(Closed));
    assert_eq!(pool.place().await.err(), Some(Closed));
    assert!(soon(pool.replace(launch(&[]))).await.is_err());
}

#[tokio::test]
async fn a_process_may_say_goodbye_but_not_stay() {
    for (term, said) in [("mark", "goodbye"), ("ignore", "")] {
        let mark = tempfile::NamedTempFile::new().unwrap();
        let path = mark.path().to_str().unwrap();
        let launch = launch(&[("FAKE_TERM", term), ("FAKE_MARK", path)]);
        let pool = soon(Pool::start(one(), launch)).await.unwrap();
        let place = place(&pool).await;
        soon(pool.shutdown()).await;
        assert_eq!(soon(place.lost()).await, Loss::Evicted);
        assert_eq!(std::fs::read_to_string(mark.path()).unwrap(), said);
    }
}

#[tokio::test]
async fn the_last_pool_ends_the_processes() {
    let pool = pool(one()).await;
    let place = place(&pool).await;
    let clone = pool.clone();
    drop(pool);
    assert_eq!(values(&mut place.run("echo", json!(1))).await, 1);
    drop(clone);
    assert_eq!(soon(place.lost()).await, Loss::Evicted);
}
