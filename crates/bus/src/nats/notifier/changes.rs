//! Changes of runs: the process hears those of all threads once and passes them on to who asked for
//! one of them. A subscription for each would cost the server two messages and a round trip for every
//! request that waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::Subscriber;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use runloom_core::bus::{BusError, RunChange};
use runloom_core::ids::ThreadId;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::{understood, wire};
use crate::nats::link::Link;
use crate::nats::subject::Subjects;
use crate::nats::tasks::Spawner;

/// What the process hears of runs that changed.
pub(super) struct Changes {
    link: Arc<Link>,
    subjects: Subjects,
    spawner: Spawner,
    heard: AsyncMutex<Heard>,
    readers: Arc<Readers>,
}

/// What is known of the subscription.
#[derive(Default)]
struct Heard {
    /// Whether there is one. The library renews it on every new connection.
    subscribed: bool,
    /// The connection on which the server is known to have it.
    connection: u64,
}

/// Who wants to hear of which thread.
#[derive(Default)]
struct Readers(Mutex<Table>);

#[derive(Default)]
struct Table {
    of: HashMap<ThreadId, Vec<Reader>>,
    next: u64,
}

struct Reader {
    number: u64,
    sender: mpsc::UnboundedSender<RunChange>,
}

/// Listens for one reader, until it is dropped.
struct Ear {
    thread: ThreadId,
    number: u64,
    changes: mpsc::UnboundedReceiver<RunChange>,
    readers: Arc<Readers>,
}

impl Changes {
    pub(super) fn new(link: Arc<Link>, subjects: Subjects, spawner: Spawner) -> Self {
        Self {
            link,
            subjects,
            spawner,
            heard: AsyncMutex::default(),
            readers: Arc::default(),
        }
    }

    /// The changes of the runs of `thread`. The server knows when this returns.
    pub(super) async fn of(
        &self,
        thread: ThreadId,
    ) -> Result<BoxStream<'static, RunChange>, BusError> {
        let ear = self.readers.join(thread);
        self.subscribed().await?;
        let next = async |mut ear: Ear| Some((ear.changes.recv().await?, ear));
        Ok(unfold(ear, next).boxed())
    }

    /// Returns when the server knows, on this connection, that we listen.
    async fn subscribed(&self) -> Result<(), BusError> {
        let mut heard = self.heard.lock().await;
        let connection = self.link.ready()?;
        if !heard.subscribed {
            let subscriber = self.link.subscribe(self.subjects.all_changes()).await?;
            self.spawner.spawn(listen(subscriber, self.readers.clone()));
            heard.subscribed = true;
        }
        if heard.connection != connection {
            self.link.barrier().await?;
            heard.connection = connection;
        }
        Ok(())
    }
}

async fn listen(mut subscriber: Subscriber, readers: Arc<Readers>) {
    while let Some(message) = subscriber.next().await {
        // Most are for other processes; their bodies need not be understood.
        let Some(thread) = Subjects::thread_of(&message.subject) else {
            continue;
        };
        if readers.has(thread)
            && let Some(change) = understood(wire::read_change(&message.payload))
        {
            readers.tell(change);
        }
    }
}

impl Readers {
    fn join(self: &Arc<Self>, thread: ThreadId) -> Ear {
        let (sender, changes) = mpsc::unbounded_channel();
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        let reader = Reader { number, sender };
        table.of.entry(thread).or_default().push(reader);
        Ear {
            thread,
            number,
            changes,
            readers: self.clone(),
        }
    }

    fn has(&self, thread: ThreadId) -> bool {
        self.lock().of.contains_key(&thread)
    }

    fn tell(&self, change: RunChange) {
        for reader in self.lock().of.get(&change.thread_id).into_iter().flatten() {
            // Who is just going away need not hear it.
            let _gone = reader.sender.send(change);
        }
    }

    /// The table stays whole even if a holder panicked: each change to it is a single call.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut table = self.readers.lock();
        if let Some(readers) = table.of.get_mut(&self.thread) {
            readers.retain(|reader| reader.number != self.number);
            if readers.is_empty() {
                table.of.remove(&self.thread);
            }
        }
    }
}
