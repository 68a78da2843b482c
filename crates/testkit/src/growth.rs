//! Whether what is stored stays as much as it is, however long a server goes on, when everything that may
//! go does.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use runloom_core::assistant::Assistant;
use runloom_core::compose::NewRun;
use runloom_core::database::Database;
use runloom_core::ids::{ThreadId, WorkerId};
use runloom_core::run::RunKwargs;
use runloom_core::thread::{Ttl, TtlStrategy};

use crate::doubles::ManualClock;
use crate::speed::{assistant, run_on, whole_run};

/// No table has more rows at any time, in all rounds.
pub const MOST_ROWS: i64 = 1_000;

/// After how many rounds somebody keeps house. A round is a second.
const HOUSEKEEPING: u32 = 30;

/// How long everything is kept.
const AGE: Duration = Duration::from_mins(1);

/// Threads that stay. Each has some runs in a row and rests while the others have theirs.
const LASTING: u32 = 20;

/// How many rounds there are: what `RUNLOOM_TEST_ROUNDS` says, or 2,000.
pub fn rounds() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "it says how a test is run")]
    let asked = env::var("RUNLOOM_TEST_ROUNDS").ok();
    asked.map_or(2_000, |text| text.parse().expect("a number of rounds"))
}

/// Runs on threads of all kinds, one a round, on a database whose clock moves on by a second each time.
pub struct Growth {
    database: Arc<dyn Database>,
    clock: Arc<ManualClock>,
    worker: WorkerId,
    assistant: Assistant,
    lasting: Vec<ThreadId>,
    done: u32,
}

impl Growth {
    /// Nothing yet.
    pub async fn new(database: Arc<dyn Database>, clock: Arc<ManualClock>) -> Self {
        let worker = WorkerId::new();
        let lease = Duration::from_hours(24 * 365);
        let enlisted = database.enlist(worker, lease).await;
        enlisted.expect("it is enlisted");
        Self {
            database,
            clock,
            worker,
            assistant: assistant(),
            lasting: (0..LASTING).map(|_| ThreadId::new()).collect(),
            done: 0,
        }
    }

    /// So many rounds more.
    pub async fn go_on(&mut self, rounds: u32) {
        for _ in 0..rounds {
            let new = self.next();
            whole_run(&*self.database, new, self.worker).await;
            self.done += 1;
            self.clock.advance(Duration::from_secs(1));
            if self.done.is_multiple_of(HOUSEKEEPING) {
                self.keep_house().await;
            }
        }
    }

    /// Of three runs one is on a thread of its own that expires, one on a thread that goes with it, and
    /// one on a thread that stays.
    fn next(&self) -> NewRun {
        let ttl = |strategy| Ttl::new(AGE.as_secs_f64() / 60.0, strategy);
        let new = run_on(ThreadId::new(), &self.assistant);
        match self.done % 3 {
            0 => NewRun {
                thread_ttl: ttl(TtlStrategy::Delete),
                ..new
            },
            1 => NewRun {
                kwargs: RunKwargs {
                    temporary: true,
                    ..new.kwargs
                },
                ..new
            },
            _ => NewRun {
                thread_id: self.lasting[(self.done / 12 % LASTING) as usize],
                thread_ttl: ttl(TtlStrategy::KeepLatest),
                ..new
            },
        }
    }

    /// What a worker does now and then.
    async fn keep_house(&self) {
        let database = &self.database;
        while database.expire_threads(20).await.expect("it is done").seen == 20 {}
        while database.prune_runs(AGE, 20).await.expect("it is done") == 20 {}
        while database.prune_temporary(AGE, 20).await.expect("it is done") == 20 {}
    }
}
