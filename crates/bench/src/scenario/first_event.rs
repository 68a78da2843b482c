//! From sending a request for a streamed run to the run's first event.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::{Ground, Meter, all};
use crate::client::{Client, NewRun};
use crate::latency::Latency;
use crate::results::Round;

/// Between two samples on an idle server.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two bursts.
const BEAT: Duration = Duration::from_secs(1);

/// What one run took.
struct Sample {
    /// To the first event of any kind.
    first: Duration,
    /// To the first that says more than that there is a run.
    content: Duration,
}

/// One run after the other, on a server that has nothing else to do.
pub(crate) async fn idle(ground: &Ground) -> anyhow::Result<Round> {
    let mut client = ground.server.client();
    let until = Instant::now() + 2 * ground.scale.span;
    let mut samples = Vec::new();
    let meter = Meter::start(ground);
    while samples.len() < ground.scale.samples && (Instant::now() < until || samples.len() < 5) {
        let thread = client.thread().await?;
        sleep(PAUSE).await;
        samples.push(sample(&mut client, &thread, Instant::now()).await?);
    }
    Ok(figures(&samples, meter))
}

/// `size` at the same moment, every second, whether the last ones are answered or not: a run's time
/// counts from the moment at which it was due to be asked for.
pub(crate) async fn bursts(ground: &Ground, size: usize) -> anyhow::Result<Round> {
    let beats = ground.scale.span.as_secs().max(2) as usize;
    let mut ready = JoinSet::new();
    for _ in 0..size * beats {
        let server = ground.server.clone();
        ready.spawn(async move {
            let mut client = server.client();
            let thread = client.thread().await?;
            anyhow::Ok((client, thread))
        });
    }
    let ready = all(ready).await?;
    let meter = Meter::start(ground);
    let start = Instant::now() + Duration::from_millis(50);
    let mut tasks = JoinSet::new();
    for (number, (mut client, thread)) in ready.into_iter().enumerate() {
        let due = start + BEAT * u32::try_from(number / size).unwrap_or(u32::MAX);
        tasks.spawn(async move {
            sleep_until(due.into()).await;
            sample(&mut client, &thread, due).await
        });
    }
    Ok(figures(&all(tasks).await?, meter))
}

async fn sample(client: &mut Client, thread: &str, due: Instant) -> anyhow::Result<Sample> {
    let mut events = client.stream(thread, NewRun::of("echo", "hello")).await?;
    let (mut first, mut content) = (None, None);
    while let Some(event) = events.next().await? {
        first = first.or(Some(event.at));
        if event.is_content() {
            content = content.or(Some(event.at));
        }
    }
    let since = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(due));
    Ok(Sample {
        first: since(first).context("a stream without any event")?,
        content: since(content).context("a stream without any content")?,
    })
}

fn figures(samples: &[Sample], meter: Meter) -> Round {
    let mut round = Round::default();
    meter.note(&mut round, samples.len(), "run");
    Latency::of(samples.iter().map(|sample| sample.first)).note(&mut round, "first_");
    Latency::of(samples.iter().map(|sample| sample.content)).note(&mut round, "content_");
    round.set("samples", samples.len() as f64);
    round
}
