//! The bus on a cluster of three NATS servers.

mod support;

use std::time::Duration;

use runloom_bus::nats::Options;
use runloom_core::bus::Wake;
use runloom_core::ids::ThreadId;
use runloom_testkit::services::nats::{Cluster, Version};
use support::{PATIENCE, connect, options};
use tokio::time::timeout;

#[tokio::test]
async fn wake_ups_are_heard_while_the_work_queue_has_no_leader() {
    let mut cluster = Cluster::start(Version::Newest).await;
    let options = Options {
        replicas: 3,
        event_shards: 1,
        ..options(&cluster.url())
    };
    let stream = format!("{}_DISP_c0", options.prefix.to_uppercase());
    // The gateway and the worker sit on servers that live on: what is killed is only the leader.
    let client = async_nats::connect(cluster.servers[0].url()).await.unwrap();
    let nats = connect(options.clone()).await;
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream(stream).await.unwrap();
    let leader = stream
        .cached_info()
        .cluster
        .clone()
        .and_then(|cluster| cluster.leader);
    let leader = leader.expect("it has a leader");
    let place = cluster
        .servers
        .iter()
        .position(|server| server.name() == leader);
    let place = place.expect("one of ours");
    let others = cluster.servers.iter().enumerate();
    let others = others.filter(|(other, _)| *other != place);
    let urls = others.map(|(_, server)| server.url()).collect();
    let living = Options { urls, ..options };
    let (gateway, worker) = (connect(living.clone()).await, connect(living).await);
    drop(nats);
    let first = ThreadId::new();
    // The worker waits, as workers do.
    let waiting = worker.notifier();
    gateway.notifier().wake(first).await.unwrap();
    let wakes = waiting.wakes(4, PATIENCE).await.unwrap();
    wakes.into_iter().for_each(Wake::done);

    cluster.servers[place].kill();
    let mut without_leader = 0;
    for _ in 0..4 {
        let thread = ThreadId::new();
        let waking = gateway.notifier();
        let waiting = async {
            loop {
                // An error only says that the queue has no leader now; wake-ups come all the same.
                let wakes = worker
                    .notifier()
                    .wakes(4, PATIENCE)
                    .await
                    .unwrap_or_default();
                let found = wakes.iter().any(|wake| wake.thread == thread);
                wakes.into_iter().for_each(Wake::done);
                if found {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let (sent, heard) = tokio::join!(waking.wake(thread), timeout(PATIENCE, waiting));
        sent.expect("it is sent");
        heard.expect("it is heard");
        // Nobody answers for a stream without a leader.
        let led = timeout(Duration::from_secs(1), stream.get_info()).await;
        let led = led.is_ok_and(|info| {
            info.is_ok_and(|info| info.cluster.is_some_and(|c| c.leader.is_some()))
        });
        without_leader += usize::from(!led);
    }
    assert!(
        without_leader > 0,
        "the election was over before anything was heard"
    );
}
