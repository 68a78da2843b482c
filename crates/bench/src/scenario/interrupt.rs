//! A run takes the place of another one that is under way.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Ground, Meter, all};
use crate::client::{Client, NewRun, Server};
use crate::latency::Latency;
use crate::results::Round;

/// Between two looks at a run whose stream has ended before its status says so.
const LOOK: Duration = Duration::from_millis(5);

/// A run that is not over by then is not being interrupted.
const PATIENCE: Duration = Duration::from_secs(30);

/// Less than the node of the first run takes.
const WORK: Duration = Duration::from_millis(350);

const FIRST: &str = "the first question";
const SECOND: &str = "the second question";

/// What one interrupt took, from sending the second request, and whether it came out right.
#[derive(Default)]
struct Sample {
    /// To the answer to the second request.
    answer: Option<Duration>,
    /// To the second run's first event, and to the first that says more than that there is a run.
    first_event: Option<Duration>,
    content: Option<Duration>,
    /// Until the first run was seen to be over.
    stopped: Option<Duration>,
    /// The first run had ended by itself before the second was accepted.
    is_late: bool,
    fault: Option<Fault>,
}

/// What came out wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The first run did not end as `interrupted`.
    Status,
    /// A question is missing, or they are out of order.
    Messages,
    /// The second run was under way while the first was not over.
    Overlap,
}

/// On `threads` threads at once, again and again.
pub(crate) async fn round(ground: &Ground, threads: usize) -> anyhow::Result<Round> {
    let turns = if threads == 1 {
        ground.scale.samples
    } else {
        4
    };
    let until = Instant::now() + 2 * ground.scale.span;
    let meter = Meter::start(ground);
    let mut tasks = JoinSet::new();
    for number in 0..threads {
        let server = ground.server.clone();
        tasks.spawn(async move {
            let mut samples = Vec::new();
            while samples.len() < turns && (Instant::now() < until || samples.len() < 4) {
                samples.push(sample(&server, number + samples.len()).await?);
            }
            anyhow::Ok(samples)
        });
    }
    let samples: Vec<_> = all(tasks).await?.into_iter().flatten().collect();
    let mut round = Round::default();
    meter.note(&mut round, samples.len(), "interrupt");
    let note = |round: &mut Round, name: &str, part: fn(&Sample) -> Option<Duration>| {
        Latency::of(samples.iter().filter_map(part)).note(round, name);
    };
    note(&mut round, "answer_", |sample| sample.answer);
    note(&mut round, "first_event_", |sample| sample.first_event);
    note(&mut round, "content_", |sample| sample.content);
    note(&mut round, "stopped_", |sample| sample.stopped);
    let count = |fits: &dyn Fn(&Sample) -> bool| {
        samples.iter().filter(|sample| fits(sample)).count() as f64
    };
    round.set("samples", samples.len() as f64);
    round.set("late", count(&|sample| sample.is_late));
    round.set("wrong", count(&|sample| sample.fault.is_some()));
    for (name, fault) in [
        ("wrong_status", Fault::Status),
        ("wrong_messages", Fault::Messages),
        ("wrong_overlap", Fault::Overlap),
    ] {
        round.set(name, count(&|sample| sample.fault == Some(fault)));
    }
    Ok(round)
}

/// The place decides how long the first run gets, so that not all are interrupted at the same moment of
/// their work, and how the second one is created: streamed or in the background.
async fn sample(server: &Server, place: usize) -> anyhow::Result<Sample> {
    let (mut first, mut second) = (server.client(), server.client());
    let thread = first.thread().await?;
    let mut old = first.stream(&thread, NewRun::of("work", FIRST)).await?;
    // The values with its input are the first that a run says when it has begun.
    loop {
        let event = old.next().await?.context("the first run ended at once")?;
        if event.is_content() {
            break;
        }
    }
    let run = old.run.clone().context("a stream names its run")?;
    sleep(Duration::from_millis(20 + 37 * place as u64 % 150)).await;

    let new = NewRun {
        strategy: "interrupt",
        ..NewRun::of("echo", SECOND)
    };
    let mut sample = Sample::default();
    let began = Instant::now();
    let ended = timeout(PATIENCE, old.end());
    let (next, ended) = if place.is_multiple_of(2) {
        tokio::join!(streamed(&mut second, server, &thread, &run, new), ended)
    } else {
        tokio::join!(background(&mut second, &thread, new), ended)
    };
    let next = next?;
    let since = |at: Instant| at.saturating_duration_since(began);
    sample.answer = next.answer.map(since);
    sample.first_event = next.first_event.map(since);
    sample.content = next.content.map(since);

    let ended = match ended {
        Ok(ended) => ended?,
        Err(_) => Instant::now(),
    };
    let (stored, seen) = settled(&mut second, &thread, &run, ended).await?;
    let status = stored["status"].as_str().unwrap_or_default();
    if status == "interrupted" {
        sample.stopped = Some(since(seen));
    }
    let newer = second.run(&thread, &next.run).await?;
    sample.is_late = status == "success" && ended_before(&stored, &newer);
    let said = second.messages(&thread).await?;
    sample.fault = if next.overlapped {
        Some(Fault::Overlap)
    } else if status != "interrupted" && !sample.is_late {
        Some(Fault::Status)
    } else if !has_both(&said) {
        Some(Fault::Messages)
    } else {
        None
    };
    Ok(sample)
}

