//! Looks at everything that the bus needs, and says what to do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runloom_core::bus::{BusError, Signal};
use runloom_core::ids::{ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::run::CancelAction;
use tokio::time::Instant;

use super::events::end_frame;
use super::link::{Failure, Link};
use super::notifier::signal_body;
use super::streams::{Part, Streams};
use super::subject::Subjects;

/// Slower than this, an interrupt is not what it should be.
const SLOW: Duration = Duration::from_millis(20);

/// How often the way to the server and back is measured.
const ROUNDS: usize = 5;

/// Longer than a stream takes to acknowledge.
const ACKNOWLEDGED: Duration = Duration::from_secs(2);

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Good,
    /// It works, but not as well as it could.
    Warning,
    /// Something must be done.
    Problem,
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How good it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do, unless it is good.
    pub advice: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self {
            level: Level::Good,
            what: what.into(),
            advice: None,
        }
    }

    fn bad(level: Level, what: impl Into<String>, advice: &str) -> Self {
        Self {
            level,
            what: what.into(),
            advice: Some(advice.to_owned()),
        }
    }
}

/// Looks at everything.
pub(super) async fn examine(
    links: [(&str, &Arc<Link>); 2],
    streams: &Streams,
    subjects: &Subjects,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, link) in links {
        match link.ready().and_then(|_| link.version()) {
            Ok(version) => findings.push(Finding::good(format!(
                "the {name} connection is up, the server is NATS {version}"
            ))),
            Err(error) => {
                let advice = "check the address, the credentials and the server's version (2.11+)";
                findings.push(Finding::bad(
                    Level::Problem,
                    format!("{name}: {}", error.0),
                    advice,
                ));
                return findings;
            }
        }
    }
    let [(_, link), _] = links;
    findings.push(latency(link).await);
    for part in Part::ALL {
        findings.extend(kept(streams, part).await);
    }
    findings.extend(permissions(link, subjects).await);
    findings
}

/// How long the server takes to answer.
async fn latency(link: &Link) -> Finding {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        if let Err(error) = link.barrier().await {
            let advice = "the server is there but does not answer: look at its log and its load";
            return Finding::bad(Level::Problem, error.0, advice);
        }
        times.push(begun.elapsed());
    }
    times.sort();
    let median = times[times.len() / 2];
    let what = format!("the server answers in {median:.1?}");
    if median > SLOW {
        return Finding::bad(Level::Warning, what, "run the servers nearer to each other");
    }
    Finding::good(what)
}

/// Whether streams and consumer are as they should be.
async fn kept(streams: &Streams, part: Part) -> Vec<Finding> {
    const ADVICE: &str = "let Runloom manage its streams, or create and change them as documented";
    let checks = match streams.check(part, false).await {
        Ok(checks) => checks,
        Err(error) => {
            let what = format!("cannot look at the streams ({part:?}): {}", error.0);
            let advice = "enable JetStream, and allow this user to ask for stream information";
            return vec![Finding::bad(Level::Problem, what, advice)];
        }
    };
    let finding = |check: super::streams::Check| {
        let level = match (check.broken.is_empty(), check.odd.is_empty()) {
            (true, true) => return Finding::good(format!("{} is as it should be", check.name)),
            (true, false) => Level::Warning,
            (false, _) => Level::Problem,
        };
        let wrong = [check.broken, check.odd].concat().join("; ");
        Finding::bad(level, format!("{}: {wrong}", check.name), ADVICE)
    };
    checks.into_iter().map(finding).collect()
}

/// Whether this user may listen and speak where workers and gateways do. What it says is about
/// threads, runs and workers that do not exist, so nobody minds.
async fn permissions(link: &Link, subjects: &Subjects) -> Vec<Finding> {
    const ADVICE: &str = "give this user the permissions that its role needs";
    let (thread, run, worker) = (ThreadId::new(), RunId::new(), WorkerId::new());
    let known = link.server_errors().len();
    let mut failed: Vec<String> = Vec::new();
    let listening = [
        subjects.interrupt(worker),
        subjects.wake(),
        subjects.changes(thread),
        subjects.events(thread, run),
    ];
    for subject in &listening {
        if let Err(error) = link.subscribe(subject.clone()).await {
            failed.push(format!("cannot listen on {subject}: {}", error.0));
        }
    }
    let signal = signal_body(Signal {
        run_id: run,
        claim: ClaimId::new(),
        action: CancelAction::Interrupt,
        trace: None,
    });
    let end = end_frame();
    let speaking = [
        (subjects.dispatch(thread), Bytes::new(), true),
        (subjects.events(thread, run), end, true),
        (subjects.interrupt(worker), signal, false),
    ];
    for (subject, body, is_kept) in speaking {
        match link.request(subject.clone(), body, ACKNOWLEDGED).await {
            Err(Failure::NoResponders) if !is_kept => {}
            Ok(_) if is_kept => {}
            Ok(_) => failed.push(format!("somebody unknown answers on {subject}")),
            Err(failure) => {
                let why = BusError::from(failure).0;
                failed.push(format!("cannot speak on {subject}: {why}"));
            }
        }
    }
    // Refusals come on their own; by now they are here.
    let _ = link.barrier().await;
    failed.extend(link.server_errors().into_iter().skip(known));
    if failed.is_empty() {
        let what = "this user may listen and speak where workers and gateways do";
        return vec![Finding::good(what)];
    }
    let bad = |what| Finding::bad(Level::Problem, what, ADVICE);
    failed.into_iter().map(bad).collect()
}
