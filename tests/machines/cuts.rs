//! One worker is cut off from Postgres or from NATS, and lives on.

use runloom_core::ids::random_id;
use runloom_testkit::services::{nats, shared};
use runloom_tests::witness::{Step, now};
use serde_json::json;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Setup};
use crate::load::run;
use crate::proxy::{Proxy, port_of};
use crate::report::report;
use crate::stream::Reading;
use crate::workers::{all, answers, numbers, start};

/// A cluster whose first worker reaches Postgres and NATS through proxies.
async fn cluster(nats: &nats::Server, lease: u64) -> (Cluster, Proxy, Proxy) {
    let setup = Setup::on(nats, lease).await;
    let to_postgres = Proxy::to(port_of(&shared::database_url())).await;
    let to_nats = Proxy::to(port_of(&nats.url())).await;
    let mut behind = setup.clone();
    behind.database = to_postgres.url(&setup.database);
    behind.nats = to_nats.url(&setup.nats);
    let mut cluster = Cluster::start(setup, 1, 0).await;
    let worker = cluster.worker_with(&behind).await;
    cluster.workers.push(worker);
    (cluster, to_postgres, to_nats)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_cut_off_from_postgres_stops_before_another_takes_over() {
    const LEASE: u64 = 3;
    const STEPS: usize = 80;
    let nats = nats::Server::start(nats::Version::Newest).await;
    let (mut cluster, to_postgres, _to_nats) = cluster(&nats, LEASE).await;
    let http = cluster.http();
    let (thread, run) = start(&http, STEPS, 0.1).await;
    let own = |step: &Step, number: &str| step.run == run && step.step == number;
    let cut_off = cluster
        .step("a third step", |step| own(step, "3"))
        .await
        .pid;

    // A short cut costs nothing: the lease holds.
    let cut = now();
    to_postgres.stall();
    tokio::time::sleep(std::time::Duration::from_secs_f64(1.2)).await;
    to_postgres.flow();
    let later = |step: &Step| step.run == run && step.at > cut + 1.2;
    assert_eq!(cluster.step("a later step", later).await.attempt, 1);

    let other = cluster.worker().await;
    cluster.workers.push(other);
    let cut = now();
    to_postgres.stall();
    let taken = |step: &Step| step.run == run && step.pid != cut_off;
    let taken = cluster.step("another worker to take over", taken).await.at - cut;
    // Whatever the first one still had to say reaches the database now.
    to_postgres.flow();
    cluster.quiet().await;

    assert_eq!(numbers(&answers(&http, &thread).await), all(STEPS));
    let steps = cluster.steps();
    let late = steps
        .iter()
        .filter(|step| step.run == run && step.pid == cut_off && step.at > cut + taken);
    assert_eq!(late.count(), 0, "it went on after another had taken over");
    let last = steps
        .iter()
        .rev()
        .find(|step| step.run == run && step.pid == cut_off);
    let last = last.unwrap().at - cut;

    cluster.workers.remove(1).stop().await;
    let (_, again) = start(&http, 1, 0.0).await;
    let again = cluster.step("a new claim", |step| step.run == again).await;
    assert_eq!(again.pid, cut_off);
    report(
        "worker without postgres",
        &format!(
            "last act {last:.2} s, another took over {taken:.2} s after the cut, lease {LEASE} s; \
             it claims again after"
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_cut_off_from_nats_goes_on_and_hears_of_interrupts_when_it_renews() {
    const LEASE: u64 = 4;
    const STEPS: usize = 40;
    let nats = nats::Server::start(nats::Version::Newest).await;
    let (cluster, _to_postgres, to_nats) = cluster(&nats, LEASE).await;
    let http = cluster.http();
    let (thread, streamed) = start(&http, STEPS, 0.1).await;
    let path = format!("/threads/{thread}/runs/{streamed}");
    let mut streams = JoinSet::new();
    streams.spawn(Reading::follow(http.clone(), path, None));
    let (busy, victim) = start(&http, 1000, 0.05).await;
    for run in [&streamed, &victim] {
        let second = |step: &Step| step.run == *run && step.step == "2";
        cluster.step("a second step", second).await;
    }
    to_nats.stall();
    let cut = now();

    let path = format!("/threads/{busy}/runs");
    let mut body = run(&random_id(), 1, 0.0);
    body["multitask_strategy"] = json!("interrupt");
    let (code, second) = http.ask(0, &path, Some(&body)).await.unwrap();
    assert_eq!(code, 200, "{second}");
    let second = second["run_id"].as_str().unwrap().to_owned();
    let begun = cluster
        .step("the second run", |step| step.run == second)
        .await;
    let interrupted = begun.at - cut;
    // A new run is found without a wake-up.
    let asked = now();
    let (_, unheard) = start(&http, 1, 0.0).await;
    let found = cluster
        .step("a run nobody spoke of", |step| step.run == unheard)
        .await;
    let found = found.at - asked;
    let last = |step: &Step| step.run == streamed && step.step == "last" && !step.begins;
    cluster.step("the streamed run to end", last).await;
    cluster.quiet().await;
    let cut_for = now() - cut;
    to_nats.flow();

    let reading = streams.join_next().await.unwrap().unwrap();
    assert_eq!(numbers(&answers(&http, &thread).await), all(STEPS));
    let spent = cluster.sql("select max(attempt) from runs").await;
    report(
        "worker without nats",
        &format!(
            "cut off for {cut_for:.1} s; interrupt to first step of the next run {interrupted:.2} s \
             at a lease of {LEASE} s; a new run found after {found:.2} s; its stream lacks the events \
             of {} of {STEPS} steps",
            STEPS - reading.steps.len()
        ),
    );
    assert_eq!(spent, "1", "attempts were spent");
    assert_eq!(reading.faults(STEPS), [""; 0]);
    assert!(
        interrupted < 5.0 * 4.0,
        "the interrupt took {interrupted} s"
    );
}
