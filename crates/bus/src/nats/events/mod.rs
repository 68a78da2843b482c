//! The events of runs over NATS: published once, heard by who listens and kept by streams that
//! capture the same subjects. Live and resumable runs are kept alike.

mod direct;
mod frame;
mod order;
mod outbox;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::traits::Publisher;
use async_nats::message::OutboundMessage;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use runloom_core::bus::{BusError, EventLog, From, Tail};
use runloom_core::event::{Event, Retention};
use runloom_core::ids::{RunId, ThreadId};
use tokio::time::{sleep, timeout};

use super::link::{CALL, Failure, Link, bounded};
use super::notifier::stored;
use super::streams::{Part, Streams};
use super::subject::Subjects;
use super::tasks::{Spawner, Tasks};
use frame::Message;
use outbox::{Outbox, Outboxes};
use tail::Reader;

/// The frame that says that a run is over, by somebody who does not know its last event.
pub(super) fn end_frame() -> bytes::Bytes {
    frame::end(None)
}

/// A connection that there never is.
const LOST: u64 = 0;

/// How long the end of a run waits for its acknowledgement, and how often it is tried.
const END: Duration = Duration::from_millis(500);
const END_TRIES: usize = 3;

/// An [`EventLog`] on NATS.
pub(super) struct NatsEventLog {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

struct Shared {
    link: Arc<Link>,
    streams: Arc<Streams>,
    subjects: Subjects,
    outboxes: Outboxes,
    /// Where acknowledgements come: this, the run and a number.
    acks: String,
    spawner: Spawner,
}

impl NatsEventLog {
    pub(super) fn new(
        link: Arc<Link>,
        streams: Arc<Streams>,
        subjects: Subjects,
        tasks: Arc<Tasks>,
    ) -> Self {
        let shared = Arc::new(Shared {
            acks: link.client().new_inbox(),
            link,
            streams,
            subjects,
            outboxes: Outboxes::default(),
            spawner: tasks.spawner(),
        });
        let spawner = &shared.spawner;
        spawner.spawn(shared.clone().confirm());
        spawner.spawn(shared.clone().repeat());
        Self {
            shared,
            _tasks: tasks,
        }
    }
}

#[async_trait]
impl EventLog for NatsEventLog {
    async fn append(
        &self,
        thread: ThreadId,
        run: RunId,
        events: Vec<Event>,
        _retention: Retention,
    ) -> Result<(), BusError> {
        let own = &self.shared;
        let messages = frame::events(&events, own.link.max_payload())?;
        let subject = own.subjects.events(thread, run);
        let outbox = own.outboxes.of(run, &subject);
        let mut outbox = outbox.lock().await;
        outbox.last = events.last().map(|event| event.id).or(outbox.last);
        let mut sent = own.catch_up(&mut outbox, run).await;
        for message in messages {
            let ask = outbox.add(message.clone());
            if sent.is_ok() {
                sent = own.publish(&subject, run, message, ask).await;
            }
        }
        // What the outbox has is published on the next connection: there is nothing to repeat.
        outbox.note(&sent);
        Ok(())
    }

    async fn end(&self, thread: ThreadId, run: RunId) -> Result<(), BusError> {
        let own = &self.shared;
        let subject = own.subjects.events(thread, run);
        let outbox = own.outboxes.of(run, &subject);
        let mut outbox = outbox.lock().await;
        if own.link.ready().is_err() {
            // Last in line, for the next connection.
            outbox.end();
            return Ok(());
        }
        let connection = own.link.ready()?;
        outbox.answered().await;
        own.publish_again(&mut outbox, connection, run).await?;
        let body = frame::end(outbox.last);
        let mut failed = BusError(String::new());
        for _ in 0..END_TRIES {
            match own.link.request(subject.clone(), body.clone(), END).await {
                Ok(ack) => match stored(&ack) {
                    Ok(()) => {
                        own.outboxes.forget(run);
                        return Ok(());
                    }
                    Err(error) => failed = error,
                },
                Err(Failure::NoResponders) => {
                    let made = timeout(CALL, own.streams.ensure(Part::Events)).await;
                    failed = match made {
                        Ok(Ok(())) => {
                            // What nobody kept is lost, too.
                            outbox.connection = LOST;
                            own.publish_again(&mut outbox, connection, run).await?;
                            Failure::NoResponders.into()
                        }
                        Ok(Err(error)) => error,
                        Err(elapsed) => BusError(elapsed.to_string()),
                    };
                }
                Err(Failure::Unavailable(error)) => failed = error,
            }
            own.link.ready()?;
        }
        Err(failed)
    }

