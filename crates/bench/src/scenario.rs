//! What is measured.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::future::{try_join, try_join_all};
use tokio::time::sleep;

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

/// What one interrupt took.
struct Sample {
    first_event: Duration,
    /// `None` if the first run did not end as interrupted.
    stopped: Option<Duration>,
}

/// On `threads` threads at once, again and again until there are `samples`: a run is interrupted by a
/// second one while a node of it is busy. From sending the second request to the second run's first
/// event, and to the end of the first run's stream, which comes after its status is stored. The
/// requests of a pair go to different servers, if there are several.
pub(crate) async fn interrupt(
    clients: &[Client],
    threads: usize,
    samples: usize,
) -> anyhow::Result<Interrupt> {
    let each = (0..threads).map(|number| async move {
        let mut taken = Vec::new();
        for turn in 0..samples.div_ceil(threads) {
            let place = number + turn;
            let first = &clients[place % clients.len()];
            let second = &clients[(place + 1) % clients.len()];
            // Not all at the same moment, neither in the node nor on the clock.
            let lead = Duration::from_millis(20 + 37 * place as u64 % 150);
            taken.push(interrupt_once(first, second, lead).await?);
        }
        anyhow::Ok(taken)
    });
    let taken: Vec<_> = try_join_all(each).await?.into_iter().flatten().collect();
    Ok(Interrupt {
        first_event: Latency::of(taken.iter().map(|sample| sample.first_event)),
        stopped: Latency::of(taken.iter().filter_map(|sample| sample.stopped)),
        wrong: taken
            .iter()
            .filter(|sample| sample.stopped.is_none())
            .count(),
    })
}

async fn interrupt_once(first: &Client, second: &Client, lead: Duration) -> anyhow::Result<Sample> {
    let thread = first.thread().await?;
    let run = first.create(&thread, "slow").await?;
    let mut old = first.join(&thread, &run).await?;
    // Joining shows nothing of what was before, so the status tells when the run has begun.
    while first.status(&thread, &run).await? == "pending" {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(lead).await;
    let began = Instant::now();
    let new = async {
        let mut events = second.stream(&thread, "echo", "interrupt").await?;
        let event = events.next().await;
        event.context("a stream has a first event")??;
        let first_event = began.elapsed();
        while events.next().await.transpose()?.is_some() {}
        anyhow::Ok(first_event)
    };
    let old = async {
        while old.next().await.transpose()?.is_some() {}
        anyhow::Ok(began.elapsed())
    };
    let (first_event, stopped) = try_join(new, old).await?;
    let interrupted = second.status(&thread, &run).await? == "interrupted";
    Ok(Sample {
        first_event,
        stopped: interrupted.then_some(stopped),
    })
}
