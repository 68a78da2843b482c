//! Loads a project anew when its files change, for those who work on it.

mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;

use runloom_gateway::Gateway;

use crate::project::{Chosen, Reading};
use crate::python::Python;

use watch::Watch;

/// A project that follows its files.
pub(crate) struct Reload {
    pub(crate) chosen: Chosen,
    /// As it is loaded now.
    pub(crate) reading: Reading,
    pub(crate) python: Python,
    /// Names that graphs of the project may not have.
    pub(crate) taken: BTreeSet<String>,
}

impl Reload {
    /// Follows the files, for ever. What goes wrong is logged, and the project goes on as it was.
    pub(crate) async fn follow(mut self, gateway: Gateway) {
        let mut watch = match Watch::of(&self.reading.project) {
            Ok(watch) => watch,
            Err(error) => {
                return tracing::warn!(%error, "cannot watch the project; start again to load changes");
            }
        };
        loop {
            let changed = watch.changed().await;
            let changed = names(&changed);
            if let Err(error) = self.load(&gateway, &changed).await {
                tracing::error!(changed, "the project goes on as it was before: {error:#}");
            }
            watch.follow(&self.reading.project);
        }
    }

    async fn load(&mut self, gateway: &Gateway, changed: &str) -> anyhow::Result<()> {
        let reading = self.chosen.read(&self.taken).await?;
        reading.tell(Some(&self.reading));
        self.python.reload(reading.project.clone()).await?;
        // Graphs that are new are served from now on.
        runloom_gateway::ensure_assistants(gateway).await?;
        let graphs = self.python.names().join(", ");
        tracing::info!(
            changed,
            graphs,
            "loaded anew; runs in flight end where they are"
        );
        self.python.tell_broken();
        if self.reading.project.interrupt != reading.project.interrupt {
            tracing::warn!("`interrupt` has changed: start again to apply it");
        }
        self.reading = reading;
        Ok(())
    }
}

/// What changed, for people: a few names of files.
fn names(changed: &BTreeSet<PathBuf>) -> String {
    const SHOWN: usize = 3;
    let names = changed.iter().filter_map(|path| path.file_name());
    let names = names.take(SHOWN).map(|name| name.to_string_lossy());
    let mut names: Vec<_> = names.collect();
    if changed.len() > SHOWN {
        names.push("…".into());
    }
    names.join(", ")
}
