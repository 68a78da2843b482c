//! The thread that writes: what waits for it is committed together, and answered only then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runloom_core::clock::Clock;
use runloom_core::database::DatabaseError;
use rusqlite::Connection;

use crate::change::Change;
use crate::convert::{micros, time};
use crate::error::Result;
use crate::job::Job;
use crate::mailbox::Mailbox;
use crate::statement::execute;

/// How long changes are added to a batch: the first of them waits for its answer meanwhile.
pub(crate) const MOST_TIME: Duration = Duration::from_millis(5);

/// How many bytes may be brought by changes that are committed together. One that brings more goes
/// alone, so that those before it need not wait for it.
pub(crate) const MOST_WEIGHT: usize = 1024 * 1024;

/// What changes are made with.
pub(crate) struct Rules {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) max_attempts: u32,
    /// How long changes are added to a batch.
    pub(crate) most_time: Duration,
}

/// Makes the changes that come in, until no more will.
pub(crate) fn serve(connection: &Connection, mailbox: &Mailbox<Box<dyn Job>>, rules: &Rules) {
    let mut next = mailbox.take();
    while let Some(first) = next {
        if !first.is_wanted() {
            next = mailbox.take();
            continue;
        }
        let mut batch = Batch::new(connection, rules);
        let outcome = batch.make(first, mailbox);
        next = batch.answer(outcome).or_else(|| mailbox.take());
    }
}

/// Changes that are committed together.
struct Batch<'a> {
    connection: &'a Connection,
    rules: &'a Rules,
    /// Those that were begun.
    jobs: Vec<Box<dyn Job>>,
    /// One that was taken from the mailbox but is for another batch.
    left: Option<Box<dyn Job>>,
    weight: usize,
    begun: Instant,
}

impl<'a> Batch<'a> {
    fn new(connection: &'a Connection, rules: &'a Rules) -> Self {
        Self {
            connection,
            rules,
            jobs: Vec::new(),
            left: None,
            weight: 0,
            begun: Instant::now(),
        }
    }

    /// Makes `first` and what waits behind it durable and visible. A change that fails undoes
    /// itself; an error of this function says that nothing was changed at all.
    fn make(&mut self, first: Box<dyn Job>, mailbox: &Mailbox<Box<dyn Job>>) -> Result<()> {
        self.weight = first.weight();
        self.jobs.push(first);
        self.execute("begin immediate")?;
        // Nothing of anybody else's is in the transaction yet, so it is as good as a savepoint.
        if !self.run_last()? {
            return self.execute("rollback");
        }
        while let Some(job) = self.next(mailbox) {
            self.jobs.push(job);
            self.execute("savepoint change")?;
            if !self.run_last()? {
                self.execute("rollback to change")?;
            }
            self.execute("release change")?;
        }
        self.execute("commit")
    }

    /// Runs the change that was added last, at the time that it is now. Whether it is to be kept.
    fn run_last(&mut self) -> Result<bool> {
        let change = Change {
            connection: self.connection,
            // As precise as the columns: what is answered now is what is read later.
            now: time(micros(self.rules.clock.now())),
            max_attempts: self.rules.max_attempts,
        };
        let last = self.jobs.last_mut();
        let outcome = last.map_or(Ok(()), |job| job.run(&change));
        if self.connection.is_autocommit() {
            // As when the disk is full: SQLite has undone those before it, too.
            let ended = || DatabaseError::Internal("a transaction was ended".to_owned());
            return Err(outcome.err().unwrap_or_else(ended).into());
        }
        Ok(outcome.is_ok())
    }

    /// The next change for this batch.
    fn next(&mut self, mailbox: &Mailbox<Box<dyn Job>>) -> Option<Box<dyn Job>> {
        while self.begun.elapsed() < self.rules.most_time {
            let job = mailbox.take_waiting()?;
            if !job.is_wanted() {
                continue;
            }
            self.weight = self.weight.saturating_add(job.weight());
            if self.weight <= MOST_WEIGHT {
                return Some(job);
            }
            self.left = Some(job);
            break;
        }
        None
    }

    /// Tells all callers what became of their changes. Hands back what is for another batch.
    fn answer(self, outcome: Result<()>) -> Option<Box<dyn Job>> {
        let refusal = outcome.err().map(DatabaseError::from);
        if refusal.is_some() && !self.connection.is_autocommit() {
            // It cannot fail to end the transaction, only to tidy up behind it.
            let _ = self.execute("rollback");
        }
        for job in self.jobs {
            job.answer(refusal.as_ref());
        }
        self.left
    }

    fn execute(&self, sql: &'static str) -> Result<()> {
        execute(self.connection, sql, ()).map(drop)
    }
}
