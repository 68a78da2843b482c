//! One connection, every use of which ends in time.
//!
//! While there is no server the library queues what is published and, when the queue is full, waits
//! for ever. So nothing is given to it unless it is connected, and never without a limit.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, RequestErrorKind, Subscriber};
use bytes::Bytes;
use runloom_core::bus::BusError;
use tokio::sync::watch;
use tokio::time::timeout;

use super::measures;
use super::subject::Subjects;

/// Longer than anything takes that a server does at once.
pub(super) const CALL: Duration = Duration::from_secs(2);

/// How often a silent server is asked whether it lives; the second silence ends the connection.
const PING: Duration = Duration::from_secs(5);

/// The oldest server that can do what is needed: batches of stored messages.
const OLDEST: (u64, u64) = (2, 11);

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody listens there.
    NoResponders,
    /// No answer in time, or no connection.
    Unavailable(BusError),
}

impl From<Failure> for BusError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoResponders => Self("nobody answers requests there".to_owned()),
            Failure::Unavailable(error) => error,
        }
    }
}

/// One connection, for good: it comes back by itself.
pub(super) struct Link {
    client: Client,
    subjects: Subjects,
    /// How many connections there have been, while there is one; else zero.
    connected: watch::Receiver<u64>,
    /// The connection whose server was found new enough.
    accepted: AtomicU64,
    server_errors: watch::Receiver<Vec<String>>,
}

impl Link {
    /// Begins to connect.
    pub(super) async fn open(
        urls: &[String],
        options: ConnectOptions,
        name: &str,
        subjects: Subjects,
    ) -> Result<Self, async_nats::ConnectError> {
        let (connected_sender, connected) = watch::channel(0);
        let (error_sender, server_errors) = watch::channel(Vec::new());
        let mut count = 0;
        let count = std::sync::Mutex::new(move || {
            count += 1;
            count
        });
        let on_event = move |event| {
            match event {
                Event::Connected => {
                    let number = count.lock().map_or(1, |mut next| next());
                    if number > 1 {
                        measures::reconnected();
                    }
                    connected_sender.send_replace(number);
                }
                Event::Disconnected | Event::Closed => {
                    connected_sender.send_replace(0);
                }
                Event::SlowConsumer(subscription) => {
                    measures::slow_consumer();
                    tracing::warn!(subscription, "messages from NATS are not taken in time");
                }
                Event::ServerError(error) => {
                    tracing::warn!(%error, "the NATS server complains");
                    error_sender.send_modify(|errors: &mut Vec<String>| {
                        errors.push(error.to_string());
                        let excess = errors.len().saturating_sub(100);
                        errors.drain(..excess);
                    });
                }
                other => tracing::debug!(event = %other, "NATS"),
            }
            std::future::ready(())
        };
        let options = options
            .name(name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(delay)
            .connection_timeout(CALL)
            .ping_interval(PING)
            .request_timeout(None)
            .event_callback(on_event);
        let client = options.connect(urls).await?;
        Ok(Self {
            client,
            subjects,
            connected,
            accepted: AtomicU64::new(0),
            server_errors,
        })
    }

    /// Which connection this is, if there is one to a server that can be used.
    pub(super) fn ready(&self) -> Result<u64, BusError> {
        let number = *self.connected.borrow();
        if number == 0 || self.client.connection_state() != State::Connected {
            return Err(BusError("not connected to NATS".to_owned()));
        }
        if self.accepted.load(Ordering::Relaxed) != number {
            self.version()?;
            self.accepted.store(number, Ordering::Relaxed);
        }
        Ok(number)
    }

    /// The server's version, if it is new enough.
    pub(super) fn version(&self) -> Result<String, BusError> {
        let Some(info) = self.client.try_server_info() else {
            return Err(BusError("not connected to NATS".to_owned()));
        };
        let mut numbers = info
            .version
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < OLDEST {
            let (major, minor) = OLDEST;
            return Err(BusError(format!(
                "NATS server {} is too old: {major}.{minor} or newer is needed",
                info.version
            )));
        }
        Ok(info.version)
    }

    /// Changes whenever a connection is lost or made.
    pub(super) fn connected(&self) -> watch::Receiver<u64> {
        self.connected.clone()
    }

    /// What the server complained about lately, such as missing permissions.
    pub(super) fn server_errors(&self) -> Vec<String> {
        self.server_errors.borrow().clone()
    }

    /// The client, for what has no shorter way. Every call needs a limit.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The most bytes that a message may have, headers included. Before the first connection nobody
    /// knows, so it is little.
    pub(super) fn max_payload(&self) -> usize {
        const UNKNOWN: usize = 64 << 10;
        match self.client.max_payload() {
            0 => UNKNOWN,
            most => most,
        }
    }

    /// Sends a message to whoever listens.
    pub(super) async fn publish(&self, subject: String, payload: Bytes) -> Result<(), BusError> {
        self.ready()?;
        bounded(CALL, self.client.publish(subject, payload)).await
    }

    /// Asks, and waits up to `wait` for the first answer.
    pub(super) async fn request(
        &self,
        subject: String,
        payload: Bytes,
        wait: Duration,
    ) -> Result<Message, Failure> {
        self.request_with(subject, None, payload, wait).await
    }

    /// The same, with headers.
    pub(super) async fn request_with(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        wait: Duration,
    ) -> Result<Message, Failure> {
        self.ready().map_err(Failure::Unavailable)?;
        let request = async {
            match headers {
                None => self.client.request(subject, payload).await,
                Some(headers) => {
                    let asked = self.client.request_with_headers(subject, headers, payload);
                    asked.await
                }
            }
        };
        match timeout(wait, request).await {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                Err(Failure::NoResponders)
            }
            Ok(Err(error)) => Err(Failure::Unavailable(BusError(error.to_string()))),
            Err(_elapsed) => Err(Failure::Unavailable(too_late())),
        }
    }

    /// Listens. The server may not know yet; see [`Self::barrier`].
    pub(super) async fn subscribe(&self, subject: String) -> Result<Subscriber, BusError> {
        self.ready()?;
        bounded(CALL, self.client.subscribe(subject)).await
    }

    /// Returns when the server has seen everything that was sent before.
    pub(super) async fn barrier(&self) -> Result<(), BusError> {
        match self
            .request(self.subjects.nobody(), Bytes::new(), CALL)
            .await
        {
            // The refusal of a request that nobody hears is as good as an answer.
            Ok(_) | Err(Failure::NoResponders) => Ok(()),
            Err(Failure::Unavailable(error)) => Err(error),
        }
    }
}

/// Gives up after `limit`.
pub(super) async fn bounded<T, E: std::fmt::Display>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, BusError> {
    match timeout(limit, call).await {
        Ok(done) => done.map_err(|error| BusError(error.to_string())),
        Err(_elapsed) => Err(too_late()),
    }
}

fn too_late() -> BusError {
    BusError("no answer in time from NATS".to_owned())
}

/// How long to wait before another attempt to connect: longer and longer, and not all at once.
fn delay(attempt: usize) -> Duration {
    let doubled = 1_u64 << attempt.min(7);
    let most = Duration::from_millis((10 * doubled).min(2_000));
    most.mul_f64(0.2 + 0.8 * fastrand::f64())
}
