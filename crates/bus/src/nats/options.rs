//! How to reach NATS, and what to keep there.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::ConnectOptions;

use super::auth::Auth;
use super::subject::{Subjects, is_name};

/// How to reach NATS, and what to keep there. All processes of an installation need the same
/// prefix, cell and number of event shards.
#[derive(Clone, Debug)]
pub struct Options {
    /// The servers: `nats://host:port`, or `tls://host:port`.
    pub urls: Vec<String>,
    /// What all subjects begin with: names joined by dots.
    pub prefix: String,
    /// Which shard of the installation this is.
    pub cell: String,
    /// The workers that share one queue of wake-ups.
    pub pool: String,
    /// What the subjects of replies begin with.
    pub inbox_prefix: String,
    /// What the connections are called, for people who look at the server.
    pub name: String,
    /// The `JetStream` domain.
    pub domain: Option<String>,
    /// What the subjects of the `JetStream` API begin with, where an account imports it from
    /// another under a name of its own; instead of a domain.
    pub api_prefix: Option<String>,
    /// Who we are.
    pub auth: Auth,
    /// How the connection is secured.
    pub tls: Tls,
    /// Whether to create streams that are missing and to change those that differ. Otherwise they
    /// are only looked at.
    pub manage_streams: bool,
    /// Copies of each stream.
    pub replicas: usize,
    /// Where streams are kept.
    pub storage: Storage,
    /// Among so many streams the events of runs are spread.
    pub event_shards: u32,
    /// At most so many bytes of events in each shard.
    pub event_bytes: u64,
    /// Events are kept for so long.
    pub event_age: Duration,
    /// At most so many frames of one run.
    pub event_frames: u32,
    /// What happens to runs is kept for so long, for listeners that come later.
    pub lifecycle_age: Duration,
    /// At most so many bytes of it.
    pub lifecycle_bytes: u64,
    /// At most so many bytes of wake-ups.
    pub wake_bytes: u64,
    /// A wake-up that was taken and not answered comes again after this time.
    pub ack_wait: Duration,
    /// How long [`Nats::connect`](super::Nats::connect) waits for a server before it goes on
    /// without.
    pub connect_wait: Duration,
}

/// How the connection is secured.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// A file with certificates to trust beside those of the system.
    pub ca: Option<PathBuf>,
    /// A file with our certificate.
    pub cert: Option<PathBuf>,
    /// A file with its key.
    pub key: Option<PathBuf>,
    /// Whether to refuse a connection without TLS.
    pub require: bool,
    /// Whether to begin with TLS, before the server says anything: for servers with
    /// `handshake_first`.
    pub first: bool,
}

/// Where streams are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory.
    Memory,
}

