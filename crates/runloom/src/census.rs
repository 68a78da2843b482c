//! Asks the database now and then, by itself and not for whoever collects numbers: whether it answers,
//! and how much work there is in the whole installation.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Unit, describe_gauge, gauge};
use runloom_core::clock::Clock;
use runloom_core::database::{Database, DatabaseError, TableSize, Tally, ping};
use runloom_core::health::Health;
use runloom_gateway::Gateway;
use tokio::time::{Instant, sleep, timeout};

const RUNS: &str = "runloom_runs";
const BACKLOG: &str = "runloom_backlog_threads";
const OLDEST: &str = "runloom_oldest_due_seconds";
const OUTBOX_ROWS: &str = "runloom_outbox_rows";
const OUTBOX_AGE: &str = "runloom_outbox_age_seconds";
const TABLE_BYTES: &str = "runloom_table_bytes";
const TABLE_ROWS: &str = "runloom_table_rows";

/// How often the database is asked.
const EVERY: Duration = Duration::from_secs(5);

/// How soon again when it did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// How long it may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it may take to count.
const COUNTING: Duration = Duration::from_secs(10);

/// Between two questions about work, as many times as long as the answer took: where very much waits,
/// counting it must not be what the database is busy with.
const REST: u32 = 20;

/// How often the sizes of tables are asked for.
const SIZES: Duration = Duration::from_mins(1);

/// How long numbers are shown that could not be renewed.
const STALE: Duration = Duration::from_secs(15);

/// Says what the numbers of the whole installation mean to whoever collects them.
pub(crate) fn describe_metrics() {
    describe_gauge!(RUNS, "runs that are not over, in the whole installation");
    describe_gauge!(BACKLOG, "threads with a due or a running run");
    describe_gauge!(
        OLDEST,
        Unit::Seconds,
        "the longest wait of a run that could be claimed"
    );
    describe_gauge!(
        OUTBOX_ROWS,
        "events that are still to be told to other systems"
    );
    describe_gauge!(
        OUTBOX_AGE,
        Unit::Seconds,
        "the longest wait of such an event"
    );
    describe_gauge!(
        TABLE_BYTES,
        Unit::Bytes,
        "sizes of tables, indexes included"
    );
    describe_gauge!(TABLE_ROWS, "rows of tables, roughly");
}

/// Asks whether the database is there, and tells `health`. Never ends.
pub(crate) async fn watch(database: Arc<dyn Database>, health: Health) {
    loop {
        let answered = matches!(timeout(PATIENCE, ping(&*database)).await, Ok(Ok(())));
        if answered {
            health.database_answered();
            sleep(EVERY).await;
        } else {
            health.database_failed();
            sleep(AGAIN).await;
        }
    }
}

/// Asks how much work there is, and shows it. Never ends.
pub(crate) async fn count(database: Arc<dyn Database>, clock: Arc<dyn Clock>, gateway: Gateway) {
    let mut shown = Shown::default();
    let mut answered = Instant::now();
    let mut sizes_at = Instant::now();
    let mut pace = Pace::default();
    loop {
        let asked = Instant::now();
        match within(COUNTING, database.tally()).await {
            Ok(tally) => {
                answered = Instant::now();
                let took = answered - asked;
                // The answer is from about the middle of that time.
                let here = clock.now().timestamp_millis();
                let half = i64::try_from(took.as_millis() / 2).unwrap_or_default();
                gateway.set_clock_skew(tally.at.timestamp_millis() - (here - half));
                shown.tally(&tally);
                if answered >= sizes_at
                    && let Ok(sizes) = within(COUNTING, database.sizes()).await
                {
                    sizes_at = answered + SIZES;
                    shown.sizes(&sizes);
                }
                sleep(pace.after(took, true)).await;
            }
            Err(error) => {
                tracing::debug!(%error, "the work that there is could not be counted");
                if answered.elapsed() >= STALE {
                    shown.forget();
                    sizes_at = Instant::now();
                }
                sleep(pace.after(asked.elapsed(), false)).await;
            }
        }
    }
}

