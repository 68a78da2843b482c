//! The project in Python: which one it is, and what is said about it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runloom_core::ids::GraphId;
use runloom_remote::project::{FILE, Level, Notice, Overrides, Project};

use crate::cli::GraphArgs;

/// A project that is to be served.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    file: PathBuf,
    overrides: Overrides,
}

/// A project as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) project: Arc<Project>,
    notices: Vec<Notice>,
}

impl Chosen {
    /// The project that `args` name or, if `may_pick_up`, the one in `folder`; none if the demo agent is
    /// asked for.
    pub(crate) fn of(args: &GraphArgs, folder: &Path, may_pick_up: bool) -> Option<Self> {
        let beside = folder.join(FILE);
        let picked_up = may_pick_up && !args.demo && beside.is_file();
        let file = args.project.config.clone();
        let file = file.or_else(|| picked_up.then_some(beside))?;
        Some(Self {
            // Given a folder, people mean the file in it.
            file: if file.is_dir() { file.join(FILE) } else { file },
            overrides: args.project.overrides(),
        })
    }

    /// Reads it as it is now. None of its graphs may be called as one of `others`.
    pub(crate) async fn read(&self, others: &BTreeSet<String>) -> anyhow::Result<Reading> {
        let (project, notices) = Project::read(&self.file, &self.overrides).await?;
        if let Some(name) = project.graphs.keys().find(|name| others.contains(*name)) {
            let file = project.file.display();
            anyhow::bail!("the graph `{name}` is both in {file} and in this binary: rename one");
        }
        Ok(Reading {
            project: Arc::new(project),
            notices,
        })
    }
}

impl Reading {
    /// Logs what there is to notice, as far as it was not noticed `before`.
    pub(crate) fn tell(&self, before: Option<&Self>) {
        let told = before.map_or(&[][..], |before| &before.notices);
        for notice in self.notices.iter().filter(|notice| !told.contains(notice)) {
            match notice.level {
                Level::Warning => tracing::warn!("{notice}"),
                Level::Alarm => tracing::error!("{notice}"),
            }
        }
    }

    /// What protects data and is not in place.
    pub(crate) fn alarms(&self) -> impl Iterator<Item = &str> {
        let notices = self.notices.iter();
        let alarms = notices.filter(|notice| notice.level == Level::Alarm);
        alarms.map(|notice| notice.text.as_str())
    }

    /// The ids of its graphs.
    pub(crate) fn graphs(&self) -> impl Iterator<Item = GraphId> {
        let names = self.project.graphs.keys();
        names.map(|name| GraphId::from(name.as_str()))
    }

    /// What runs it, for people.
    pub(crate) fn interpreter(&self) -> String {
        let interpreter = &self.project.interpreter;
        let langgraph = interpreter.packages.get("langgraph");
        let langgraph = langgraph.map_or("?", String::as_str);
        let (python, path) = (&interpreter.python, interpreter.path.display());
        format!("{python} with langgraph {langgraph} ({path})")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use runloom_remote::project::ProjectError;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(args: &[&str]) -> GraphArgs {
        let args = ["runloom", "dev"].iter().chain(args);
        let cli = Cli::try_parse_from(args).expect("a valid command line");
        let Command::Dev(dev) = cli.command else {
            panic!("not dev");
        };
        dev.graphs
    }

    #[test]
    fn a_project_is_named_or_picked_up() {
        let folder = tempfile::tempdir().unwrap();
        let beside = folder.path().join(FILE);
        let file = |given: &[&str], may_pick_up| {
            let chosen = Chosen::of(&args(given), folder.path(), may_pick_up);
            chosen.map(|chosen| chosen.file)
        };
        assert_eq!(file(&[], true), None);
        assert_eq!(
            file(&["--config", "other.json"], false),
            Some("other.json".into())
        );
        std::fs::write(&beside, "{}").unwrap();
        assert_eq!(file(&[], true), Some(beside.clone()));
        assert_eq!(file(&[], false), None);
        assert_eq!(file(&["--demo"], true), None);
        assert_eq!(
            file(&["--demo", "--config", "other.json"], true),
            Some("other.json".into())
        );
        let named = folder.path().to_str().unwrap();
        assert_eq!(file(&["--config", named], false), Some(beside));
    }

    #[tokio::test]
    async fn what_cannot_be_served_is_said_before_anything_starts() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), r#"{"graphs": {}}"#).unwrap();
        let chosen = Chosen::of(&args(&[]), folder.path(), true).unwrap();
        let error = chosen.read(&BTreeSet::new()).await.unwrap_err();
        assert!(error.is::<ProjectError>(), "{error}");
    }
}
