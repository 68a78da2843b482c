//! The roles of the binary as processes on Postgres and NATS: what one does with another's work, and
//! what happens when a part of them is gone.

mod health;
mod site;

use std::io::Write as _;
use std::time::{Duration, Instant};

use runloom_tests::process::Role;
use runloom_tests::sse::Frames;
use rustix::process::Signal;

use site::{LEASE, PATIENCE, Site, contents, slow, until};

const WHOLE: [&str; 4] = ["a", "one", "two", "three"];

/// Shows what was measured to whoever runs the test.
fn report(line: std::fmt::Arguments<'_>) {
    writeln!(std::io::stdout(), "{line}").expect("somebody reads");
}

/// Reads a stream to its end: the names of its events, and the id of the last one.
async fn events(mut frames: Frames) -> (Vec<String>, Option<String>) {
    let (mut names, mut last) = (Vec::new(), None);
    while let Some(frame) = frames.next().await {
        if frame.comment.is_none() {
            names.push(frame.event);
            last = frame.id.or(last);
        }
    }
    (names, last)
}

/// Waits until a process has left by itself.
async fn ended(role: &mut Role) {
    let ended = tokio::time::timeout(PATIENCE, async {
        while role.is_running() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    ended.await.expect("it leaves");
}

#[tokio::test]
async fn a_run_of_one_gateway_is_streamed_and_read_through_another() {
    let mut site = Site::start().await;
    let _worker = site.worker();
    let thread = site.thread().await;
    let run = site.run(0, &thread, 0.5).await;
    let path = format!("{run}/stream");
    let stream = site.http.send(1, &path, None, Some("-1"));
    let frames = Frames::new(stream.await.expect("a stream"));
    let (names, _) = events(frames).await;
    assert_eq!(names, ["metadata", "updates", "updates", "updates"]);
    assert_eq!(site.said(&thread).await, WHOLE);
    let path = format!("/threads/{thread}/runs/wait");
    let (status, values) = site
        .http
        .ask(1, &path, Some(&slow(0.05)))
        .await
        .expect("values");
    assert_eq!((status, contents(&values).len()), (200, 8));
    let numbers = site.http.send(1, "/metrics", None, None).await;
    let numbers = numbers.expect("an answer").text().await.expect("a page");
    assert!(numbers.contains("runloom_unavailable_total"), "{numbers}");
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_hands_its_run_on_at_the_next_step() {
    let mut site = Site::start().await;
    let mut first = site.worker();
    let thread = site.thread().await;
    let run = site.run(0, &thread, 2.0).await;
    site.says(&thread, "one").await;
    let _second = site.worker();
    let begun = Instant::now();
    first.signal(Signal::TERM);
    until(async || site.said(&thread).await.len() > 2, "second step").await;
    site.succeeds(&run).await;
    report(format_args!(
        "SIGTERM in mid-run: {:.2?} to the end of two steps of 2 s",
        begun.elapsed()
    ));
    ended(&mut first).await;
    assert_eq!(site.said(&thread).await, WHOLE);
    assert_eq!(site.attempts(&run).await, ("1".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn a_killed_workers_run_goes_on_from_its_checkpoint_after_a_lease() {
    let mut site = Site::start().await;
    let mut first = site.worker();
    let thread = site.thread().await;
    let run = site.run(0, &thread, 2.0).await;
    site.says(&thread, "one").await;
    let _second = site.worker();
    first.kill();
    let begun = Instant::now();
    let taken = async || site.attempts(&run).await.0 == "2";
    until(taken, "second attempt").await;
    let took = begun.elapsed();
    report(format_args!(
        "kill -9 in mid-run: taken up after {took:.2?}, with a lease of {LEASE} s"
    ));
    assert!(took < Duration::from_secs(LEASE * 10), "{took:?}");
    site.succeeds(&run).await;
    assert_eq!(site.said(&thread).await, WHOLE, "no step twice");
}

#[tokio::test]
async fn without_nats_runs_are_created_executed_and_read() {
    let mut site = Site::start().await;
    let _worker = site.worker();
    let thread = site.thread().await;
    let path = format!("/threads/{thread}/runs/wait");
    site.http
        .ask(0, &path, Some(&slow(0.0)))
        .await
        .expect("an answer");
    site.nats.stop().await;
    let begun = Instant::now();
    let (status, values) = site
        .http
        .ask(1, &path, Some(&slow(0.0)))
        .await
        .expect("an answer");
    report(format_args!(
        "without NATS: created, executed and waited for in {:.2?}",
        begun.elapsed()
    ));
    assert_eq!((status, contents(&values).len()), (200, 8));

    let run = site.run(0, &thread, 1.0).await;
    let stream = site
        .http
        .send(1, &format!("{run}/stream"), None, None)
        .await;
    let frames = Frames::new(stream.expect("a stream"));
    site.nats.restart().await;
    let (names, _) = events(frames).await;
    report(format_args!("live again: {names:?}"));
    assert_eq!(names.last().map(String::as_str), Some("updates"));
    assert_eq!(site.said(&thread).await.len(), 12);
}

#[tokio::test]
async fn while_postgres_is_away_nothing_is_promised_and_then_all_goes_on() {
    let mut site = Site::start().await;
    let _worker = site.worker();
    let thread = site.thread().await;
    let run = site.run(0, &thread, 0.6).await;
    site.says(&thread, "one").await;
    site.postgres.stop_immediately().await;
    let path = format!("/threads/{thread}/runs");
    for gateway in 0..2 {
        let refused = site.http.send(gateway, &path, Some(&slow(0.0)), None).await;
        let refused = refused.expect("an answer");
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        let text = refused.text().await.expect("a body");
        assert!(text.contains("detail"), "{text}");
    }
    site.postgres.restart().await;
    site.succeeds(&run).await;
    assert_eq!(site.said(&thread).await, WHOLE);
    let runs = site.http.insist(&path, None).await.expect("an answer");
    assert_eq!(
        runs.as_array().map(Vec::len),
        Some(1),
        "what was refused is not there"
    );
}

#[tokio::test]
async fn a_schema_that_does_not_fit_is_refused_by_name() {
    let site = Site::start().await;
    site.postgres.sql("delete from _sqlx_migrations").await;
    let mut late = site.role("late", "worker", &[]);
    late.start();
    ended(&mut late).await;
    let log = std::fs::read_to_string(late.log()).expect("a log");
    assert!(log.contains("runloom migrate"), "{log}");
}
