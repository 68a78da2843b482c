//! What callers ask of the threads that own the connections.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use runloom_core::database::DatabaseError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::change::Change;
use crate::error::{Error, Result, shared};

/// What a caller is told: a job's answer, or the panic in it, which goes on in the caller.
type Told<T> = thread::Result<Result<T>>;

/// Where a caller waits.
pub(crate) struct Answer<T>(oneshot::Receiver<Told<T>>);

impl<T> Answer<T> {
    /// Whether it is there.
    #[cfg(test)]
    pub(crate) fn is_there(&self) -> bool {
        !self.0.is_empty()
    }

    /// The answer, when it is there.
    pub(crate) async fn get(self) -> Result<T, DatabaseError> {
        match self.0.await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(DatabaseError::Unavailable(
                "the database is closed".to_owned(),
            )),
        }
    }
}

/// A change that waits for its turn, or for its commit.
pub(crate) trait Job: Send {
    /// Whether the caller still waits.
    fn is_wanted(&self) -> bool;

    /// How many bytes it is about to write, roughly.
    fn weight(&self) -> usize;

    /// Does it. An error says that it is to be undone, and what others are told if that is not
    /// possible without undoing theirs.
    fn run(&mut self, change: &Change<'_>) -> Result<(), DatabaseError>;

    /// Tells the caller what became of it; or that it never was, and why.
    fn answer(self: Box<Self>, refusal: Option<&DatabaseError>);
}

/// A change, and where its caller waits for it.
pub(crate) fn change<T: Send + 'static>(
    weight: usize,
    work: impl FnOnce(&Change<'_>) -> Result<T> + Send + 'static,
) -> (Box<dyn Job>, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    let asked = Asked {
        weight,
        work: Some(work),
        done: None,
        reply,
    };
    (Box::new(asked), Answer(answer))
}

struct Asked<F, T> {
    weight: usize,
    work: Option<F>,
    done: Option<Told<T>>,
    reply: oneshot::Sender<Told<T>>,
}

impl<F, T> Job for Asked<F, T>
where
    F: FnOnce(&Change<'_>) -> Result<T> + Send,
    T: Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, change: &Change<'_>) -> Result<(), DatabaseError> {
        let work = self.work.take();
        let done = work.map(|work| catch_unwind(AssertUnwindSafe(|| work(change))));
        let kept = match &done {
            Some(Ok(Ok(_))) => Ok(()),
            Some(Ok(Err(error))) => Err(error.told()),
            Some(Err(_)) | None => Err(DatabaseError::Internal("a change panicked".to_owned())),
        };
        self.done = done;
        kept
    }

    fn answer(self: Box<Self>, refusal: Option<&DatabaseError>) {
        let told = match (self.done, refusal) {
            (Some(Err(panic)), _) => Err(panic),
            (_, Some(refusal)) => Ok(Err(Error::Refused(shared(refusal)))),
            (Some(done), None) => done,
            // Dropping the reply says that nobody has done it.
            (None, None) => return,
        };
        // Who is gone needs no answer.
        let _ = self.reply.send(told);
    }
}

/// Something to be looked up, and answered at once.
pub(crate) type Look = Box<dyn FnOnce(&Connection) + Send>;

/// Something to be looked up, and where its caller waits for it.
pub(crate) fn look<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
) -> (Look, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    let look = Box::new(move |connection: &Connection| {
        if !reply.is_closed() {
            let told = catch_unwind(AssertUnwindSafe(|| work(connection)));
            let _ = reply.send(told);
        }
    });
    (look, Answer(answer))
}
