//! Where a role keeps what it knows: embedded, or in Postgres and NATS.

use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Secret, seconds};

/// The database of `runloom dev`.
#[derive(Debug, Args)]
pub(crate) struct EmbeddedArgs {
    /// Folder of the database; created if it is missing.
    #[arg(
        long,
        env = "RUNLOOM_DATA",
        default_value = ".runloom",
        conflicts_with = "memory"
    )]
    pub(crate) data: PathBuf,
    /// Keep everything in memory and forget it at the end.
    #[arg(long)]
    pub(crate) memory: bool,
    /// Time that the events of a resumable run are kept after its end, in seconds.
    #[arg(long, env = "RUNLOOM_STREAM_TTL", default_value = "120", value_parser = seconds)]
    pub(crate) stream_ttl: Duration,
}

/// The database server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Database")]
#[expect(
    clippy::struct_field_names,
    reason = "the flags carry the name of what they are about"
)]
pub(crate) struct DatabaseArgs {
    /// Postgres 15 or newer: `postgres://user:password@host:port/name`.
    #[arg(long, env = "RUNLOOM_DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Secret,
    /// Connections that this process opens at most.
    #[arg(long, env = "RUNLOOM_DATABASE_POOL", default_value = "16")]
    pub(crate) database_pool: NonZeroU32,
    /// Let connections remember their statements, which saves round trips. `false` behind a pooler that
    /// lends connections by the transaction and knows no prepared statements.
    #[arg(
        long,
        env = "RUNLOOM_DATABASE_PREPARED",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub(crate) database_prepared: bool,
}

/// Whether a role changes the schema.
#[derive(Debug, Args)]
#[command(next_help_heading = "Database")]
pub(crate) struct MigrateArgs {
    /// Bring the schema to the version of this binary first, as `runloom migrate` does.
    #[arg(long, env = "RUNLOOM_MIGRATE")]
    pub(crate) migrate: bool,
}

/// Where NATS keeps what passes through its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Storage {
    /// On disk.
    File,
    /// In memory.
    Memory,
}

/// The bus.
#[derive(Debug, Args)]
#[command(next_help_heading = "NATS")]
#[expect(
    clippy::struct_field_names,
    reason = "the flags carry the name of what they are about"
)]
pub(crate) struct NatsArgs {
    /// NATS 2.11 or newer with JetStream, comma separated: `nats://host:port`.
    #[arg(
        long,
        env = "RUNLOOM_NATS_URL",
        value_delimiter = ',',
        required = true,
        hide_env_values = true
    )]
    pub(crate) nats_url: Vec<Secret>,
    /// First word of all subjects and streams: one for each installation that shares the servers.
    #[arg(long, env = "RUNLOOM_NATS_PREFIX", default_value = "runloom")]
    pub(crate) nats_prefix: String,
    /// First words of the subjects on which this process gets answers.
    #[arg(long, env = "RUNLOOM_NATS_INBOX_PREFIX", default_value = "_INBOX")]
    pub(crate) nats_inbox_prefix: String,
    /// Name of the connections, for people who look at the servers.
    #[arg(long, env = "RUNLOOM_NATS_NAME", default_value = "runloom")]
    pub(crate) nats_name: String,
    /// JetStream domain, if the streams are not in that of the server.
    #[arg(long, env = "RUNLOOM_NATS_DOMAIN")]
    pub(crate) nats_domain: Option<String>,
    /// What the subjects of the JetStream API begin with, if the account imports it under another name.
    #[arg(long, env = "RUNLOOM_NATS_API_PREFIX", conflicts_with = "nats_domain")]
    pub(crate) nats_api_prefix: Option<String>,
    /// File with a user's JWT and seed. This file and that of the nkey are read for each connection.
    #[arg(long, env = "RUNLOOM_NATS_CREDS")]
    pub(crate) nats_creds: Option<PathBuf>,
    /// File with the seed of an nkey.
    #[arg(long, env = "RUNLOOM_NATS_NKEY")]
    pub(crate) nats_nkey: Option<PathBuf>,
    /// Name of the user.
    #[arg(long, env = "RUNLOOM_NATS_USER", requires = "nats_password")]
    pub(crate) nats_user: Option<String>,
    /// The user's password.
    #[arg(
        long,
        env = "RUNLOOM_NATS_PASSWORD",
        hide_env_values = true,
        requires = "nats_user"
    )]
    pub(crate) nats_password: Option<Secret>,
    /// Token instead of a user.
    #[arg(long, env = "RUNLOOM_NATS_TOKEN", hide_env_values = true)]
    pub(crate) nats_token: Option<Secret>,
    /// File with the certificates of authorities to trust beside those of the system.
    #[arg(long, env = "RUNLOOM_NATS_TLS_CA")]
    pub(crate) nats_tls_ca: Option<PathBuf>,
    /// File with this process' own certificate.
    #[arg(long, env = "RUNLOOM_NATS_TLS_CERT", requires = "nats_tls_key")]
    pub(crate) nats_tls_cert: Option<PathBuf>,
    /// File with the key of that certificate.
    #[arg(long, env = "RUNLOOM_NATS_TLS_KEY", requires = "nats_tls_cert")]
    pub(crate) nats_tls_key: Option<PathBuf>,
    /// Refuse to speak without TLS.
    #[arg(long, env = "RUNLOOM_NATS_REQUIRE_TLS")]
    pub(crate) nats_require_tls: bool,
    /// Begin with TLS, for servers with `handshake_first`.
    #[arg(long, env = "RUNLOOM_NATS_TLS_FIRST")]
    pub(crate) nats_tls_first: bool,
    /// Make the streams; `false` only checks that they are as they should be.
    #[arg(
        long,
        env = "RUNLOOM_NATS_MANAGE_STREAMS",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub(crate) nats_manage_streams: bool,
    /// Copies of each stream in a cluster.
    #[arg(long, env = "RUNLOOM_NATS_REPLICAS", default_value = "1")]
    pub(crate) nats_replicas: NonZeroUsize,
    /// Where the streams are kept. Losing them costs no run.
    #[arg(long, env = "RUNLOOM_NATS_STORAGE", default_value = "file")]
    pub(crate) nats_storage: Storage,
    /// Streams that the events of runs are spread over. The same for all processes.
    #[arg(long, env = "RUNLOOM_NATS_EVENT_SHARDS", default_value = "16")]
    pub(crate) nats_event_shards: NonZeroU16,
    /// Size of each stream of events, in MiB; the oldest events go first. The servers set aside so
    /// much for each of them.
    #[arg(long, env = "RUNLOOM_NATS_MAX_BYTES", default_value = "256")]
    pub(crate) nats_max_bytes: NonZeroU32,
    /// Time that events are kept for streams that are resumed, in seconds.
    #[arg(long, env = "RUNLOOM_NATS_EVENT_AGE", default_value = "3600", value_parser = seconds)]
    pub(crate) nats_event_age: Duration,
    /// Time that what happens to runs is kept for other systems, in seconds.
    #[arg(
        long,
        env = "RUNLOOM_NATS_LIFECYCLE_AGE",
        default_value = "86400",
        value_parser = seconds
    )]
    pub(crate) nats_lifecycle_age: Duration,
}
