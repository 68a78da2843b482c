//! Gateways and workers are asked to stop, killed, paused.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use runloom_core::ids::random_id;
use runloom_testkit::services::nats;
use runloom_tests::http::Http;
use runloom_tests::witness::{Step, now};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;

use crate::cluster::{Cluster, Setup};
use crate::load::{Load, run};
use crate::proof::Proof;
use crate::report::report;

/// Starts a run on a new thread, and returns both.
pub(crate) async fn start(http: &Http, steps: usize, delay: f64) -> (String, String) {
    let body = run(&random_id(), steps, delay);
    let thread = http.insist("/threads", Some(&json!({}))).await.unwrap();
    let thread = thread["thread_id"].as_str().unwrap().to_owned();
    let path = format!("/threads/{thread}/runs");
    let run = http.insist(&path, Some(&body)).await.unwrap();
    (thread, run["run_id"].as_str().unwrap().to_owned())
}

/// The texts of what the graph said on a thread, each without the run's id.
pub(crate) async fn answers(http: &Http, thread: &str) -> Vec<String> {
    let path = format!("/threads/{thread}/state");
    let state = http.insist(&path, None).await.unwrap();
    let messages = state["values"]["messages"].as_array().unwrap().iter();
    let answers = messages.filter(|message| message["type"] == "ai");
    let texts = answers.filter_map(|message| message["content"].as_str()?.split_once(' '));
    texts.map(|(_, text)| text.to_owned()).collect()
}

/// The numbers of the steps in such texts.
pub(crate) fn numbers(answers: &[String]) -> Vec<&str> {
    let numbers = answers.iter().filter_map(|text| text.split(' ').nth(1));
    numbers.collect()
}

