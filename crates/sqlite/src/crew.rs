//! Threads that each own a connection and take jobs from one line.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use runloom_core::database::DatabaseError;
use rusqlite::Connection;

use crate::error::{Error, Result};
use crate::mailbox::Mailbox;

/// Threads that serve a mailbox until it is closed. Dropped, it waits for what they have in hand.
pub(crate) struct Crew<T> {
    mailbox: Arc<Mailbox<T>>,
    threads: Vec<JoinHandle<rusqlite::Result<()>>>,
}

impl<T: Send + 'static> Crew<T> {
    /// Starts a thread for each connection. `serve` takes from the mailbox until there is no more.
    pub(crate) fn start(
        name: &str,
        connections: Vec<Connection>,
        serve: impl Fn(&Connection, &Mailbox<T>) + Clone + Send + 'static,
    ) -> Result<Self> {
        let mut crew = Self {
            mailbox: Arc::new(Mailbox::new()),
            threads: Vec::new(),
        };
        for connection in connections {
            let (end, serve) = (End(crew.mailbox.clone()), serve.clone());
            let thread = Builder::new().name(name.to_owned()).spawn(move || {
                serve(&connection, &end.0);
                connection.close().map_err(|(_, error)| error)
            });
            let thread = thread.map_err(|error| DatabaseError::Unavailable(error.to_string()))?;
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// Hands a job in. It is dropped if nobody takes jobs any more.
    pub(crate) fn put(&self, job: T) {
        self.mailbox.put(job);
    }

    /// Lets the jobs that wait be done, then closes the connections.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.mailbox.close();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(|| {
            let ends = threads.into_iter().map(JoinHandle::join);
            ends.collect::<Result<Vec<_>, _>>()
        });
        let ends = joined.await.ok().and_then(Result::ok);
        let ends = ends.ok_or_else(|| DatabaseError::Internal("a thread panicked".to_owned()))?;
        let ended: rusqlite::Result<()> = ends.into_iter().collect();
        ended.map_err(Error::from)
    }
}

impl<T> Drop for Crew<T> {
    fn drop(&mut self) {
        self.mailbox.close();
        for thread in self.threads.drain(..) {
            // An answer may wake somebody who drops the database there and then.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// However a thread ends, nobody waits for it in vain.
struct End<T>(Arc<Mailbox<T>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.0.shut();
    }
}
