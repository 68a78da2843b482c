//! Which graphs are served beside those that the binary was built with.

use clap::Args;

use super::ProjectArgs;

/// What is served beside one's own graphs.
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    /// Serve the demo agent, `agent`, even if there is a project to serve.
    #[arg(long, env = "RUNLOOM_DEMO", help_heading = "Demo agent")]
    pub(crate) demo: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Also serve the small graphs that the project's own client tests use.
    #[arg(long, hide = true)]
    pub(crate) test_graphs: bool,
}

/// The model of the demo agent.
#[derive(Debug, Args)]
#[command(next_help_heading = "Demo agent")]
#[expect(
    clippy::struct_field_names,
    reason = "the flags carry the name that their users know"
)]
pub(crate) struct ModelArgs {
    /// An OpenAI-compatible endpoint; without it the agent follows a script and needs no network.
    #[arg(long, env = "OPENAI_BASE_URL")]
    pub(crate) openai_base_url: Option<String>,
    /// The key for it.
    #[arg(
        long,
        env = "OPENAI_API_KEY",
        hide_env_values = true,
        default_value = ""
    )]
    pub(crate) openai_api_key: String,
    /// The model to ask for.
    #[arg(long, env = "OPENAI_MODEL", default_value = "gpt-4o-mini")]
    pub(crate) openai_model: String,
}
