//! Many readers of one run that says its tokens on a fixed schedule.
//!
//! A token's delay needs no second clock: token `n` is due `n / rate` after the run's first token, and when
//! that was follows from whoever got any token soonest against this schedule. So a delay is what a
//! reader got later than the luckiest one ever got anything, and a server that falls behind its own
//! schedule is not excused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::{Ground, Meter, all};
use crate::client::{Client, Mode, NewRun};
use crate::latency::Latency;
use crate::results::Round;
use crate::sse::{is_token, token_number};

/// Tokens in a second.
const RATE: f64 = 50.0;

/// Seconds in which the readers come, before tokens count: more for more of them.
fn attaching(readers: usize) -> f64 {
    2.5 + readers as f64 / 200.0
}

/// Tokens that pass between the last reader's coming and the first that counts.
const MARGIN: usize = 25;

/// How long after the last token is due the last reader may get it.
const GRACE: Duration = Duration::from_secs(30);

/// What the readers of a run share.
struct Show {
    began: Instant,
    /// How many are attached, and who waits for that.
    attached: AtomicUsize,
    changed: Notify,
    /// The latest token that anybody got.
    latest: AtomicUsize,
    tokens: usize,
}

/// When a reader got each token, since the beginning. In microseconds, and none as zero: there are
/// many of them.
type Arrivals = Vec<u32>;

pub(crate) async fn round(ground: &Ground, readers: usize) -> anyhow::Result<Round> {
    let span = 2.0 * ground.scale.span.as_secs_f64();
    let tokens = ((attaching(readers) + span) * RATE) as usize;
    let mut client = ground.server.client();
    let thread = client.thread().await?;
    let new = NewRun {
        mode: Mode::Tokens(tokens, RATE),
        ..NewRun::of("tokens", "hello")
    };
    let show = Arc::new(Show {
        began: Instant::now(),
        attached: AtomicUsize::new(0),
        changed: Notify::new(),
        latest: AtomicUsize::new(0),
        tokens,
    });
    let meter = Meter::start(ground);
    let run = client.create(&thread, new).await?;
    let until = show.began + Duration::from_secs_f64(tokens as f64 / RATE) + GRACE;
    let mut tasks = JoinSet::new();
    for _ in 0..readers {
        let (client, show) = (ground.server.client(), show.clone());
        tasks.spawn(read(client, thread.clone(), run.clone(), show, until));
    }
    let counting = async {
        while show.attached.load(Ordering::Relaxed) < readers {
            let changed = timeout_at(until.into(), show.changed.notified()).await;
            changed.context("not all readers were attached before the run was over")?;
        }
        let from = show.latest.load(Ordering::Relaxed) + MARGIN;
        let took = show.began.elapsed();
        let late = tokens * 2 / 3;
        ensure!(from < late, "attaching {readers} readers took {took:?}");
        anyhow::Ok((from, took))
    };
    // A reader that is turned away ends it all at once.
    let ((from, took), arrivals) = tokio::try_join!(counting, all(tasks))?;
    let mut round = Round::default();
    round.set("attach_s", took.as_secs_f64());
    let delivered = figures(&mut round, &arrivals, from);
    let rate = f64::from(u32::try_from(delivered)?) / ((tokens - from) as f64 / RATE);
    round.set("delivered_per_s", rate);
    meter.note(&mut round, readers * tokens, "event");
    Ok(round)
}

/// Reads to the end of the run, or as long as there is time.
async fn read(
    mut client: Client,
    thread: String,
    run: String,
    show: Arc<Show>,
    until: Instant,
) -> anyhow::Result<Arrivals> {
    let mut arrivals = vec![0; show.tokens];
    let mut events = client.follow(&thread, &run, "messages-tuple").await?;
    show.attached.fetch_add(1, Ordering::Relaxed);
    show.changed.notify_one();
    let reading = async {
        loop {
            let more = events.read(|name, data, at| {
                let number = is_token(name).then(|| token_number(data)).flatten();
                if let Some(place) = number.and_then(|number| arrivals.get_mut(number))
                    && *place == 0
                {
                    let micros = at.saturating_duration_since(show.began).as_micros();
                    *place = u32::try_from(micros).unwrap_or(u32::MAX).max(1);
                    show.latest
                        .fetch_max(number.unwrap_or_default(), Ordering::Relaxed);
                }
            });
            // A stream that breaks has lost what it did not bring; that is counted.
            if !more.await.unwrap_or(false) {
                break;
            }
        }
    };
    let _out_of_time = timeout_at(until.into(), reading).await;
    Ok(arrivals)
}

/// Notes what was offered and delivered of the tokens from `from` on, and their delays. Gives how many
/// were delivered.
fn figures(round: &mut Round, arrivals: &[Arrivals], from: usize) -> u64 {
    let due = |number: usize| (number as f64 / RATE * 1e6) as i64;
    let lateness = || {
        let counted = arrivals
            .iter()
            .flat_map(|reader| reader.iter().enumerate().skip(from));
        let came = counted.filter(|(_, at)| **at > 0);
        came.map(|(number, at)| i64::from(*at) - due(number))
    };
    let soonest = lateness().min().unwrap_or_default();
    let mut delays = Latency::default();
    for late in lateness() {
        delays.record(Duration::from_micros((late - soonest).unsigned_abs()));
    }
    let offered: usize = arrivals
        .iter()
        .map(|reader| reader.len().saturating_sub(from))
        .sum();
    delays.note(round, "delay_");
    round.set("samples", offered as f64);
    round.set("delivered", delays.len() as f64);
    round.set("lost", offered as f64 - delays.len() as f64);
    delays.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_count_from_the_schedule_of_the_luckiest() {
        // Tokens are due every 20 ms. The first reader is on time; the second 3 ms behind, and misses
        // the last; what comes before the second token does not count.
        let (first, second) = (vec![900_000, 40_000, 60_000], vec![0, 43_000, 0]);
        let mut round = Round::default();
        figures(&mut round, &[first, second], 1);
        assert_eq!(round.get("samples"), Some(4.0));
        assert_eq!(round.get("delivered"), Some(3.0));
        assert_eq!(round.get("lost"), Some(1.0));
        assert!(
            (round.get("delay_max_ms").unwrap() - 3.0).abs() < 0.01,
            "{round:?}"
        );
        assert!(round.get("delay_p50_ms").unwrap() < 0.01, "{round:?}");
    }

    #[test]
    fn a_server_behind_its_own_schedule_is_late_for_all() {
        let reader = vec![20_000, 90_000];
        let mut round = Round::default();
        figures(&mut round, &[reader.clone(), reader], 0);
        assert!(
            (round.get("delay_max_ms").unwrap() - 50.0).abs() < 0.1,
            "{round:?}"
        );
    }
}
