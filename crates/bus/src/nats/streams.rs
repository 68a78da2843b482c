//! The streams and the consumer: made when they are missing, or only looked at.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Compression, Config, ConsumerErrorKind, DiscardPolicy, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{self, Context};
use futures::future::join_all;
use runloom_core::bus::BusError;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::Instant;

use super::link::{Link, bounded};
use super::options::{Options, Storage};
use super::subject::Subjects;
use super::tasks::Spawner;

/// Longer than servers need to agree on a new stream.
const AGREE: Duration = Duration::from_secs(10);

/// After a failure, the first and the longest time until the next attempt.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What was found good so shortly ago need not be looked at again: many notice the same thing.
const FRESH: Duration = Duration::from_millis(200);

/// Wake-ups are found again by the sweep long before.
const WAKE_AGE: Duration = Duration::from_mins(10);

/// What can be made anew by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The work queue of wake-ups and its consumer.
    Dispatch,
    /// The streams of events.
    Events,
    /// The stream of what happens to runs. Runs do not need it, so it is no trouble of the bus.
    Lifecycle,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Dispatch, Self::Events, Self::Lifecycle];
}

/// One thing that is kept on the server, compared with what it should be.
#[derive(Debug)]
pub(super) struct Check {
    /// Its name.
    pub(super) name: String,
    /// It cannot be used like this.
    pub(super) broken: Vec<String>,
    /// It works, but is not as it should be.
    pub(super) odd: Vec<String>,
}

impl Check {
    /// Notes that one setting is odd, if it is.
    fn compare<T: PartialEq + Debug>(&mut self, what: &str, found: &T, want: &T) {
        if found != want {
            self.odd.push(format!("{what} is {found:?}, not {want:?}"));
        }
    }
}

/// Keeps streams and consumer there.
pub(super) struct Streams {
    link: Arc<Link>,
    context: Context,
    subjects: Subjects,
    options: Options,
    dispatch: Mutex<Gate>,
    events: Mutex<Gate>,
    lifecycle: Mutex<Gate>,
    /// What is wrong with either, if anything is.
    troubles: watch::Sender<[Option<String>; 2]>,
    spawner: Spawner,
}

/// Lets one at a time look, and not too often.
#[derive(Default)]
struct Gate {
    last: Option<(Instant, Result<(), BusError>)>,
    pause: Duration,
}

impl Streams {
    pub(super) fn new(
        link: Arc<Link>,
        subjects: Subjects,
        options: Options,
        spawner: Spawner,
    ) -> Self {
        let client = link.client().clone();
        let mut context = jetstream::with_prefix(client, &options.api());
        context.set_timeout(AGREE);
        Self {
            link,
            context,
            subjects,
            options,
            dispatch: Mutex::default(),
            events: Mutex::default(),
            lifecycle: Mutex::default(),
            troubles: watch::Sender::new([None, None]),
            spawner,
        }
    }

    /// What is wrong with the parts, if anything is.
    pub(super) fn troubles(&self) -> watch::Receiver<[Option<String>; 2]> {
        self.troubles.subscribe()
    }

    /// Makes or checks a part that was missed. Fails if it still cannot be used.
    pub(super) async fn ensure(self: &Arc<Self>, part: Part) -> Result<(), BusError> {
        let own = self.clone();
        let (sender, done) = oneshot::channel();
        // As a task of its own it goes on when the caller has no more time.
        self.spawner.spawn(async move {
            // A caller without time has gone.
            let _ = sender.send(own.ensure_now(part).await);
        });
        done.await
            .unwrap_or_else(|_| Err(BusError("the bus is closed".to_owned())))
    }

    /// The same, in the background.
    pub(super) fn ensure_soon(self: &Arc<Self>, part: Part) {
        let own = self.clone();
        self.spawner.spawn(async move {
            // Troubles say what is wrong.
            let _ = own.ensure_now(part).await;
        });
    }

