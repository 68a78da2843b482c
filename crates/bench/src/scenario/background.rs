//! Many runs, several of them queued on each thread, created as fast as the server takes them and done
//! when the last one is over.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Ground, Meter, all, rate};
use crate::client::{Client, NewRun};
use crate::results::Round;

/// Connections that create and wait.
const CLIENTS: usize = 16;

/// Runs on each thread.
const ON_A_THREAD: usize = 10;

/// A thread, and the last run on it.
struct Queue {
    thread: String,
    last: String,
}

pub(crate) async fn round(ground: &Ground) -> anyhow::Result<Round> {
    // How many there should be depends on the server: a round takes about the same time for each.
    let (trial, runs) = drive(ground, CLIENTS).await?;
    let wanted = rate(runs, trial.took) * ground.scale.span.as_secs_f64();
    let threads = (wanted as usize / ON_A_THREAD).clamp(CLIENTS, 4000);
    let meter = Meter::start(ground);
    let (driven, runs) = drive(ground, threads).await?;
    let mut round = Round::default();
    round.set("runs_per_s", rate(runs, driven.took));
    round.set("creates_per_s", rate(runs, driven.creating));
    round.set("runs", runs as f64);
    meter.note(&mut round, runs, "run");
    round.set("samples", threads as f64);
    round.set("wrong", wrong(ground, driven.queues).await? as f64);
    Ok(round)
}

/// How long runs on so many threads took.
struct Driven {
    queues: Vec<Vec<Queue>>,
    creating: Duration,
    took: Duration,
}

async fn drive(ground: &Ground, threads: usize) -> anyhow::Result<(Driven, usize)> {
    // The threads are there before the clock starts: only runs are measured.
    let mut tasks = JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = ground.server.client();
        let share = (number..threads).step_by(CLIENTS).count();
        tasks.spawn(async move {
            let mut threads = Vec::with_capacity(share);
            for _ in 0..share {
                threads.push(client.thread().await?);
            }
            anyhow::Ok((client, threads))
        });
    }
    let ready = all(tasks).await?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (client, threads) in ready {
        tasks.spawn(fill_and_join(client, threads, began));
    }
    let mut driven = Driven {
        queues: Vec::new(),
        creating: Duration::ZERO,
        took: Duration::ZERO,
    };
    for (queues, created, ended) in all(tasks).await? {
        driven.queues.push(queues);
        driven.creating = driven.creating.max(created);
        driven.took = driven.took.max(ended);
    }
    Ok((driven, threads * ON_A_THREAD))
}

/// Creates runs on each of the threads in turn, so that queues form, then waits for each thread's
/// last run. All have to end, so it is enough to wait for one after the other.
async fn fill_and_join(
    mut client: Client,
    threads: Vec<String>,
    began: Instant,
) -> anyhow::Result<(Vec<Queue>, Duration, Duration)> {
    let mut queues = Vec::with_capacity(threads.len());
    for thread in threads {
        let mut last = String::new();
        for number in 0..ON_A_THREAD {
            let text = number.to_string();
            last = client.create(&thread, NewRun::of("echo", &text)).await?;
        }
        queues.push(Queue { thread, last });
    }
    let created = began.elapsed();
    for queue in &queues {
        client.join(&queue.thread, &queue.last).await?;
    }
    Ok((queues, created, began.elapsed()))
}

/// On how many threads not all runs ended well, or not all was said, or not in the order in which it
/// was asked.
async fn wrong(ground: &Ground, queues: Vec<Vec<Queue>>) -> anyhow::Result<usize> {
    let mut tasks = JoinSet::new();
    for queues in queues {
        let mut client = ground.server.client();
        tasks.spawn(async move {
            let mut wrong = 0;
            for queue in queues {
                let successes = client.successes(&queue.thread).await?;
                let said = client.messages(&queue.thread).await?;
                wrong += usize::from(successes != ON_A_THREAD || !is_in_order(&said));
            }
            anyhow::Ok(wrong)
        });
    }
    Ok(all(tasks).await?.into_iter().sum())
}

fn is_in_order(said: &[(String, String)]) -> bool {
    let texts = said.iter().map(|(_, text)| text.as_str());
    let expected =
        (0..ON_A_THREAD).flat_map(|number| [number.to_string(), format!("echo: {number}")]);
    texts.eq(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_or_late_message_is_wrong() {
        let pairs = (0..ON_A_THREAD).flat_map(|number| {
            [
                ("human".to_owned(), number.to_string()),
                ("ai".to_owned(), format!("echo: {number}")),
            ]
        });
        let mut said: Vec<_> = pairs.collect();
        assert!(is_in_order(&said));
        said.swap(0, 2);
        assert!(!is_in_order(&said));
        said.swap(0, 2);
        said.pop();
        assert!(!is_in_order(&said));
    }
}
