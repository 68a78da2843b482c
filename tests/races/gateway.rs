//! Gateways as their clients see them: each has a way of its own to the database, may stand still or
//! be gone, and a client that gets no answer asks again, perhaps another one.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runloom_core::database::{Database, DatabaseError};

use tokio_util::task::TaskTracker;

use crate::chaos::Pause;
use crate::slow::Slow;

/// How long a client waits between two tries.
const AGAIN: Duration = Duration::from_millis(10);

/// A gateway process.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) pause: Pause,
}

/// All gateways, and whose turn it is.
#[derive(Default)]
pub(crate) struct Gateways {
    all: Mutex<Vec<Gateway>>,
    turn: Mutex<usize>,
    /// Calls under way: a client that gives up does not take its call back.
    sent: TaskTracker,
}

impl Gateways {
    pub(crate) fn start(&self, database: Slow, pause: Pause) {
        let database = Arc::new(database);
        self.all.lock().unwrap().push(Gateway { database, pause });
    }

    pub(crate) fn kill(&self, index: usize) {
        self.all.lock().unwrap()[index].pause.set(true);
    }

    /// Has a gateway stand still for so many milliseconds.
    pub(crate) async fn freeze(&self, index: usize, millis: u64) {
        let pause = self.all.lock().unwrap()[index].pause.clone();
        pause.set(true);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        pause.set(false);
    }

    /// Clients alternate between the gateways, those that are gone included: they cannot know.
    fn next(&self) -> Gateway {
        let mut turn = self.turn.lock().unwrap();
        *turn += 1;
        let all = self.all.lock().unwrap();
        all[*turn % all.len()].clone()
    }

    /// Asks until a gateway answers; each try may have been carried out all the same. Answers with
    /// what it said and who said it.
    pub(crate) async fn ask<T, F>(
        &self,
        patience: Duration,
        call: impl Fn(Arc<dyn Database>) -> F,
    ) -> (Result<T, DatabaseError>, Gateway)
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DatabaseError>> + Send + 'static,
    {
        loop {
            let gateway = self.next();
            let call = self.sent.spawn(call(gateway.database.clone()));
            match tokio::time::timeout(patience, call).await {
                Err(_) | Ok(Ok(Err(DatabaseError::Unavailable(_)))) => {}
                Ok(answer) => return (answer.expect("a gateway does not panic"), gateway),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
