//! Wake-ups, signals and changes over NATS.

mod changes;
mod dispatch;
mod pump;
mod shelf;
mod wire;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use async_trait::async_trait;
use futures::StreamExt;
use futures::future::ready;
use futures::stream::BoxStream;
use runloom_core::bus::{BusError, Delivery, Notifier, RunChange, Signal, SignalReply, Wake};
use runloom_core::ids::{ThreadId, WorkerId};

use super::headers;
use super::link::{Failure, Link};
use super::post::Post;
use super::streams::Streams;
use super::subject::Subjects;
use super::tasks::Tasks;
use changes::Changes;
use dispatch::Dispatcher;
use pump::Pump;
use shelf::Shelf;

pub(super) use dispatch::stored;
pub(super) use wire::signal as signal_body;

/// A [`Notifier`] on NATS.
pub(super) struct NatsNotifier {
    link: Arc<Link>,
    subjects: Subjects,
    dispatcher: Arc<Dispatcher>,
    post: Post,
    changes: Changes,
    /// Filled from the first who asks on: gateways never do.
    shelf: OnceLock<Arc<Shelf>>,
    tasks: Arc<Tasks>,
}

impl NatsNotifier {
    pub(super) fn new(
        link: Arc<Link>,
        streams: Arc<Streams>,
        subjects: Subjects,
        tasks: Arc<Tasks>,
    ) -> Self {
        let dispatcher = Dispatcher {
            link: link.clone(),
            streams,
            subjects: subjects.clone(),
        };
        Self {
            post: Post::new(link.clone(), &tasks.spawner()),
            changes: Changes::new(link.clone(), subjects.clone(), tasks.spawner()),
            link,
            subjects,
            dispatcher: Arc::new(dispatcher),
            shelf: OnceLock::new(),
            tasks,
        }
    }

    /// Listens; the server knows when this returns.
    async fn listen(&self, subject: String) -> Result<Subscriber, BusError> {
        let subscriber = self.link.subscribe(subject).await?;
        self.link.barrier().await?;
        Ok(subscriber)
    }
}

#[async_trait]
impl Notifier for NatsNotifier {
    async fn wake(&self, thread: ThreadId) -> Result<(), BusError> {
        self.dispatcher.wake(thread).await
    }

    async fn wakes(&self, max: usize, wait: Duration) -> Result<Vec<Wake>, BusError> {
        let filled = self.shelf.get_or_init(|| {
            let (dispatcher, spawner) = (self.dispatcher.clone(), self.tasks.spawner());
            let empty = Shelf::new(self.post.clone(), dispatcher.clone(), spawner.clone());
            let empty = Arc::new(empty);
            let pump = Pump {
                dispatcher,
                shelf: empty.clone(),
            };
            spawner.spawn(pump.run());
            empty
        });
        filled.take(max, wait).await
    }

    async fn signal(&self, worker: WorkerId, signal: Signal, wait: Duration) -> SignalReply {
        let subject = self.subjects.interrupt(worker);
        let (body, headers) = (wire::signal(signal), headers::of(signal.trace));
        match self.link.request_with(subject, headers, body, wait).await {
            Ok(answer) => wire::read_reply(&answer.payload).unwrap_or_else(|error| {
                tracing::warn!(%error, worker.id = %worker, "an answer to a signal is not understood");
                SignalReply::NoAnswer
            }),
            Err(Failure::NoResponders) => SignalReply::NoReceiver,
            Err(Failure::Unavailable(error)) => {
                tracing::debug!(%error, worker.id = %worker, "a signal was not answered");
                SignalReply::NoAnswer
            }
        }
    }

    async fn signals(&self, worker: WorkerId) -> Result<BoxStream<'static, Delivery>, BusError> {
        let subscriber = self.listen(self.subjects.interrupt(worker)).await?;
        let post = self.post.clone();
        let deliver = move |message: Message| {
            let mut signal = understood(wire::read_signal(&message.payload));
            if let Some(signal) = &mut signal {
                let context = headers::context(message.headers.as_ref());
                signal.trace = context.map(|context| context.parent);
            }
            let post = post.clone();
            ready(signal.map(|signal| Delivery {
                signal,
                reply: Box::new(move |reply| {
                    if let (Some(to), Some(body)) = (message.reply, wire::reply(reply)) {
                        post.send(to.to_string(), body);
                    }
                }),
            }))
        };
        Ok(subscriber.filter_map(deliver).boxed())
    }

    async fn announce(&self, change: RunChange) -> Result<(), BusError> {
        let subject = self.subjects.changes(change.thread_id);
        self.link.publish(subject, wire::change(change)).await
    }

    async fn close(&self) {
        if let Some(shelf) = self.shelf.get() {
            shelf.close();
        }
        self.post.sent().await;
        // The server has it all when it answers what came last.
        if let Err(error) = self.link.barrier().await {
            tracing::debug!(%error, "left the bus without saying so");
        }
    }

    async fn changes(&self, thread: ThreadId) -> Result<BoxStream<'static, RunChange>, BusError> {
        self.changes.of(thread).await
    }
}

/// What was read; others may write on our subjects, too.
fn understood<T>(read: Result<T, BusError>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!(%error, "a message on NATS is not understood"))
        .ok()
}