    async fn ensure_now(&self, part: Part) -> Result<(), BusError> {
        let mut gate = match part {
            Part::Dispatch => self.dispatch.lock().await,
            Part::Events => self.events.lock().await,
            Part::Lifecycle => self.lifecycle.lock().await,
        };
        if let Some((when, outcome)) = &gate.last {
            let fresh = if outcome.is_ok() { FRESH } else { gate.pause };
            if when.elapsed() < fresh {
                return match outcome {
                    Ok(()) => Ok(()),
                    Err(error) => Err(BusError(error.0.clone())),
                };
            }
        }
        let checks = self.check(part, self.options.manage_streams).await;
        let outcome = checks.and_then(|checks| {
            let broken = checks.iter().find(|check| !check.broken.is_empty());
            broken.map_or(Ok(()), |check| {
                let why = check.broken.join(", ");
                Err(BusError(format!("{}: {why}", check.name)))
            })
        });
        gate.pause = match &outcome {
            Ok(()) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(%error, ?part, "streams on NATS cannot be used");
                (gate.pause * 2).clamp(BACK_OFF.0, BACK_OFF.1)
            }
        };
        let trouble = outcome.as_ref().err().map(|error| error.0.clone());
        self.troubles.send_if_modified(|troubles| {
            let place = troubles.get_mut(part as usize);
            place.is_some_and(|place| std::mem::replace(place, trouble.clone()) != trouble)
        });
        let copy = outcome.as_ref().copied();
        let copy = copy.map_err(|error| BusError(error.0.clone()));
        gate.last = Some((Instant::now(), copy));
        outcome
    }

    /// Compares a part with what it should be; with `mend`, makes it so as far as possible.
    pub(super) async fn check(&self, part: Part, mend: bool) -> Result<Vec<Check>, BusError> {
        self.link.ready()?;
        match part {
            Part::Dispatch => {
                let stream = self.check_stream(self.dispatch_config(), mend).await?;
                if !stream.broken.is_empty() {
                    return Ok(vec![stream]);
                }
                let consumer = self.check_consumer(mend).await?;
                Ok(vec![stream, consumer])
            }
            Part::Events => {
                let checks = self
                    .subjects
                    .shards()
                    .map(|shard| self.check_stream(self.shard_config(shard), mend));
                join_all(checks).await.into_iter().collect()
            }
            Part::Lifecycle => Ok(vec![
                self.check_stream(self.lifecycle_config(), mend).await?,
            ]),
        }
    }

    async fn check_stream(&self, want: Config, mend: bool) -> Result<Check, BusError> {
        let found = match bounded_get(&self.context, &want.name).await {
            Ok(found) => found,
            Err(GetFailure::Missing) if mend => {
                tracing::info!(stream = %want.name, "creating a stream");
                let made = self.context.create_stream(&want);
                bounded(AGREE, made).await?.cached_info().config.clone()
            }
            Err(GetFailure::Missing) => {
                return Ok(Check {
                    name: format!("stream {}", want.name),
                    broken: vec!["it does not exist".to_owned()],
                    odd: Vec::new(),
                });
            }
            Err(GetFailure::Other(error)) => return Err(error),
        };
        let check = compare_streams(&want, &found);
        if !mend || (check.broken.is_empty() && check.odd.is_empty()) {
            return Ok(check);
        }
        match bounded(AGREE, self.context.update_stream(&want)).await {
            Ok(info) => Ok(compare_streams(&want, &info.config)),
            Err(error) => {
                tracing::warn!(stream = %want.name, %error, "cannot change a stream");
                Ok(check)
            }
        }
    }

    async fn check_consumer(&self, mend: bool) -> Result<Check, BusError> {
        let (want, stream) = (self.consumer_config(), self.subjects.dispatch_stream());
        let name = self.subjects.consumer();
        let mut check = Check {
            name: format!("consumer {name} of {stream}"),
            broken: Vec::new(),
            odd: Vec::new(),
        };
        if mend {
            let made = self.context.create_consumer_on_stream(want, stream);
            bounded(AGREE, made).await?;
            return Ok(check);
        }
        let found = self
            .context
            .get_consumer_from_stream::<pull::Config, _, _>(&name, &stream);
        match tokio::time::timeout(AGREE, found).await {
            Ok(Ok(consumer)) => {
                compare_consumers(&want, &consumer.cached_info().config, &mut check);
            }
            Ok(Err(error)) if error.kind() == ConsumerErrorKind::TimedOut => {
                return Err(BusError(error.to_string()));
            }
            Ok(Err(error)) => check.broken.push(error.to_string()),
            Err(elapsed) => return Err(BusError(elapsed.to_string())),
        }
        Ok(check)
    }

    fn dispatch_config(&self) -> Config {
        Config {
            name: self.subjects.dispatch_stream(),
            description: Some(
                "Wake-ups: look at this thread. Nothing is lost with them.".to_owned(),
            ),
            subjects: vec![self.subjects.all_dispatch()],
            retention: RetentionPolicy::WorkQueue,
            max_age: WAKE_AGE,
            max_bytes: bytes(self.options.wake_bytes),
            max_message_size: 4 << 10,
            duplicate_window: Duration::from_secs(1),
            ..self.common_config()
        }
    }

    fn shard_config(&self, shard: u32) -> Config {
        Config {
            name: self.subjects.shard_stream(shard),
            description: Some("Events of runs, for readers that come later.".to_owned()),
            subjects: vec![self.subjects.shard_events(shard)],
            retention: RetentionPolicy::Limits,
            max_age: self.options.event_age,
            max_bytes: bytes(self.options.event_bytes),
            max_messages_per_subject: self.options.event_frames.into(),
            duplicate_window: Duration::from_millis(100),
            compression: Some(Compression::S2),
            ..self.common_config()
        }
    }

    fn lifecycle_config(&self) -> Config {
        Config {
            name: self.subjects.lifecycle_stream(),
            description: Some("What happens to runs, for whoever reacts to it.".to_owned()),
            subjects: vec![self.subjects.all_lifecycle()],
            retention: RetentionPolicy::Limits,
            max_age: self.options.lifecycle_age,
            max_bytes: bytes(self.options.lifecycle_bytes),
            max_message_size: 16 << 10,
            // A relay that was paused repeats what another has told meanwhile.
            duplicate_window: Duration::from_mins(2).min(self.options.lifecycle_age),
            compression: Some(Compression::S2),
            ..self.common_config()
        }
    }

    fn common_config(&self) -> Config {
        let shards = self.options.event_shards.to_string();
        let metadata = [("owner", "runloom"), ("schema", "1"), (SHARDS, &shards)];
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Config {
            discard: DiscardPolicy::Old,
            max_consumers: -1,
            max_messages: -1,
            max_messages_per_subject: -1,
            storage: match self.options.storage {
                Storage::File => StorageType::File,
                Storage::Memory => StorageType::Memory,
            },
            num_replicas: self.options.replicas,
            allow_direct: true,
            metadata: metadata.map(owned).into(),
            ..Config::default()
        }
    }

    fn consumer_config(&self) -> pull::Config {
        pull::Config {
            durable_name: Some(self.subjects.consumer()),
            filter_subject: self.subjects.pool_dispatch(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.options.ack_wait,
            max_deliver: -1,
            replay_policy: ReplayPolicy::Instant,
            max_ack_pending: 100_000,
            // The server's own 512 is soon exceeded by many workers.
            max_waiting: 16_384,
            ..pull::Config::default()
        }
    }
}

