//! Postgres restarts, and a standby takes over.

use std::time::Duration;

use runloom_testkit::services::{nats, postgres};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Setup};
use crate::load::Load;
use crate::proof::Proof;
use crate::proxy::Proxy;
use crate::report::report;

#[tokio::test(flavor = "multi_thread")]
async fn postgres_restarted_at_once_costs_no_run_and_no_attempt() {
    let mut postgres = postgres::Server::start().await;
    let nats = nats::Server::start(nats::Version::Newest).await;
    let setup = Setup::on_own(&postgres, &nats, 12);
    let cluster = Cluster::start(setup, 2, 3).await;
    let load = Load::begin(&cluster.http(), 30).await;
    let mut longest = Duration::ZERO;
    for _ in 0..2 {
        sleep(Duration::from_millis(1500)).await;
        let began = Instant::now();
        postgres.stop_immediately().await;
        sleep(Duration::from_millis(500)).await;
        postgres.restart().await;
        longest = longest.max(began.elapsed());
    }
    sleep(Duration::from_millis(1500)).await;
    let talks = load.end().await;
    let proof = Proof::of(&cluster, &talks).await;
    report(
        "postgres restarted",
        &format!("{proof}; longest outage {:.1} s", longest.as_secs_f64()),
    );
    proof.nothing_is_lost();
    assert_eq!(
        proof.spent,
        0,
        "{proof}: attempts were spent\n{}",
        cluster.warnings()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_has_everything_that_was_acknowledged() {
    let mut primary = postgres::Server::start().await;
    let nats = nats::Server::start(nats::Version::Newest).await;
    let standby = primary.add_standby("second").await;
    let proxy = Proxy::to(primary.port()).await;
    let mut setup = Setup::on_own(&primary, &nats, 5);
    setup.database = proxy.url(&setup.database);
    let mut cluster = Cluster::start(setup, 2, 3).await;
    let load = Load::begin(&cluster.http(), 30).await;
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    primary.kill();
    standby.promote().await;
    proxy.lead_to(standby.port());
    let took = began.elapsed();
    cluster.truth = standby.url();
    sleep(Duration::from_secs(3)).await;
    let talks = load.end().await;
    let proof = Proof::of(&cluster, &talks).await;
    report(
        "standby promoted",
        &format!(
            "{proof}; {:.1} s from death to promotion",
            took.as_secs_f64()
        ),
    );
    proof.nothing_is_lost();
}
