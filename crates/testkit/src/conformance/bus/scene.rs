//! What the cases of the bus are told with. They wait for events and never for time to pass; the
//! bounds on waiting are far above what any bus takes.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use runloom_core::bus::{BusError, EventLog, From, Notifier, Tail};
use runloom_core::event::{Event, EventId, Retention};
use runloom_core::ids::{RunId, ThreadId};
use tokio::time::timeout;

/// How a case ends.
pub(super) type Done = Result<(), BusError>;

/// Longer than anything takes that comes at all, a lost acknowledgement included.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A bus that nobody else uses.
pub struct BusFixture {
    /// Its hints.
    pub notifier: Arc<dyn Notifier>,
    /// Its history.
    pub events: Arc<dyn EventLog>,
    keep: Option<Box<dyn Any + Send + Sync>>,
}

impl BusFixture {
    /// A fixture of a bus.
    pub fn new(notifier: Arc<dyn Notifier>, events: Arc<dyn EventLog>) -> Self {
        Self {
            notifier,
            events,
            keep: None,
        }
    }

    /// Keeps something, such as a server, as long as the fixture.
    pub fn keeping(mut self, thing: impl Any + Send + Sync) -> Self {
        self.keep = Some(Box::new(thing));
        self
    }
}

/// A run whose events are written and read.
#[derive(Clone, Copy)]
pub(super) struct Emitter<'a> {
    events: &'a dyn EventLog,
    thread: ThreadId,
    run: RunId,
    retention: Retention,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(f: &'a BusFixture, retention: Retention) -> Self {
        Self {
            events: f.events.as_ref(),
            thread: ThreadId::new(),
            run: RunId::new(),
            retention,
        }
    }

    pub(super) async fn append(&self, events: Vec<Event>) -> Done {
        self.events
            .append(self.thread, self.run, events, self.retention)
            .await
    }

    /// Appends the events of an attempt with these numbers, one by one.
    pub(super) async fn emit(&self, epoch: i64, numbers: std::ops::Range<u64>) -> Done {
        for number in numbers {
            self.append(vec![event(epoch, number)]).await?;
        }
        Ok(())
    }

    pub(super) async fn end(&self) -> Done {
        self.events.end(self.thread, self.run).await
    }

    pub(super) async fn tail(&self, from: From) -> Result<Reader, BusError> {
        Ok(Reader(self.events.tail(self.thread, self.run, from).await?))
    }
}

/// Reads a run's events.
pub(super) struct Reader(BoxStream<'static, Tail>);

impl Reader {
    /// What comes next; there must be something.
    pub(super) async fn next(&mut self) -> Tail {
        soon(&mut self.0).await
    }

    /// The next events, which must be those with these numbers.
    pub(super) async fn expect(&mut self, epoch: i64, numbers: std::ops::Range<u64>) {
        for number in numbers {
            assert_eq!(self.next().await, Tail::Event(event(epoch, number)));
        }
    }

    /// The end of the run, after which the stream ends.
    pub(super) async fn expect_end(&mut self) {
        assert_eq!(self.next().await, Tail::End);
        let after = timeout(PATIENCE, self.0.next()).await;
        assert_eq!(after.ok(), Some(None), "nothing follows the end");
    }

    /// Reads to the end of the run. Panics if events are out of order, doubled, or missing without
    /// a gap. Answers with how many events came and how many gaps.
    pub(super) async fn rest(&mut self) -> (u64, u64) {
        let (mut events, mut gaps) = (0, 0);
        let mut last: Option<Event> = None;
        let mut gap = true;
        loop {
            match self.next().await {
                Tail::Gap => {
                    gap = true;
                    gaps += 1;
                }
                Tail::Event(event) => {
                    if let Some(last) = &last {
                        assert!(event.id > last.id, "{} after {}", event.id, last.id);
                        let follows = event.epoch > last.epoch && event.id.number == 0
                            || event.id.number == last.id.number + 1;
                        assert!(gap || follows, "{} after {}", event.id, last.id);
                    }
                    (gap, last) = (false, Some(event));
                    events += 1;
                }
                Tail::End => return (events, gaps),
            }
        }
    }
}

/// The next element of a stream that must have one.
pub(super) async fn soon<T: Debug>(stream: &mut BoxStream<'static, T>) -> T {
    match timeout(PATIENCE, stream.next()).await {
        Ok(Some(element)) => element,
        Ok(None) => panic!("the stream ended"),
        Err(elapsed) => panic!("nothing came: {elapsed}"),
    }
}

/// The event with this number of the attempt with this epoch.
pub(super) fn event(epoch: i64, number: u64) -> Event {
    Event {
        id: id(epoch, number),
        epoch,
        name: "values".into(),
        data: Bytes::from(format!("{{\"attempt\":{epoch},\"number\":{number}}}")),
    }
}

pub(super) fn id(epoch: i64, number: u64) -> EventId {
    EventId {
        millis: 1_900_000_000_000 + epoch.unsigned_abs() * 1_000 + number / 10,
        number,
    }
}
