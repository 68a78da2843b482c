//! Pulls wake-ups from the work queue, as many as are asked for and no more.
//!
//! A pull that was sent is owned to its end: what it still brings when nobody asks any more is given
//! back at once, not left to the ack wait.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, StatusCode};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use runloom_core::bus::BusError;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::dispatch::Dispatcher;
use super::shelf::{Held, Shelf};
use crate::nats::link::{CALL, bounded};
use crate::nats::streams::Part;
use crate::nats::subject::{Subjects, WAKE_GROUP};

/// How long a pull lasts, and how often the server says meanwhile that it still knows of it.
const EXPIRES: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(1);

/// After such a silence a pull is lost.
const SILENCE: Duration = Duration::from_millis(2_500);

/// The most that one pull asks for: what a process that is stopped would take with it.
const BATCH: usize = 64;

/// How long something is kept for the next who asks: somewhat longer than a worker needs to ask again.
const GRACE: Duration = Duration::from_millis(50);

/// Before trying again what was refused.
const AGAIN: Duration = Duration::from_millis(250);

/// What is known of the pull that the server has.
struct Pull {
    number: u64,
    left: usize,
    heard: Instant,
}

/// How a pull ended.
enum End {
    /// As it should: it may be repeated.
    Over,
    /// The server cannot serve it just now.
    Refused,
    /// Stream or consumer are missing.
    Gone,
}

#[derive(Serialize)]
struct Request {
    batch: usize,
    /// Nanoseconds, as the next.
    expires: u128,
    idle_heartbeat: u128,
}

/// Fills a shelf.
pub(super) struct Pump {
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) shelf: Arc<Shelf>,
}

impl Pump {
    /// Pulls until the task ends.
    pub(super) async fn run(self) {
        let mut connected = self.dispatcher.link.connected();
        loop {
            let Err(error) = self.session().await;
            tracing::debug!(%error, "no wake-ups from NATS");
            self.shelf.trouble(Some(error.0));
            tokio::select! {
                _ = connected.changed() => {}
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// Pulls on one connection, until that is lost or what is needed cannot be had.
    async fn session(&self) -> Result<Infallible, BusError> {
        let link = &self.dispatcher.link;
        let mut connected = link.connected();
        let connection = link.ready()?;
        connected.mark_unchanged();
        let inbox = link.client().new_inbox();
        let mut answers = link.subscribe(format!("{inbox}.*")).await?;
        let direct = link
            .client()
            .queue_subscribe(self.dispatcher.subjects.wake(), WAKE_GROUP.to_owned());
        let mut direct = bounded(CALL, direct).await?;
        // From here on whoever asks may wait.
        self.shelf.trouble(None);
        let (mut pull, mut number) = (None, 0);
        let mut mending: Option<BoxFuture<'static, ()>> = None;
        let mut unwanted: Option<Instant> = None;
        loop {
            if pull.is_none() && mending.is_none() && self.shelf.wanted() > 0 {
                number += 1;
                pull = Some(self.pull(&inbox, number).await?);
            }
            if self.shelf.is_unwanted() {
                // In trouble those who ask come back less often.
                let grace = if self.shelf.has_trouble() {
                    AGAIN * 2
                } else {
                    GRACE
                };
                unwanted.get_or_insert_with(|| Instant::now() + grace);
            } else {
                unwanted = None;
            }
            let silent = pull.as_ref().map(|pull| pull.heard + SILENCE);
            let far = Instant::now() + EXPIRES;
            tokio::select! {
                Some(message) = answers.next() => match hear(&message, &mut pull) {
                    None => self.shelf_message(&message),
                    Some(End::Over) => {}
                    Some(End::Refused) => sleep(AGAIN).await,
                    Some(End::Gone) => mending = Some(self.mend()),
                },
                Some(message) = direct.next() => {
                    let thread = std::str::from_utf8(&message.payload).unwrap_or_default();
                    if let Ok(thread) = thread.parse() {
                        self.shelf.put(Held { thread, ack: None });
                    }
                }
                () = self.shelf.demanded.notified() => {}
                _ = connected.changed() => {
                    if link.ready()? != connection {
                        // The server forgot the pull with the connection.
                        return Err(BusError("the connection to NATS was lost".to_owned()));
                    }
                }
                () = sleep_until(silent.unwrap_or(far)), if silent.is_some() => {
                    pull = None;
                    mending = Some(self.mend());
                }
                () = over(&mut mending), if mending.is_some() => mending = None,
                () = sleep_until(unwanted.unwrap_or(far)), if unwanted.is_some() => {
                    self.shelf.clear();
                }
            }
        }
    }

    /// Asks for as many as are wanted.
    async fn pull(&self, inbox: &str, number: u64) -> Result<Pull, BusError> {
        let batch = self.shelf.wanted().clamp(1, BATCH);
        let request = Request {
            batch,
            expires: EXPIRES.as_nanos(),
            idle_heartbeat: HEARTBEAT.as_nanos(),
        };
        let body = serde_json::to_vec(&request).map_err(|error| BusError(error.to_string()))?;
        let subject = self.dispatcher.subjects.next_wakes();
        let reply = format!("{inbox}.{number}");
        let link = &self.dispatcher.link;
        link.ready()?;
        let sent = link
            .client()
            .publish_with_reply(subject, reply, body.into());
        bounded(CALL, sent).await?;
        Ok(Pull {
            number,
            left: batch,
            heard: Instant::now(),
        })
    }

    /// Makes anew what is missing, until it is there: who asks is told of the trouble and goes, so
    /// nobody may be left whose asking would begin this again. Meanwhile wake-ups still come past the
    /// queue.
    fn mend(&self) -> BoxFuture<'static, ()> {
        let (dispatcher, filled) = (self.dispatcher.clone(), self.shelf.clone());
        async move {
            while let Err(error) = dispatcher.streams.ensure(Part::Dispatch).await {
                filled.trouble(Some(error.0));
                sleep(AGAIN).await;
            }
            filled.trouble(None);
            // It may be a moment until the server answers for it.
            sleep(GRACE).await;
        }
        .boxed()
    }

    fn shelf_message(&self, message: &Message) {
        if message.status.is_some() {
            return;
        }
        if let (Some(thread), Some(ack)) = (Subjects::thread_of(&message.subject), &message.reply) {
            let ack = Some(ack.to_string());
            self.shelf.put(Held { thread, ack });
        }
    }
}

/// Waits for work that there is.
async fn over(work: &mut Option<BoxFuture<'static, ()>>) {
    if let Some(work) = work {
        work.await;
    }
}

/// Takes note of what came for a pull. Answers with how it ended, if this ended it.
fn hear(message: &Message, pull: &mut Option<Pull>) -> Option<End> {
    let current = pull.as_mut()?;
    current.heard = Instant::now();
    let Some(status) = message.status else {
        current.left = current.left.saturating_sub(1);
        if current.left == 0 {
            *pull = None;
        }
        return None;
    };
    let number = message.subject.rsplit('.').next();
    if number != Some(&*current.number.to_string()) {
        // The end of an earlier pull.
        return Some(End::Over);
    }
    let about = message.description.as_deref().unwrap_or_default();
    let end = match status {
        StatusCode::IDLE_HEARTBEAT => return Some(End::Over),
        StatusCode::TIMEOUT | StatusCode::NOT_FOUND => End::Over,
        StatusCode::NO_RESPONDERS => End::Gone,
        _ if about.contains("Deleted") => End::Gone,
        _ => End::Refused,
    };
    if !matches!(end, End::Over) {
        tracing::debug!(%status, about, "a pull of wake-ups was refused");
    }
    *pull = None;
    Some(end)
}