/// What was seen of the second run.
#[derive(Default)]
struct Next {
    run: String,
    answer: Option<Instant>,
    first_event: Option<Instant>,
    content: Option<Instant>,
    overlapped: bool,
}

async fn background(client: &mut Client, thread: &str, new: NewRun<'_>) -> anyhow::Result<Next> {
    let run = client.create(thread, new).await?;
    let answer = Some(Instant::now());
    client.join(thread, &run).await?;
    Ok(Next {
        run,
        answer,
        ..Next::default()
    })
}

async fn streamed(
    client: &mut Client,
    server: &Server,
    thread: &str,
    old: &str,
    new: NewRun<'_>,
) -> anyhow::Result<Next> {
    let mut next = Next::default();
    let mut events = client.stream(thread, new).await?;
    while let Some(event) = events.next().await? {
        next.first_event = next.first_event.or(Some(event.at));
        if event.is_content() && next.content.is_none() {
            next.content = Some(event.at);
            // Now it says something, so the other must be over.
            let stored = server.client().run(thread, old).await?;
            next.overlapped = !is_terminal(&stored);
        }
    }
    next.run = events.run.clone().context("a stream names its run")?;
    Ok(next)
}

fn is_terminal(run: &Value) -> bool {
    !matches!(run["status"].as_str(), Some("pending" | "running"))
}

/// The first run as it is stored once it is over, and when it was seen to be. Its stream tells; where
/// the status comes later, that is what counts.
async fn settled(
    client: &mut Client,
    thread: &str,
    run: &str,
    stream_ended: Instant,
) -> anyhow::Result<(Value, Instant)> {
    let mut stored = client.run(thread, run).await?;
    let mut seen = stream_ended;
    let until = Instant::now() + PATIENCE;
    while !is_terminal(&stored) && Instant::now() < until {
        sleep(LOOK).await;
        stored = client.run(thread, run).await?;
        seen = Instant::now();
    }
    Ok((stored, seen))
}

/// Whether a run ended before the other was created, by what the server says.
fn ended_before(old: &Value, new: &Value) -> bool {
    let time = |run: &Value, key: &str| {
        let text = run[key].as_str()?;
        // Some servers say nothing of the zone; what they say is UTC.
        let time = chrono::DateTime::parse_from_rfc3339(text);
        let time = time.or_else(|_| chrono::DateTime::parse_from_rfc3339(&format!("{text}Z")));
        time.ok()
    };
    let times = (
        time(old, "created_at"),
        time(old, "updated_at"),
        time(new, "created_at"),
    );
    let (Some(began), Some(ended), Some(created)) = times else {
        return false;
    };
    // Some servers never change that time; then it is not when the run ended.
    let is_end = ended - began >= chrono::TimeDelta::from_std(WORK).unwrap_or_default();
    is_end && ended <= created
}

fn has_both(said: &[(String, String)]) -> bool {
    let asked = said.iter().filter(|(who, _)| who == "human");
    asked.map(|(_, text)| text.as_str()).eq([FIRST, SECOND])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_questions_must_be_there_in_order() {
        let human = |text: &str| ("human".to_owned(), text.to_owned());
        let ai = ("ai".to_owned(), "echo".to_owned());
        assert!(has_both(&[
            human(FIRST),
            ai.clone(),
            human(SECOND),
            ai.clone()
        ]));
        assert!(!has_both(&[human(SECOND), human(FIRST)]));
        assert!(!has_both(&[human(SECOND), ai]));
    }

    #[test]
    fn a_run_that_ended_before_the_other_was_accepted_is_late_not_wrong() {
        let old = |created: &str| json!({"created_at": created, "updated_at": "2026-01-01T00:00:01.5+00:00"});
        let sound = old("2026-01-01T00:00:01Z");
        let at = |time: &str| json!({"created_at": time});
        assert!(ended_before(&sound, &at("2026-01-01T00:00:01.6Z")));
        assert!(ended_before(&sound, &at("2026-01-01T00:00:01.500001")));
        assert!(!ended_before(&sound, &at("2026-01-01T00:00:01.4Z")));
        assert!(!ended_before(&sound, &json!({})));
        let never_changed = old("2026-01-01T00:00:01.5Z");
        assert!(!ended_before(&never_changed, &at("2026-01-01T00:00:01.6Z")));
    }
}