/// Where a stream says into how many shards events are spread.
const SHARDS: &str = "event_shards";

enum GetFailure {
    Missing,
    Other(BusError),
}

async fn bounded_get(context: &Context, name: &str) -> Result<Config, GetFailure> {
    match tokio::time::timeout(AGREE, context.get_stream(name)).await {
        Ok(Ok(stream)) => Ok(stream.cached_info().config.clone()),
        Ok(Err(error)) => match error.kind() {
            GetStreamErrorKind::JetStream(ref inner)
                if inner.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
            {
                Err(GetFailure::Missing)
            }
            _ => Err(GetFailure::Other(BusError(error.to_string()))),
        },
        Err(elapsed) => Err(GetFailure::Other(BusError(elapsed.to_string()))),
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn compare_streams(want: &Config, found: &Config) -> Check {
    let mut broken = Vec::new();
    if want.subjects != found.subjects {
        broken.push(format!(
            "subjects are {:?}, not {:?}",
            found.subjects, want.subjects
        ));
    }
    if want.retention != found.retention {
        broken.push(format!(
            "retention is {:?}, not {:?}",
            found.retention, want.retention
        ));
    }
    if !found.allow_direct {
        broken.push("allow_direct is off".to_owned());
    }
    if let Some(shards) = found.metadata.get(SHARDS)
        && Some(shards) != want.metadata.get(SHARDS)
    {
        broken.push(format!(
            "it was made for {shards} event shards, not {}",
            want.metadata[SHARDS]
        ));
    }
    let mut check = Check {
        name: format!("stream {}", want.name),
        broken,
        odd: Vec::new(),
    };
    check.compare("storage", &found.storage, &want.storage);
    check.compare(
        "the number of replicas",
        &found.num_replicas,
        &want.num_replicas,
    );
    check.compare("max_age", &found.max_age, &want.max_age);
    check.compare("max_bytes", &found.max_bytes, &want.max_bytes);
    check.compare(
        "max_msgs_per_subject",
        &found.max_messages_per_subject,
        &want.max_messages_per_subject,
    );
    check
}

fn compare_consumers(want: &pull::Config, found: &jetstream::consumer::Config, check: &mut Check) {
    if found.filter_subject != want.filter_subject {
        check.broken.push(format!(
            "filter_subject is {:?}, not {:?}",
            found.filter_subject, want.filter_subject
        ));
    }
    if found.ack_policy != want.ack_policy {
        check
            .broken
            .push(format!("ack_policy is {:?}", found.ack_policy));
    }
    if found.deliver_subject.is_some() {
        check.broken.push("it is a push consumer".to_owned());
    }
    check.compare("ack_wait", &found.ack_wait, &want.ack_wait);
    check.compare("max_deliver", &found.max_deliver, &want.max_deliver);
    check.compare(
        "max_ack_pending",
        &found.max_ack_pending,
        &want.max_ack_pending,
    );
    check.compare("max_waiting", &found.max_waiting, &want.max_waiting);
}
