//! A thread and a run of one node on it, again and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Ground, Meter, all, rate};
use crate::client::{NewRun, Server};
use crate::latency::Latency;
use crate::results::Round;

/// What a load has done.
pub(crate) struct Done {
    pub(crate) runs: usize,
    pub(crate) wrong: usize,
    latency: Latency,
}

/// When a load is enough.
#[derive(Clone, Copy)]
pub(crate) enum Enough {
    /// Nothing is begun after this.
    At(Instant),
    /// So many by each client, or none begun after this.
    Runs(usize, Instant),
}

/// `clients` at once, each creating a thread and waiting for a run on it. Closed loop: a client asks
/// again when it was answered.
pub(crate) async fn load(
    server: &Arc<Server>,
    clients: usize,
    enough: Enough,
) -> anyhow::Result<Done> {
    let (most, until) = match enough {
        Enough::At(until) => (usize::MAX, until),
        Enough::Runs(runs, until) => (runs, until),
    };
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let mut client = server.client();
        tasks.spawn(async move {
            let (mut samples, mut wrong) = (Vec::new(), 0);
            while samples.len() < most && Instant::now() < until {
                let began = Instant::now();
                let thread = client.thread().await?;
                let answered = client.wait(&thread, NewRun::of("echo", "hello")).await?;
                wrong += usize::from(!answered);
                samples.push(began.elapsed());
            }
            anyhow::Ok((samples, wrong))
        });
    }
    let mut done = Done {
        runs: 0,
        wrong: 0,
        latency: Latency::default(),
    };
    for (samples, wrong) in all(tasks).await? {
        done.runs += samples.len();
        done.wrong += wrong;
        for sample in samples {
            done.latency.record(sample);
        }
    }
    Ok(done)
}

/// Lets a server do what it does only once.
pub(crate) async fn warm_up(ground: &Ground, span: Duration) -> anyhow::Result<()> {
    let until = Enough::At(Instant::now() + span);
    load(&ground.server, 8, until).await.map(drop)
}

pub(crate) async fn round(ground: &Ground, clients: usize) -> anyhow::Result<Round> {
    let mut round = Round::default();
    let meter = Meter::start(ground);
    let until = Enough::At(Instant::now() + ground.scale.span);
    let done = load(&ground.server, clients, until).await?;
    round.set("runs_per_s", rate(done.runs, meter.elapsed()));
    meter.note(&mut round, done.runs, "run");
    done.latency.note(&mut round, "");
    round.set("samples", done.runs as f64);
    round.set("wrong", done.wrong as f64);
    Ok(round)
}
