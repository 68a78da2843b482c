//! How soon NATS delivers.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, stream};
use futures::StreamExt as _;

use crate::latency::Latency;
use crate::results::Round;

/// Deliveries that nobody measures.
const WARM: usize = 100;

pub(crate) async fn version(url: &str) -> anyhow::Result<String> {
    Ok(async_nats::connect(url).await?.server_info().version)
}

/// A subject of its own.
fn subject(name: &str) -> String {
    format!("runloom-floor.{}.{name}", std::process::id())
}

/// Core NATS between two connections: there, and there and back.
pub(crate) async fn core(url: &str, span: Duration) -> anyhow::Result<Round> {
    let (here, there) = (
        async_nats::connect(url).await?,
        async_nats::connect(url).await?,
    );
    let (ask, answer) = (subject("ask"), subject("answer"));
    let mut asked = there.subscribe(ask.clone()).await?;
    let mut answered = here.subscribe(answer.clone()).await?;
    here.flush().await?;
    there.flush().await?;
    let (mut delivery, mut round_trip) = (Latency::default(), Latency::default());
    let (until, mut number) = (Instant::now() + span, 0);
    while Instant::now() < until {
        let began = Instant::now();
        here.publish(ask.clone(), "wake".into()).await?;
        asked.next().await.context("the connection ended")?;
        let arrived = began.elapsed();
        there.publish(answer.clone(), "stopping".into()).await?;
        answered.next().await.context("the connection ended")?;
        number += 1;
        if number > WARM {
            delivery.record(arrived);
            round_trip.record(began.elapsed());
        }
    }
    let mut round = Round::default();
    delivery.note(&mut round, "delivery_");
    round_trip.note(&mut round, "round_trip_");
    Ok(round)
}

/// From publishing into a work queue to its delivery to a consumer that has asked for it already.
pub(crate) async fn pull(url: &str, span: Duration) -> anyhow::Result<Round> {
    let name = format!("RUNLOOM-FLOOR-{}", std::process::id());
    let subject = subject("queue");
    let sender = jetstream::new(async_nats::connect(url).await?);
    let receiver = jetstream::new(async_nats::connect(url).await?);
    let stream = receiver.create_stream(stream::Config {
        name: name.clone(),
        subjects: vec![subject.clone()],
        retention: stream::RetentionPolicy::WorkQueue,
        ..stream::Config::default()
    });
    let stream = stream.await?;
    let measured = deliveries(&sender, &stream, &subject, span).await;
    receiver.delete_stream(&name).await?;
    let mut round = Round::default();
    measured?.note(&mut round, "delivery_");
    Ok(round)
}

async fn deliveries(
    sender: &jetstream::Context,
    stream: &stream::Stream,
    subject: &str,
    span: Duration,
) -> anyhow::Result<Latency> {
    let config = pull::Config {
        durable_name: Some("floor".to_owned()),
        ..pull::Config::default()
    };
    let consumer: PullConsumer = stream.create_consumer(config).await?;
    let mut messages = consumer.messages().await?;
    let (mut latency, until, mut number) = (Latency::default(), Instant::now() + span, 0);
    while Instant::now() < until {
        let began = Instant::now();
        let stored = sender.publish(subject.to_owned(), "wake".into()).await?;
        let message = messages.next().await.context("the consumer ended")?;
        let message = message.map_err(anyhow::Error::from)?;
        let arrived = began.elapsed();
        stored.await?;
        let acknowledged = message.ack().await;
        acknowledged.map_err(|error| anyhow::anyhow!("{error}"))?;
        number += 1;
        if number > WARM {
            latency.record(arrived);
        }
    }
    Ok(latency)
}
