//! How the server listens and answers, and what it keeps of stopped runs.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroUsize;

use clap::Args;
use runloom_core::partial::{
    Partial, PartialOverride, PartialPolicy, PendingInput, Profile, ToolCalls,
};

use super::{ThreadAgeArgs, TimingArgs};
use crate::graphs::Graphs;

/// Where the server listens.
#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Address or name to listen on.
    #[arg(long, env = "RUNLOOM_HOST", default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Port to listen on; 0 picks a free one.
    #[arg(long, env = "RUNLOOM_PORT", default_value_t = 8123)]
    pub(crate) port: u16,
}

/// Where a process can be looked at, apart from its clients.
#[derive(Debug, Args)]
pub(crate) struct MonitorArgs {
    /// Address or name on which to answer `GET /ok`, `GET /ready` and `GET /metrics`; port 0 picks a
    /// free one. With it `/metrics` is nowhere else.
    #[arg(long, env = "RUNLOOM_MONITOR", value_name = "HOST:PORT", value_parser = place)]
    pub(crate) monitor: Option<SocketAddr>,
}

/// An address and a port, or the first address of a name.
fn place(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found
        .next()
        .ok_or_else(|| "this name has no address".to_owned())
}

/// How the server answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Gateway")]
pub(crate) struct GatewayArgs {
    /// Largest request body, in MiB.
    #[arg(long, env = "RUNLOOM_BODY_LIMIT", default_value = "300")]
    pub(crate) body_limit: NonZeroUsize,
    /// End each stream with an `end` event that carries the run's status.
    #[arg(long, env = "RUNLOOM_END_EVENT")]
    pub(crate) end_event: bool,
    #[command(flatten)]
    pub(crate) threads: ThreadAgeArgs,
    #[command(flatten)]
    pub(crate) partial: PartialArgs,
}

impl GatewayArgs {
    /// The gateway that they describe, in front of `graphs`.
    pub(crate) fn config(&self, timing: &TimingArgs, graphs: &Graphs) -> runloom_gateway::Config {
        runloom_gateway::Config {
            policy: self.partial.policy(),
            policies: graphs.policies(&self.partial),
            thread_ttl: self.threads.ttl(graphs.thread_age()),
            body_limit: self.body_limit.get() << 20,
            end_event: self.end_event,
            lease: timing.lease,
            ..runloom_gateway::Config::default()
        }
    }
}

/// What is kept of a run that was stopped. A run can override it in
/// `config.configurable.runloom`.
#[derive(Debug, Args)]
#[command(next_help_heading = "What an interrupted run leaves")]
pub(crate) struct PartialArgs {
    /// The answer it had begun to stream: `auto` keeps it in the thread, `off` on the run only.
    #[arg(long, env = "RUNLOOM_PARTIAL")]
    pub(crate) partial: Option<Partial>,
    /// Tool calls without an answer: `repair` answers them with an error, `keep` leaves them.
    #[arg(long, env = "RUNLOOM_TOOL_CALLS")]
    pub(crate) tool_calls: Option<ToolCalls>,
    /// The input of a run superseded before it started: `keep` applies it, `drop` does not.
    #[arg(long, env = "RUNLOOM_PENDING_INPUT")]
    pub(crate) pending_input: Option<PendingInput>,
    /// A named set of these: `strict` does what the published server does.
    #[arg(long, env = "RUNLOOM_PROFILE")]
    pub(crate) profile: Option<Profile>,
}

impl PartialArgs {
    /// The choices that hold for runs that make none.
    pub(crate) fn policy(&self) -> PartialPolicy {
        self.policy_over(PartialOverride::default())
    }

    /// The same, where `weaker` choices hold if no flag says otherwise.
    pub(crate) fn policy_over(&self, weaker: PartialOverride) -> PartialPolicy {
        let policy = PartialPolicy::default().overridden_by(weaker);
        policy.overridden_by(PartialOverride {
            profile: self.profile,
            partial: self.partial,
            tool_calls: self.tool_calls,
            pending_input: self.pending_input,
        })
    }
}
