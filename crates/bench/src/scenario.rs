//! What is measured.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::future::try_join_all;

use crate::client::Client;
use crate::latency::Latency;

/// The outcome of a throughput measurement.
pub(crate) struct Throughput {
    pub(crate) per_second: f64,
    pub(crate) latency: Latency,
}

/// `clients` at once, each creating a thread and waiting for a run of one node on it, again and
/// again for `seconds`. Closed loop: a client asks again when it was answered.
pub(crate) async fn wait(
    client: &Client,
    clients: usize,
    seconds: f64,
) -> anyhow::Result<Throughput> {
    let started = Instant::now();
    let until = started + Duration::from_secs_f64(seconds);
    let each = (0..clients).map(|_| async {
        let mut samples = Vec::new();
        while Instant::now() < until {
            let began = Instant::now();
            let thread = client.thread().await?;
            let values = client.wait(&thread, "echo").await?;
            values["messages"][1]["content"]
                .as_str()
                .context("an answer")?;
            samples.push(began.elapsed());
        }
        anyhow::Ok(samples)
    });
    let samples: Vec<_> = try_join_all(each).await?.into_iter().flatten().collect();
    let count = u32::try_from(samples.len()).context("too many samples")?;
    let per_second = f64::from(count) / started.elapsed().as_secs_f64();
    Ok(Throughput {
        per_second,
        latency: Latency::of(samples),
    })
}

/// From sending the request to the first event, on an idle server.
pub(crate) async fn first_event(client: &Client, samples: usize) -> anyhow::Result<Latency> {
    let mut latencies = Vec::with_capacity(samples);
    for _ in 0..samples {
        let thread = client.thread().await?;
        let began = Instant::now();
        let mut events = client.stream(&thread, "echo", "enqueue").await?;
        events
            .next()
            .await
            .context("a stream has a first event")??;
        latencies.push(began.elapsed());
        while events.next().await.transpose()?.is_some() {}
    }
    Ok(Latency::of(latencies))
}

/// The outcome of the interrupt measurement.
pub(crate) struct Interrupt {
    pub(crate) first_event: Latency,
    pub(crate) stopped: Latency,
    pub(crate) wrong: usize,
}

/// A run is interrupted by a second one while a node of it is busy: from sending the second request
/// to the second run's first event, and to the first run being seen as interrupted.
pub(crate) async fn interrupt(client: &Client, samples: usize) -> anyhow::Result<Interrupt> {
    let (mut firsts, mut stops, mut wrong) = (Vec::new(), Vec::new(), 0);
    for _ in 0..samples {
        let thread = client.thread().await?;
        let first = client.create(&thread, "slow").await?;
        while client.status(&thread, &first).await? == "pending" {}
        let began = Instant::now();
        let mut events = client.stream(&thread, "echo", "interrupt").await?;
        events
            .next()
            .await
            .context("a stream has a first event")??;
        firsts.push(began.elapsed());
        loop {
            match client.status(&thread, &first).await?.as_str() {
                "running" => {}
                "interrupted" => break stops.push(began.elapsed()),
                _ => break wrong += 1,
            }
        }
        while events.next().await.transpose()?.is_some() {}
    }
    Ok(Interrupt {
        first_event: Latency::of(firsts),
        stopped: Latency::of(stops),
        wrong,
    })
}
