//! How to reach NATS, and what to keep there.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::ConnectOptions;

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
    /// The `JetStream` domain.
    pub domain: Option<String>,
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

/// Who we are. Files are read once, at the start.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// A file with credentials: a JWT and a seed.
    pub creds: Option<PathBuf>,
    /// A file with the seed of an nkey.
    pub nkey: Option<PathBuf>,
    /// A name.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// A token.
    pub token: Option<String>,
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
            domain: None,
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
        let domain = self.domain.as_deref();
        Ok(Subjects::new(
            &self.prefix,
            &self.cell,
            &self.pool,
            self.event_shards,
            domain,
        ))
    }

    /// What the library needs to connect.
    pub(super) fn connect_options(&self) -> Result<ConnectOptions, InvalidOptions> {
        let mut options = ConnectOptions::new()
            .custom_inbox_prefix(&self.inbox_prefix)
            .require_tls(self.tls.require);
        let auth = &self.auth;
        if let Some(file) = &auth.creds {
            let creds = options.credentials(&read(file)?);
            options = creds.map_err(|error| InvalidOptions::File {
                file: file.clone(),
                error,
            })?;
        }
        if let Some(file) = &auth.nkey {
            options = options.nkey(read(file)?.trim().to_owned());
        }
        match (&auth.user, &auth.password) {
            (Some(user), Some(password)) => {
                options = options.user_and_password(user.clone(), password.clone());
            }
            (None, None) => {}
            _ => return Err(InvalidOptions::Combination("a user needs a password")),
        }
        if let Some(token) = &auth.token {
            options = options.token(token.clone());
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

fn read(file: &PathBuf) -> Result<String, InvalidOptions> {
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
        let refusal = refused(|options| options.auth.creds = Some("/no/such.creds".into()));
        assert!(refusal.contains("/no/such.creds"), "{refusal}");
    }
}
