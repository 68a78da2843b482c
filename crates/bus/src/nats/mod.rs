//! The bus on NATS: wake-ups in a `JetStream` work queue, signals and changes on plain subjects,
//! events on plain subjects that streams capture.

mod auth;
mod doctor;
mod events;
mod headers;
mod lifecycle;
mod link;
mod measures;
mod notifier;
mod options;
mod post;
mod service;
mod streams;
mod subject;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use async_nats::rustls;
use runloom_core::bus::{BusError, EventLog, Notifier};
use runloom_core::lifecycle::LifecycleFeed;
use runloom_core::service::ServiceHost;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use events::NatsEventLog;
use lifecycle::NatsLifecycle;
use link::Link;
use notifier::NatsNotifier;
use service::NatsServiceHost;
use streams::{Part, Streams};
use subject::Subjects;
use tasks::Tasks;

pub use auth::Auth;
pub use doctor::{Finding, Level};
pub use measures::describe_metrics;
pub use options::{InvalidOptions, Options, Storage, Tls};

/// How long after something was wrong to look again.
const AGAIN: Duration = Duration::from_millis(250);

/// How the bus is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// All of it works.
    Connected,
    /// Part of it works; why not all.
    Degraded(String),
    /// Nothing works; why.
    Down(String),
}

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The options cannot be used.
    #[error(transparent)]
    Options(#[from] InvalidOptions),
    /// The addresses cannot be used.
    #[error("cannot connect to NATS: {0}")]
    Address(String),
    /// A server answers that cannot be used.
    #[error("{0}")]
    Refused(String),
}

/// The connections of one process to NATS: one for control and requests, one for events, so that a
/// reader of events that lags cannot cut off a signal.
#[derive(Clone)]
pub struct Nats {
    control: Arc<Link>,
    link: Arc<Link>,
    streams: Arc<Streams>,
    subjects: Subjects,
    notifier: Arc<NatsNotifier>,
    events: Arc<NatsEventLog>,
    state: watch::Receiver<State>,
    _tasks: Arc<Tasks>,
}

impl Nats {
    /// Connects, for good: connections that are lost come back by themselves. Without a server it
    /// gives up waiting after `connect_wait` and answers all the same; all calls fail at once then,
    /// until there is one. Fails for options that cannot work and for a server that is too old.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        // Others in this process may have chosen one already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let subjects = options.subjects()?;
        let open = async |part| {
            let name = format!("{} {part}", options.name);
            let connect = options.connect_options()?;
            Link::open(&options.urls, connect, &name, subjects.clone())
                .await
                .map_err(|error| ConnectError::Address(error.to_string()))
        };
        let control = Arc::new(open("control").await?);
        let link = Arc::new(open("events").await?);
        let tasks = Arc::new(Tasks::default());
        let spawner = tasks.spawner();
        let kept = (subjects.clone(), options.clone());
        let streams = Streams::new(control.clone(), kept.0, kept.1, spawner.clone());
        let streams = Arc::new(streams);
        let used = (streams.clone(), subjects.clone(), tasks.clone());
        let notifier = NatsNotifier::new(control.clone(), used.0, used.1, used.2);
        let used = (streams.clone(), subjects.clone(), tasks.clone());
        let events = NatsEventLog::new(link.clone(), used.0, used.1, used.2);
        let (sender, state) = watch::channel(State::Down("not connected yet".to_owned()));
        spawner.spawn(watch_over(
            control.clone(),
            link.clone(),
            streams.clone(),
            sender,
        ));
        let nats = Self {
            control,
            link,
            streams,
            subjects,
            notifier: Arc::new(notifier),
            events: Arc::new(events),
            state,
            _tasks: tasks,
        };
        let mut state = nats.state();
        let usable = state.wait_for(|state| *state == State::Connected);
        // Without a server, or without its streams, the process works on, from the database.
        let _ = timeout(options.connect_wait, usable).await;
        if nats.control.client().try_server_info().is_some() {
            nats.control
                .version()
                .map_err(|error| ConnectError::Refused(error.0))?;
        }
        Ok(nats)
    }

    /// Its hints.
    pub fn notifier(&self) -> Arc<dyn Notifier> {
        self.notifier.clone()
    }

    /// Its history.
    pub fn events(&self) -> Arc<dyn EventLog> {
        self.events.clone()
    }

    /// What takes what happens to runs to its listeners.
    pub fn lifecycle(&self) -> Arc<dyn LifecycleFeed> {
        let (link, streams) = (self.control.clone(), self.streams.clone());
        Arc::new(NatsLifecycle::new(link, streams, self.subjects.clone()))
    }

    /// What carries calls of the API: the micro service `runloom`. It begins when there is a
    /// connection and goes on after each new one.
    pub fn service_host(&self) -> Arc<dyn ServiceHost> {
        Arc::new(NatsServiceHost::new(
            self.control.clone(),
            self.subjects.clone(),
        ))
    }

    /// The version of the server, if there is a connection and it is new enough.
    pub fn check(&self) -> Result<String, BusError> {
        self.control.ready()?;
        self.control.version()
    }

    /// Looks at connections, streams and permissions. This takes some seconds at most, and says a few
    /// things on the bus about a thread and a run that do not exist.
    pub async fn doctor(&self) -> Vec<Finding> {
        let links = [("control", &self.control), ("events", &self.link)];
        doctor::examine(links, &self.streams, &self.subjects).await
    }

    /// How it is, from now on.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

/// Keeps the state, and makes the streams on every new connection.
async fn watch_over(
    control: Arc<Link>,
    events: Arc<Link>,
    streams: Arc<Streams>,
    state: watch::Sender<State>,
) {
    let mut changed = (control.connected(), events.connected(), streams.troubles());
    let mut checked = 0;
    loop {
        changed.0.mark_unchanged();
        changed.1.mark_unchanged();
        changed.2.mark_unchanged();
        let found = match (control.ready(), events.ready()) {
            (Err(BusError(why)), _) => State::Down(why),
            (Ok(_), Err(BusError(why))) => State::Degraded(format!("events: {why}")),
            (Ok(connection), Ok(_)) => {
                let trouble = changed.2.borrow().iter().any(Option::is_some);
                if checked != connection || trouble {
                    checked = connection;
                    for part in Part::ALL {
                        // Whoever needs the part tries again; troubles say what is wrong.
                        let _ = streams.ensure(part).await;
                    }
                }
                let troubles = changed.2.borrow();
                let trouble = troubles.iter().flatten().next();
                trouble.map_or(State::Connected, |why| State::Degraded(why.clone()))
            }
        };
        measures::connected(control.ready().is_ok() && events.ready().is_ok());
        let again = found != State::Connected;
        state.send_if_modified(|state| std::mem::replace(state, found.clone()) != found);
        tokio::select! {
            () = sleep(AGAIN), if again => {}
            Ok(()) = changed.0.changed() => {}
            Ok(()) = changed.1.changed() => {}
            Ok(()) = changed.2.changed() => {}
            else => return,
        }
    }
}