/// The numbers of all steps of a run of so many.
pub(crate) fn all(steps: usize) -> Vec<String> {
    let numbers = (1..=steps).map(|step| step.to_string());
    numbers.chain(["last".to_owned()]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn restarting_everything_under_load_loses_nothing_and_repeats_no_step() {
    let nats = nats::Server::start(nats::Version::Newest).await;
    let setup = Setup::on(&nats, 5).await;
    let mut cluster = Cluster::start(setup, 2, 3).await;
    let load = Load::begin(&cluster.http(), 40).await;
    sleep(Duration::from_secs(1)).await;
    let mut longest = (Duration::ZERO, Duration::ZERO);
    for _ in 0..3 {
        let old = cluster.workers.remove(0);
        let began = Instant::now();
        old.role.signal(Signal::TERM);
        let successor = cluster.worker().await;
        cluster.workers.push(successor);
        longest.0 = longest.0.max(old.ended(began).await.1);
    }
    for at in 0..2 {
        let (port, took) = cluster.gateways.remove(at).stop().await;
        longest.1 = longest.1.max(took);
        let successor = cluster.gateway(port).await;
        cluster.gateways.insert(at, successor);
    }
    sleep(Duration::from_millis(500)).await;
    let talks = load.end().await;
    let proof = Proof::of(&cluster, &talks).await;
    report(
        "rolling restart",
        &format!(
            "{proof}; the longest stop of a worker took {:.2} s, of a gateway {:.2} s",
            longest.0.as_secs_f64(),
            longest.1.as_secs_f64()
        ),
    );
    proof.nothing_is_lost();
    proof.nothing_is_done_twice();
    proof.streams_are_whole();
    assert!(proof.handed_back > 0, "no drain had anything to hand back");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_a_killed_worker_go_on_from_their_checkpoints_after_a_lease() {
    const LEASE: u64 = 3;
    const STEPS: usize = 30;
    let nats = nats::Server::start(nats::Version::Newest).await;
    let setup = Setup::on(&nats, LEASE).await;
    let mut cluster = Cluster::start(setup, 1, 3).await;
    let http = cluster.http();
    let mut runs = Vec::new();
    for _ in 0..6 {
        runs.push(start(&http, STEPS, 0.1).await);
    }
    let fifth = cluster
        .step("a fifth step", |step| step.step == "5" && !step.begins)
        .await;
    let holder = cluster.workers.iter_mut().find(|at| at.pid() == fifth.pid);
    let holder = holder.unwrap();
    holder.role.kill();
    let killed = now();
    cluster.quiet().await;

    let steps = cluster.steps();
    let mut waits = Vec::new();
    let mut repeated = 0;
    for (thread, run) in &runs {
        assert_eq!(numbers(&answers(&http, thread).await), all(STEPS), "{run}");
        let own: Vec<&Step> = steps.iter().filter(|step| step.run == *run).collect();
        let Some(next) = own.iter().find(|step| step.at > killed && step.attempt > 1) else {
            continue;
        };
        waits.push(next.at - killed);
        let begun = own.iter().filter(|step| step.begins).count();
        // The one in hand, whether it had ended or not: its checkpoint was still to come.
        assert!(
            begun <= STEPS + 2,
            "{run} began {begun} steps of {}",
            STEPS + 1
        );
        repeated += begun - STEPS - 1;
    }
    assert!(!waits.is_empty(), "the killed worker held nothing");
    let leases = |time: f64| format!("{:.2}", time / 3.0);
    let (shortest, longest) = waits.iter().fold((f64::MAX, 0.0_f64), |(a, b), wait| {
        (a.min(*wait), b.max(*wait))
    });
    report(
        "killed worker",
        &format!(
            "{} runs resumed after {} to {} leases of {LEASE} s, {repeated} steps in hand done again",
            waits.len(),
            leases(shortest),
            leases(longest)
        ),
    );
    assert!(longest < 10.0 * 3.0, "resumed after {longest} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_paused_past_its_lease_stops_first_and_begins_anew() {
    const STEPS: usize = 120;
    let nats = nats::Server::start(nats::Version::Newest).await;
    let setup = Setup::on(&nats, 2).await;
    let mut cluster = Cluster::start(setup, 1, 1).await;
    let http = cluster.http();
    let mut runs = Vec::new();
    for _ in 0..8 {
        runs.push(start(&http, STEPS, 0.08).await);
    }
    let paused = cluster.workers[0].pid();
    let begun = async || {
        let steps = cluster.steps();
        let runs: BTreeSet<_> = steps.iter().map(|step| step.run.as_str()).collect();
        runs.len() == 8
    };
    cluster.until("all runs to begin", begun).await;
    cluster.workers[0].role.signal(Signal::STOP);
    let stopped = now();
    let other = cluster.worker().await;
    cluster.workers.push(other);
    for (_, run) in &runs {
        let taken = |step: &Step| step.run == *run && step.pid != paused;
        cluster.step("another worker to take over", taken).await;
    }
    let taken_after = now() - stopped;
    let woken = now();
    cluster.workers[0].role.signal(Signal::CONT);
    cluster.quiet().await;
    for (thread, run) in &runs {
        assert_eq!(numbers(&answers(&http, thread).await), all(STEPS), "{run}");
    }
    let late: Vec<Step> = cluster
        .steps()
        .into_iter()
        .filter(|step| step.pid == paused && step.begins && step.at >= woken)
        .filter(|step| runs.iter().any(|(_, run)| *run == step.run))
        .collect();
    assert!(late.is_empty(), "the paused worker went on: {late:?}");

    // The other one goes, so only the one that was paused can execute this.
    cluster.workers.remove(1).stop().await;
    let (_, again) = start(&http, 1, 0.0).await;
    let again = cluster.step("a new claim", |step| step.run == again).await;
    assert_eq!(again.pid, paused);
    report(
        "paused worker",
        &format!(
            "8 runs taken over after {taken_after:.1} s of a lease of 2 s, steps of the paused worker \
             after it went on: 0"
        ),
    );
}
