//! Claims the next run of a thread and carries it out, and those that follow on the same thread.

use std::sync::Arc;
use std::time::Duration;

use runloom_core::bus::Wake;
use runloom_core::ids::{ClaimId, ThreadId};
use runloom_core::lease::{ClaimReply, Claimed};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use crate::active::Known;
use crate::attempt::Attempt;
use crate::incarnation::{Incarnation, patient_delays};
use crate::measures;
use crate::traces::Successor;

/// How often a claim is repeated, under the same id, if no answer comes.
const TRIES: usize = 3;

/// When a wake-up comes again whose claim had no answer: the database may be better by then.
const AGAIN: Duration = Duration::from_secs(1);

/// Claims the next run of `thread` in the background, as `known`, without being asked to.
pub(crate) fn spawn(worker: &Arc<Incarnation>, thread: ThreadId, known: Known) {
    spawn_with(worker, thread, known, None, None);
}

/// Claims the next run of `thread` in the background, as a new claim. Answers the wake-up that led
/// here as soon as the claim is answered.
pub(crate) fn spawn_new(
    worker: &Arc<Incarnation>,
    thread: ThreadId,
    wake: Option<Wake>,
    slot: OwnedSemaphorePermit,
) {
    let known = worker.active.claiming(ClaimId::new());
    spawn_with(worker, thread, known, wake, Some(slot));
}

fn spawn_with(
    worker: &Arc<Incarnation>,
    thread: ThreadId,
    known: Known,
    wake: Option<Wake>,
    slot: Option<OwnedSemaphorePermit>,
) {
    let own = worker.clone();
    worker.attempts.spawn(async move {
        let answer = claim(&own, thread, &known).await;
        match (wake, &answer) {
            (Some(wake), Some(_)) => wake.done(),
            // Another worker may do better.
            (Some(wake), None) if own.stopping.is_cancelled() => wake.later(Duration::ZERO),
            (Some(wake), None) => wake.later(AGAIN),
            (None, _) => {}
        }
        if let Some(ClaimReply::Claimed(claimed)) = answer {
            carry_out(own, claimed, known).await;
        }
        drop(slot);
    });
}

/// Claims until there is an answer. Without one the claim may still have been made: a renewal will
/// tell.
async fn claim(worker: &Incarnation, thread: ThreadId, known: &Known) -> Option<ClaimReply> {
    // What is claimed without a lease could only be handed back.
    tokio::select! {
        biased;
        () = worker.deadline.renewed() => {}
        () = worker.stopping.cancelled() => return None,
    }
    let mut delays = patient_delays();
    for _ in 0..TRIES {
        let asked = Instant::now();
        let claim = worker.ports.database.claim(thread, worker.id, known.id);
        let answer = timeout(worker.config.call_timeout, claim).await;
        if let Ok(Ok(_)) = answer {
            measures::claim_answered(asked);
        }
        match answer {
            Ok(Ok(ClaimReply::NotAlive)) => {
                // The next renewal decides whether the lease is gone for good.
                tracing::debug!(worker.id = %worker.id, "claimed without a lease");
                return None;
            }
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => {
                tracing::warn!(thread.id = %thread, %error, "cannot claim");
            }
            Err(_elapsed) => tracing::warn!(thread.id = %thread, "a claim takes long"),
        }
        sleep(delays.next().unwrap_or_default()).await;
    }
    None
}

/// Carries out a run, then those that wait on the same thread, as it is warm here; but not for ever
/// if others wait, too.
async fn carry_out(worker: Arc<Incarnation>, claimed: Box<Claimed>, known: Known) {
    let mut at_hand = Some((Successor::of(claimed), known));
    let mut turns = worker.config.max_consecutive;
    while let Some((Successor { claimed, before }, known)) = at_hand.take() {
        turns = turns.saturating_sub(1);
        let goes_on = turns > 0 && !worker.stopping.is_cancelled();
        let next = goes_on.then(|| worker.active.claiming(ClaimId::new()));
        let attempt = Attempt::new(&worker, *claimed, &known, before);
        let successor = attempt.carry_out(next.as_ref().map(|next| next.id)).await;
        at_hand = successor.zip(next);
    }
}
