//! How long things are kept.

use std::time::Duration;

use clap::Args;
use runloom_core::thread::{Ttl, TtlStrategy};
use runloom_remote::project::ThreadAge;

use super::seconds;

/// How long threads are kept that do not say so themselves.
#[derive(Debug, Args)]
pub(crate) struct ThreadAgeArgs {
    /// Minutes that a thread is kept after anything last happened on it, unless it was made with a `ttl` of
    /// its own; for good if none. Holds for threads that are made from now on.
    #[arg(long, env = "RUNLOOM_THREAD_TTL", value_name = "MINUTES", value_parser = minutes)]
    pub(crate) thread_ttl: Option<f64>,
    /// What becomes of such a thread then: `delete` deletes it, `keep_latest` its history.
    #[arg(long, env = "RUNLOOM_THREAD_TTL_STRATEGY", value_name = "STRATEGY", value_parser = strategy)]
    pub(crate) thread_ttl_strategy: Option<TtlStrategy>,
}

impl ThreadAgeArgs {
    /// How long threads are kept: as a project says, where the flags do not.
    pub(crate) fn ttl(&self, project: ThreadAge) -> Option<Ttl> {
        let minutes = self.thread_ttl.or(project.default_ttl)?;
        let strategy = self.thread_ttl_strategy.or(project.strategy);
        Ttl::new(minutes, strategy.unwrap_or_default())
    }
}

/// What workers delete in time.
#[derive(Debug, Args)]
pub(crate) struct RetentionArgs {
    /// Days that the record of a run is kept after the run is over; for good if none. What the run left
    /// on its thread stays.
    #[arg(long, env = "RUNLOOM_RUN_AGE", value_name = "DAYS", value_parser = days)]
    pub(crate) run_age: Option<Duration>,
    /// Time between two looks for what was kept for long enough, in seconds; 60 if nobody says.
    #[arg(long, env = "RUNLOOM_RETENTION_INTERVAL", value_name = "SECONDS", value_parser = interval)]
    pub(crate) retention_interval: Option<Duration>,
}

impl RetentionArgs {
    /// Puts into `config` what they say, or what a project says where they do not.
    pub(crate) fn apply(&self, project: ThreadAge, config: &mut runloom_worker::Config) {
        let of_project = project.sweep_interval_minutes.map(|minutes| minutes * 60.0);
        let of_project = of_project.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        if let Some(interval) = self.retention_interval.or(of_project) {
            config.expire = interval;
        }
        if let Some(limit) = project.sweep_limit {
            config.expire_limit = limit.get();
        }
        config.run_age = self.run_age;
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text
        .parse()
        .map_err(|_| "not a number of minutes".to_owned())?;
    let sense = Ttl::new(minutes, TtlStrategy::default());
    sense.map_or_else(
        || Err("more than 0, and at most a hundred years".to_owned()),
        |ttl| Ok(ttl.minutes),
    )
}

fn strategy(text: &str) -> Result<TtlStrategy, String> {
    text.parse()
        .map_err(|_| "`delete` or `keep_latest`".to_owned())
}

/// An age that leaves everybody the time to read what they wait for.
fn days(text: &str) -> Result<Duration, String> {
    let days: f64 = text
        .parse()
        .map_err(|_| "not a number of days".to_owned())?;
    let age = Duration::try_from_secs_f64(days * 86_400.0).map_err(|error| error.to_string())?;
    if age < Duration::from_mins(1) {
        return Err("at least a minute, so that whoever waits for a run can read it".to_owned());
    }
    Ok(age)
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = seconds(text)?;
    if interval.is_zero() {
        return Err("more than 0".to_owned());
    }
    Ok(interval)
}
