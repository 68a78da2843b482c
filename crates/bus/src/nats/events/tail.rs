//! Reads a run's events: hears what is published and, when something may have been missed, reads what
//! the stream keeps.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures::StreamExt;
use runloom_core::bus::{BusError, From, Tail};
use runloom_core::ids::{RunId, ThreadId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::direct::{self, Stored};
use super::frame::{Frame, Joiner};
use super::order::{Order, Source};
use crate::nats::link::{Failure, Link};
use crate::nats::streams::{Part, Streams};
use crate::nats::subject::Subjects;

/// A quiet reader looks so often whether it missed something: at first, and later on.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Before reading again when what was heard is not kept yet: at first, and later on.
const AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// What a stream that works does not have by then is gone.
const LAG: Duration = Duration::from_millis(1_500);

/// What a stream that does not work does not give by then counts as gone. A cluster takes some
/// seconds to elect a leader.
const OUTAGE: Duration = Duration::from_secs(10);

/// Reads one run's events at its own pace.
pub(super) struct Reader {
    link: Arc<Link>,
    streams: Arc<Streams>,
    subject: String,
    /// Where the stream is asked.
    api: String,
    heard: Subscriber,
    connected: watch::Receiver<u64>,
    order: Order,
    live_parts: Joiner,
    kept_parts: Joiner,
    /// The first place in the stream that was not read.
    place: u64,
    /// When to read what the stream keeps, if that is needed.
    read_at: Option<Instant>,
    pause: Duration,
    /// Since when something is missing.
    missing: Option<Instant>,
    look_at: Instant,
    look: Duration,
    over: bool,
}

impl Reader {
    /// A reader; the server knows of it when this returns.
    pub(super) async fn begin(
        link: Arc<Link>,
        streams: Arc<Streams>,
        subjects: &Subjects,
        (thread, run): (ThreadId, RunId),
        from: From,
    ) -> Result<Self, BusError> {
        let subject = subjects.events(thread, run);
        let heard = link.subscribe(subject.clone()).await?;
        link.barrier().await?;
        let now = Instant::now();
        let mut reader = Self {
            api: subjects.direct_get(&subjects.events_stream(run)),
            subject,
            heard,
            connected: link.connected(),
            order: Order::new(from),
            live_parts: Joiner::default(),
            kept_parts: Joiner::default(),
            place: 1,
            read_at: Some(now),
            pause: AGAIN.0,
            missing: None,
            look_at: now + LOOK.0,
            look: LOOK.0,
            over: false,
            link,
            streams,
        };
        reader.connected.mark_unchanged();
        if from == From::Now {
            reader.read_at = None;
            match direct::last(&reader.link, reader.api.clone(), &reader.subject).await {
                Ok(Some(last)) => reader.begin_after(&last),
                Ok(None) => reader.order.begin_at_start(),
                Err(failure) => reader.cannot_read(failure),
            }
        }
        Ok(reader)
    }

    /// What comes next; nothing after the end.
    pub(super) async fn next(&mut self) -> Option<Tail> {
        loop {
            if self.over {
                return None;
            }
            if let Some(tail) = self.order.pop() {
                self.over = tail == Tail::End;
                return Some(tail);
            }
            let now = Instant::now();
            if self.read_at.is_some_and(|when| when <= now) {
                self.read().await;
                continue;
            }
            let wake = self.read_at.unwrap_or(self.look_at);
            tokio::select! {
                biased;
                heard = self.heard.next() => self.hear(&heard?),
                changed = self.connected.changed() => {
                    changed.ok()?;
                    // What was published meanwhile was not heard.
                    self.read_at = Some(Instant::now());
                    self.look = LOOK.0;
                }
                () = sleep_until(wake) => {
                    if self.read_at.is_none() {
                        self.look().await;
                    }
                }
            }
        }
    }

    fn hear(&mut self, message: &Message) {
        let frame = self
            .live_parts
            .take(message.headers.as_ref(), &message.payload, 0);
        let waited = self.order.is_waiting();
        self.take(frame, Source::Live);
        if self.order.is_waiting() && !waited {
            self.missing = Some(Instant::now());
            self.pause = AGAIN.0;
            self.read_at = Some(Instant::now());
        }
    }

    fn take(&mut self, frame: Option<Frame>, source: Source) {
        match frame {
            Some(Frame::Events(events)) => {
                for event in events {
                    self.order.offer(event, source);
                }
            }
            Some(Frame::End(last)) => self.order.end(last, source),
            None => {}
        }
    }

    /// Reads on in the stream until there is something to tell, or nothing more.
    async fn read(&mut self) {
        let link = self.link.clone();
        let page = direct::page(&link, self.api.clone(), &self.subject, self.place).await;
        let page = match page {
            Ok(page) => page,
            Err(failure) => return self.cannot_read(failure),
        };
        for Stored {
            place,
            headers,
            body,
        } in page.messages
        {
            let frame = self.kept_parts.take(headers.as_ref(), &body, place);
            self.take(frame, Source::Kept);
            self.place = place + 1;
        }
        if page.more {
            return;
        }
        if let Some(place) = std::mem::take(&mut self.kept_parts).first_incomplete() {
            // The rest may still come.
            self.place = place;
        }
        self.look_at = Instant::now() + self.look;
        if self.order.searched() {
            self.place = 1;
            return;
        }
        self.read_at = None;
        if self.order.is_waiting() {
            self.wait(LAG);
        } else {
            self.missing = None;
        }
    }

    /// Something heard is not kept yet, or the stream cannot be read: tries again, for a while.
    fn wait(&mut self, patience: Duration) {
        let now = Instant::now();
        let since = *self.missing.get_or_insert(now);
        if now >= since + patience && self.order.is_waiting() {
            self.missing = None;
            self.order.give_up();
        }
        self.read_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(AGAIN.1);
    }

    fn cannot_read(&mut self, failure: Failure) {
        if matches!(failure, Failure::NoResponders) {
            self.streams.ensure_soon(Part::Events);
        }
        let error = BusError::from(failure);
        tracing::debug!(%error, subject = self.subject, "cannot read events");
        self.pause = self.pause.max(AGAIN.1);
        self.wait(OUTAGE);
    }

    /// Looks whether the stream has something that was not heard.
    async fn look(&mut self) {
        self.look = (self.look * 2).min(LOOK.1);
        self.look_at = Instant::now() + self.look.mul_f64(0.8 + 0.4 * fastrand::f64());
        match direct::last(&self.link, self.api.clone(), &self.subject).await {
            Ok(Some(last)) if last.place < self.place => {}
            Ok(Some(last)) if self.has_told(&last) => self.place = last.place + 1,
            Ok(Some(_)) => self.read_at = Some(Instant::now()),
            Ok(None) => {}
            Err(failure) => self.cannot_read(failure),
        }
    }

    /// Whether what the stream has last was told.
    fn has_told(&self, last: &Stored) -> bool {
        match Joiner::default().take(last.headers.as_ref(), &last.body, last.place) {
            Some(Frame::Events(events)) => events.last().is_some_and(|last| self.order.is_at(last)),
            Some(Frame::End(_)) | None => false,
        }
    }

    /// Begins after what the stream has last. What was published just before and is not kept yet is
    /// older than the first event that is heard, so it is left out then.
    fn begin_after(&mut self, last: &Stored) {
        self.place = last.place + 1;
        let frame = Joiner::default().take(last.headers.as_ref(), &last.body, last.place);
        if let Some(Frame::End(last)) = frame {
            self.order.end(last, Source::Kept);
        }
    }
}