    async fn tail(
        &self,
        thread: ThreadId,
        run: RunId,
        from: From,
    ) -> Result<BoxStream<'static, Tail>, BusError> {
        let own = &self.shared;
        let (link, streams) = (own.link.clone(), own.streams.clone());
        let reader = Reader::begin(link, streams, &own.subjects, (thread, run), from).await?;
        Ok(stream::unfold(reader, async |mut reader| {
            let next = reader.next().await?;
            Some((next, reader))
        })
        .boxed())
    }
}

impl Shared {
    async fn publish(
        &self,
        subject: &str,
        run: RunId,
        message: Message,
        ask: Option<u64>,
    ) -> Result<(), BusError> {
        let message = OutboundMessage {
            subject: subject.into(),
            payload: message.body,
            headers: message.headers,
            reply: ask.map(|number| format!("{}.{run}.{number}", self.acks).into()),
        };
        self.link.ready()?;
        bounded(CALL, self.link.client().publish_message(message)).await
    }

    /// Publishes what earlier connections may have lost, if there is a connection now.
    async fn catch_up(&self, outbox: &mut Outbox, run: RunId) -> Result<(), BusError> {
        let connection = self.link.ready()?;
        self.publish_again(outbox, connection, run).await
    }

    /// Publishes once more what may have been lost with an earlier connection.
    async fn publish_again(
        &self,
        outbox: &mut Outbox,
        connection: u64,
        run: RunId,
    ) -> Result<(), BusError> {
        outbox.settle();
        if outbox.connection != connection {
            let lost = outbox.unconfirmed();
            let newest = lost.len().saturating_sub(1);
            for (place, (number, message)) in lost.into_iter().enumerate() {
                let ask = (place == newest).then_some(number);
                self.publish(&outbox.subject, run, message, ask).await?;
            }
        }
        outbox.connection = connection;
        Ok(())
    }

    /// Publishes again on each new connection, so that readers need not wait for the next event.
    async fn repeat(self: Arc<Self>) {
        let mut connected = self.link.connected();
        while connected.changed().await.is_ok() {
            self.publish_all_again().await;
        }
    }

    async fn publish_all_again(&self) {
        if let Ok(connection) = self.link.ready() {
            for run in self.outboxes.all() {
                if let Some(outbox) = self.outboxes.find(run) {
                    let mut outbox = outbox.lock().await;
                    if let Err(error) = self.publish_again(&mut outbox, connection, run).await {
                        tracing::debug!(%error, run.id = %run, "cannot publish again");
                    }
                }
            }
        }
    }

    /// Takes acknowledgements.
    async fn confirm(self: Arc<Self>) {
        loop {
            let subscribed = self.link.client().subscribe(format!("{}.*.*", self.acks));
            if let Ok(mut acks) = bounded(CALL, subscribed).await {
                while let Some(message) = acks.next().await {
                    self.answered(&message);
                }
            }
            sleep(CALL).await;
        }
    }

    fn answered(self: &Arc<Self>, message: &async_nats::Message) {
        let mut parts = message.subject.rsplit('.');
        let number = parts.next().and_then(|number| number.parse().ok());
        let run = parts.next().and_then(|run| run.parse().ok());
        let (Some(number), Some(run)) = (number, run) else {
            return;
        };
        self.outboxes.answer(run, number, stored(message).is_ok());
        if message.status.is_some() {
            // Nobody captures events: the streams are missing.
            let own = self.clone();
            self.spawner.spawn(async move {
                if own.streams.ensure(Part::Events).await.is_ok() {
                    own.publish_all_again().await;
                }
            });
        }
    }
}
