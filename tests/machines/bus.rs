//! NATS is gone for a while, or has forgotten everything.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use runloom_core::ids::random_id;
use runloom_testkit::services::nats;
use runloom_tests::witness::now;
use serde_json::json;
use tokio::time::sleep;

use crate::cluster::{Cluster, Setup};
use crate::load::{Load, run};
use crate::proof::Proof;
use crate::report::{middle_and_worst, report};
use crate::stream::Reading;
use crate::workers::{all, answers, numbers, start};

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_runs_are_created_executed_read_awaited_and_interrupted() {
    const LEASE: u64 = 4;
    const LONG: usize = 120;
    let mut nats = nats::Server::start(nats::Version::Newest).await;
    let setup = Setup::on(&nats, LEASE).await;
    let cluster = Cluster::start(setup, 2, 2).await;
    let http = cluster.http();

    let (thread, streamed) = start(&http, LONG, 0.1).await;
    let path = format!("/threads/{thread}/runs/{streamed}");
    let mut streams = tokio::task::JoinSet::new();
    streams.spawn(Reading::follow(http.clone(), path, None));
    let (busy, victim) = start(&http, 1000, 0.05).await;
    for run in [&streamed, &victim] {
        cluster
            .step("the first step", |step| step.run == *run)
            .await;
    }
    nats.stop().await;

    let mut waits = Vec::new();
    for gateway in 0..6 {
        let began = Instant::now();
        let body = json!({});
        let thread = http.ask(gateway, "/threads", Some(&body)).await.unwrap();
        let thread = thread.1["thread_id"].as_str().unwrap().to_owned();
        let path = format!("/threads/{thread}/runs/wait");
        let body = run(&random_id(), 2, 0.01);
        let (code, values) = http.ask(gateway, &path, Some(&body)).await.unwrap();
        assert_eq!(
            (code, values["messages"].as_array().map(Vec::len)),
            (200, Some(4))
        );
        waits.push(began.elapsed().as_secs_f64());
        assert_eq!(numbers(&answers(&http, &thread).await), all(2));
    }

    let path = format!("/threads/{busy}/runs");
    let mut body = run(&random_id(), 1, 0.0);
    body["multitask_strategy"] = "interrupt".into();
    let asked = now();
    let (code, second) = http.ask(1, &path, Some(&body)).await.unwrap();
    assert_eq!(code, 200, "{second}");
    let second = second["run_id"].as_str().unwrap().to_owned();
    let begun = cluster
        .step("the second run", |step| step.run == second)
        .await;
    let interrupted = begun.at - asked;

    nats.restart().await;
    let reading = streams.join_next().await.unwrap().unwrap();
    cluster.quiet().await;
    let status = cluster
        .sql(&format!("select status from runs where id = '{victim}'"))
        .await;
    assert_eq!(status, "interrupted");
    let (middle, worst) = middle_and_worst(waits);
    report(
        "nats stopped",
        &format!(
            "create and wait for a run of 30 ms: median {middle:.3} s, worst {worst:.3} s; \
             interrupt to first step of the next run {interrupted:.2} s at a lease of {LEASE} s; \
             the stream went on, resumed {} times, without the events of {} of {LONG} steps",
            reading.resumed,
            LONG - reading.steps.len()
        ),
    );
    assert_eq!(reading.faults(LONG), [""; 0]);
    assert!(
        interrupted < 5.0 * 4.0,
        "the interrupt took {interrupted} s"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_deleted_again_and_again_loses_no_run() {
    let nats = nats::Server::start(nats::Version::Newest).await;
    let setup = Setup::on(&nats, 5).await;
    let cluster = Cluster::start(setup, 2, 3).await;
    let load = Load::begin(&cluster.http(), 30).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let (mut streams, mut consumers) = (0, 0);
    for round in 0..8 {
        sleep(Duration::from_secs(1)).await;
        let names: Vec<String> = jetstream.stream_names().try_collect().await.unwrap();
        for name in names {
            if round % 2 == 0 {
                streams += usize::from(jetstream.delete_stream(&name).await.is_ok());
                continue;
            }
            let Ok(stream) = jetstream.get_stream(&name).await else {
                continue;
            };
            let of: Vec<String> = stream
                .consumer_names()
                .try_collect()
                .await
                .unwrap_or_default();
            for consumer in of {
                consumers += usize::from(stream.delete_consumer(&consumer).await.is_ok());
            }
        }
    }
    let talks = load.end().await;
    let longest = talks.iter().map(|talk| talk.longest).max().unwrap();
    let proof = Proof::of(&cluster, &talks).await;
    report(
        "streams deleted",
        &format!(
            "{streams} streams and {consumers} consumers deleted; {proof}; longest creation {:.3} s",
            longest.as_secs_f64()
        ),
    );
    assert!(streams > 0 && consumers > 0, "nothing was deleted");
    proof.nothing_is_lost();
    proof.nothing_is_done_twice();
}
