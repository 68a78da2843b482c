//! A pooler that lends connections for a transaction at a time stands before Postgres.

use runloom_core::ids::random_id;
use runloom_testkit::services::{nats, pgbouncer, postgres};
use serde_json::json;

use crate::cluster::{Cluster, Setup};
use crate::load::{Load, run};
use crate::proof::Proof;
use crate::report::report;
use crate::workers::{all, answers, numbers, start};

#[tokio::test(flavor = "multi_thread")]
async fn double_texting_works_through_a_transaction_pooler() {
    let postgres = postgres::Server::start().await;
    let nats = nats::Server::start(nats::Version::Newest).await;
    let pooler = pgbouncer::Server::start(&postgres).await;
    let mut setup = Setup::on_own(&postgres, &nats, 5);
    setup.database = pooler.database_url("postgres");
    setup.more = ["--database-prepared", "false"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::start(setup, 2, 2).await;
    cluster.truth = postgres.url();
    let http = cluster.http();

    for strategy in ["reject", "enqueue", "interrupt", "rollback"] {
        let steps = if strategy == "enqueue" { 5 } else { 1000 };
        let (thread, first) = start(&http, steps, 0.02).await;
        cluster
            .step("a third step", |step| step.run == first && step.step == "3")
            .await;
        let mut body = run(&random_id(), 2, 0.01);
        body["multitask_strategy"] = json!(strategy);
        let path = format!("/threads/{thread}/runs");
        let (code, second) = http.ask(1, &path, Some(&body)).await.unwrap();
        if strategy == "reject" {
            assert_eq!(code, 409, "{second}");
            let path = format!("{path}/{first}/cancel?wait=true");
            http.ask(0, &path, Some(&json!({}))).await.unwrap();
            continue;
        }
        assert_eq!(code, 200, "{strategy}: {second}");
        let second = second["run_id"].as_str().unwrap();
        cluster.quiet().await;
        let status = async |run: &str| {
            let query = format!("select status from runs where id = '{run}'");
            cluster.sql(&query).await
        };
        let left = match strategy {
            "enqueue" => "success",
            "interrupt" => "interrupted",
            _ => "",
        };
        assert_eq!(
            (status(&first).await.as_str(), status(second).await.as_str()),
            (left, "success")
        );
        let said = answers(&http, &thread).await;
        let said = numbers(&said);
        match strategy {
            "enqueue" => assert_eq!(said, [all(5), all(2)].concat()),
            "interrupt" => assert!(said.len() > 5, "{said:?}"),
            _ => assert_eq!(said, all(2)),
        }
    }

    let load = Load::begin(&http, 20).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let proof = Proof::of(&cluster, &load.end().await).await;
    report(
        "transaction pooler",
        &format!("four strategies as usual; {proof}"),
    );
    proof.nothing_is_lost();
    proof.nothing_is_done_twice();
    proof.streams_are_whole();
}