/// How often questions about work are asked.
#[derive(Default)]
struct Pace {
    /// How many in a row took all the time that they had.
    late: u32,
}

impl Pace {
    /// How long to wait after a question that took so long, and was answered or not. One that is late may
    /// have been too much for the database, or never reached it: the rest grows with each.
    fn after(&mut self, took: Duration, answered: bool) -> Duration {
        if answered {
            self.late = 0;
            return EVERY.max(took * REST);
        }
        if took < COUNTING / 2 {
            self.late = 0;
            return AGAIN;
        }
        let rest = 2_u32.saturating_pow(self.late).min(REST);
        self.late += 1;
        took * rest
    }
}

/// The answer, if it comes in time.
async fn within<T>(
    patience: Duration,
    asking: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let late = |_| Err(DatabaseError::Unavailable("no answer in time".to_owned()));
    timeout(patience, asking).await.unwrap_or_else(late)
}

/// What is shown of the installation.
#[derive(Default)]
struct Shown {
    tally: bool,
    outbox: bool,
    tables: Vec<TableSize>,
}

#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
impl Shown {
    fn tally(&mut self, tally: &Tally) {
        gauge!(RUNS, "status" => "pending").set(tally.pending as f64);
        gauge!(RUNS, "status" => "scheduled").set(tally.scheduled as f64);
        gauge!(RUNS, "status" => "running").set(tally.running as f64);
        gauge!(BACKLOG).set(tally.backlog_threads as f64);
        gauge!(OLDEST).set(tally.oldest_due.unwrap_or_default().as_secs_f64());
        if let Some(untold) = tally.untold {
            gauge!(OUTBOX_ROWS).set(untold.rows as f64);
            gauge!(OUTBOX_AGE).set(untold.age.as_secs_f64());
            self.outbox = true;
        }
        self.tally = true;
    }

    fn sizes(&mut self, sizes: &[TableSize]) {
        for size in sizes {
            gauge!(TABLE_BYTES, "table" => size.table).set(size.bytes as f64);
            if let Some(rows) = size.rows {
                gauge!(TABLE_ROWS, "table" => size.table).set(rows as f64);
            }
        }
        sizes.clone_into(&mut self.tables);
    }

    /// Shows that nobody knows: what was true is no answer to what is.
    fn forget(&mut self) {
        if std::mem::take(&mut self.tally) {
            for status in ["pending", "scheduled", "running"] {
                gauge!(RUNS, "status" => status).set(f64::NAN);
            }
            gauge!(BACKLOG).set(f64::NAN);
            gauge!(OLDEST).set(f64::NAN);
        }
        if std::mem::take(&mut self.outbox) {
            gauge!(OUTBOX_ROWS).set(f64::NAN);
            gauge!(OUTBOX_AGE).set(f64::NAN);
        }
        for size in self.tables.drain(..) {
            gauge!(TABLE_BYTES, "table" => size.table).set(f64::NAN);
            if size.rows.is_some() {
                gauge!(TABLE_ROWS, "table" => size.table).set(f64::NAN);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_to_count_is_counted_more_and_more_rarely() {
        let mut pace = Pace::default();
        let waits = |pace: &mut Pace| pace.after(COUNTING, false);
        let seconds: Vec<_> = (0..7).map(|_| waits(&mut pace).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 200, 200]);
        // Where the database says at once that it cannot, it may be back as soon.
        assert_eq!(pace.after(Duration::ZERO, false), AGAIN);
        assert_eq!(waits(&mut pace), COUNTING);
        assert_eq!(pace.after(Duration::from_secs(9), true).as_secs(), 180);
        assert_eq!(pace.after(Duration::ZERO, true), EVERY);
        assert_eq!(waits(&mut pace), COUNTING);
    }
}
