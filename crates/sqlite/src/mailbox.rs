//! What waits for a thread to take it up.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A line of things in front of one or more threads, which sleep while it is empty.
pub(crate) struct Mailbox<T> {
    line: Mutex<Line<T>>,
    filled: Condvar,
}

struct Line<T> {
    waiting: VecDeque<T>,
    /// How many threads sleep: to wake none costs a call of the kernel, too.
    asleep: usize,
    closed: bool,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Self {
        let line = Line {
            waiting: VecDeque::new(),
            asleep: 0,
            closed: false,
        };
        Self {
            line: Mutex::new(line),
            filled: Condvar::new(),
        }
    }

    /// Adds to the end of the line; drops what comes after the line was closed.
    pub(crate) fn put(&self, item: T) {
        let mut line = self.lock();
        if line.closed {
            return;
        }
        line.waiting.push_back(item);
        let wake = line.asleep > 0;
        drop(line);
        if wake {
            self.filled.notify_one();
        }
    }

    /// Waits for the next one. None when the line is closed and has run out.
    pub(crate) fn take(&self) -> Option<T> {
        let mut line = self.lock();
        loop {
            if let Some(item) = line.waiting.pop_front() {
                return Some(item);
            }
            if line.closed {
                return None;
            }
            line.asleep += 1;
            let woken = self.filled.wait(line);
            line = woken.unwrap_or_else(PoisonError::into_inner);
            line.asleep -= 1;
        }
    }

    /// The next one, if one waits.
    pub(crate) fn take_waiting(&self) -> Option<T> {
        self.lock().waiting.pop_front()
    }

    /// Lets nothing more in. What waits is still to be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Lets nothing more in and drops what waits.
    pub(crate) fn shut(&self) {
        self.close();
        let waiting = std::mem::take(&mut self.lock().waiting);
        drop(waiting);
    }

    /// Nothing is left half done under this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Line<T>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
