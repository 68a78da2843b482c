//! What the server says of itself.

use serde::Serialize;
use utoipa::ToSchema;

/// Whether the server is well.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    /// It is.
    pub ok: bool,
    /// What it stands on, and how that is: `database` (`ok`, `unreachable`), `nats` (`ok`, `degraded`,
    /// `disconnected`). It is well without; whether it can serve is another question.
    #[schema(value_type = Object)]
    pub services: runloom_core::json::JsonMap,
}

/// Whether the server should get work now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// It should.
    pub ready: bool,
    /// Why it should not.
    pub why: Vec<&'static str>,
    /// What it stands on, and how that is.
    #[schema(value_type = Object)]
    pub services: runloom_core::json::JsonMap,
}

impl Readiness {
    /// As `health` has it.
    pub fn of(health: &runloom_core::health::Health) -> Self {
        let why = health.troubles();
        Self {
            ready: why.is_empty(),
            why,
            services: health.services(),
        }
    }
}

/// Version and abilities.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Info {
    /// The version of this server.
    pub version: &'static str,
    /// No Python executes graphs here.
    pub langgraph_py_version: Option<&'static str>,
    /// Abilities.
    pub flags: Flags,
    /// Where it runs.
    pub host: Host,
}

/// Abilities that clients look for.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the wire names one flag an ability"
)]
pub struct Flags {
    /// Assistants can be managed.
    pub assistants: bool,
    /// Runs can be scheduled.
    pub crons: bool,
    /// Runs are traced to a service.
    pub langsmith: bool,
    /// The same, to several projects.
    pub langsmith_tracing_replicas: bool,
    /// The same, with the project named on the run.
    pub langsmith_tracing_session_on_runs: bool,
}

/// Where the server runs.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Host {
    /// By whom.
    pub kind: &'static str,
    /// Only where it is hosted for others.
    pub project_id: Option<&'static str>,
    /// Only where it is hosted for others.
    pub host_revision_id: Option<&'static str>,
    /// Only where it is hosted for others.
    pub revision_id: Option<&'static str>,
    /// Only where it is hosted for others.
    pub tenant_id: Option<&'static str>,
}