/// Why options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOptions {
    /// A name that cannot be part of a subject.
    #[error("{what} must be of letters, digits, - and _, not {text:?}")]
    Name {
        /// Which option.
        what: &'static str,
        /// Its value.
        text: String,
    },
    /// Options that only make sense together, or not at all.
    #[error("{0}")]
    Combination(&'static str),
    /// A file that does not hold what it should.
    #[error("{}: {why}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A file that cannot be read.
    #[error("{}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl Options {
    /// The options that suit most, for these servers.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            urls: urls.into_iter().map(Into::into).collect(),
            prefix: "runloom".to_owned(),
            cell: "c0".to_owned(),
            pool: "default".to_owned(),
            inbox_prefix: "_INBOX".to_owned(),
            name: "runloom".to_owned(),
            domain: None,
            api_prefix: None,
            auth: Auth::default(),
            tls: Tls::default(),
            manage_streams: true,
            replicas: 1,
            storage: Storage::File,
            event_shards: 16,
            event_bytes: 4 << 30,
            event_age: Duration::from_hours(1),
            event_frames: 20_000,
            lifecycle_age: Duration::from_hours(24),
            lifecycle_bytes: 256 << 20,
            wake_bytes: 256 << 20,
            ack_wait: Duration::from_secs(5),
            connect_wait: Duration::from_secs(2),
        }
    }

    pub(super) fn subjects(&self) -> Result<Subjects, InvalidOptions> {
        let check = |what, text: &str| {
            is_name(text).then_some(()).ok_or(InvalidOptions::Name {
                what,
                text: text.to_owned(),
            })
        };
        for part in self.prefix.split('.') {
            check("the prefix", part)?;
        }
        for part in self.inbox_prefix.split('.') {
            check("the inbox prefix", part)?;
        }
        check("the cell", &self.cell)?;
        check("the pool", &self.pool)?;
        if let Some(domain) = &self.domain {
            check("the domain", domain)?;
        }
        for part in self.api_prefix.iter().flat_map(|prefix| prefix.split('.')) {
            let what = "the prefix of the JetStream API";
            check(what, part.strip_prefix('$').unwrap_or(part))?;
        }
        if self.domain.is_some() && self.api_prefix.is_some() {
            let text = "a JetStream domain is a prefix of its API: give one of them";
            return Err(InvalidOptions::Combination(text));
        }
        Ok(Subjects::new(
            &self.prefix,
            &self.cell,
            &self.pool,
            self.event_shards,
            self.api(),
        ))
    }

    /// What the subjects of the `JetStream` API begin with.
    pub(super) fn api(&self) -> String {
        match (&self.api_prefix, &self.domain) {
            (Some(prefix), _) => prefix.clone(),
            (None, Some(domain)) => format!("$JS.{domain}.API"),
            (None, None) => "$JS.API".to_owned(),
        }
    }

    /// What the library needs to connect.
    pub(super) fn connect_options(&self) -> Result<ConnectOptions, InvalidOptions> {
        let mut options = self
            .auth
            .connect_options()?
            .custom_inbox_prefix(&self.inbox_prefix)
            .require_tls(self.tls.require);
        if self.tls.first {
            options = options.tls_first();
        }
        if let Some(file) = &self.tls.ca {
            read(file)?;
            options = options.add_root_certificates(file.clone());
        }
        match (&self.tls.cert, &self.tls.key) {
            (Some(cert), Some(key)) => {
                read(cert)?;
                read(key)?;
                options = options.add_client_certificate(cert.clone(), key.clone());
            }
            (None, None) => {}
            _ => return Err(InvalidOptions::Combination("a certificate needs its key")),
        }
        Ok(options)
    }
}

pub(super) fn read(file: &PathBuf) -> Result<String, InvalidOptions> {
    std::fs::read_to_string(file).map_err(|error| InvalidOptions::File {
        file: file.clone(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Options)) -> String {
        let mut options = Options::new(["nats://localhost"]);
        change(&mut options);
        let checked = options.subjects().map(drop);
        let checked = checked.and_then(|()| options.connect_options().map(drop));
        checked.expect_err("refused").to_string()
    }

    #[test]
    fn options_that_cannot_work_are_refused_by_name() {
        let refusal = refused(|options| options.prefix = "a.>".to_owned());
        assert!(refusal.starts_with("the prefix"), "{refusal}");
        let refusal = refused(|options| options.pool = "a.b".to_owned());
        assert!(refusal.starts_with("the pool"), "{refusal}");
        let refusal = refused(|options| options.auth.user = Some("me".to_owned()));
        assert!(refusal.contains("password"), "{refusal}");
        let refusal = refused(|options| options.tls.cert = Some("/no/cert".into()));
        assert!(refusal.contains("key"), "{refusal}");
        let refusal = refused(|options| options.api_prefix = Some("JS.>".to_owned()));
        assert!(refusal.contains("JetStream API"), "{refusal}");
        let refusal = refused(|options| {
            options.domain = Some("hub".to_owned());
            options.api_prefix = Some("$JS.hub.API".to_owned());
        });
        assert!(refusal.contains("one of them"), "{refusal}");
        let refusal = refused(|options| options.auth.creds = Some("/no/such.creds".into()));
        assert!(refusal.contains("/no/such.creds"), "{refusal}");
    }
}
