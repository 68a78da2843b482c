//! Notices when a file that a project is made of changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use runloom_remote::project::Project;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long nothing may change before a change is over: editors and tools write several files.
const QUIET: Duration = Duration::from_millis(300);

/// Folders that are watched at most. More than these is not a project but a disk.
const MOST_FOLDERS: usize = 4_096;

/// Folders that hold no code of the project, beside hidden ones and virtual environments.
const IGNORED: [&str; 3] = ["__pycache__", "node_modules", "site-packages"];

/// Eyes on the folders of a project. Each folder is watched for itself, so that those which are of no
/// interest, such as virtual environments, cost nothing.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// Files that count whatever they are called.
    sources: BTreeSet<PathBuf>,
}

impl Watch {
    /// Begins to watch.
    pub(super) fn of(project: &Project) -> notify::Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if !matches!(event.kind, EventKind::Access(_)) {
                for path in event.paths {
                    // Nobody may be listening any more.
                    let _ = sender.send(path);
                }
            }
        })?;
        let mut watch = Self {
            watcher,
            events,
            folders: BTreeSet::new(),
            sources: BTreeSet::new(),
        };
        watch.follow(project);
        Ok(watch)
    }

    /// Also watches what `project` has by now.
    pub(super) fn follow(&mut self, project: &Project) {
        self.sources.extend(project.sources.iter().cloned());
        let around = project.sources.iter().filter_map(|file| file.parent());
        for folder in around {
            self.add(folder);
        }
        for folder in &project.dependencies {
            self.add_tree(folder);
        }
    }

    /// Waits for a change, and until it is over. Says which files changed.
    pub(super) async fn changed(&mut self) -> BTreeSet<PathBuf> {
        let mut changed = BTreeSet::new();
        loop {
            let next = if changed.is_empty() {
                self.events.recv().await
            } else {
                match timeout(QUIET, self.events.recv()).await {
                    Ok(next) => next,
                    Err(_) => return changed,
                }
            };
            match next {
                Some(path) => changed.extend(self.concerning(path)),
                // The watcher holds the other end, so this is never.
                None => std::future::pending().await,
            }
        }
    }

    /// The files that count of what happened to `path`.
    fn concerning(&mut self, path: PathBuf) -> Vec<PathBuf> {
        if path.is_dir() {
            // What was put into a new folder before anybody watched it has changed as well.
            let is_new = is_of_interest(&path) && !self.folders.contains(&path);
            let is_of_code = path
                .parent()
                .is_some_and(|parent| self.folders.contains(parent));
            return if is_new && is_of_code {
                self.add_tree(&path)
            } else {
                Vec::new()
            };
        }
        if self.sources.contains(&path) || is_code(&path) {
            return vec![path];
        }
        Vec::new()
    }

    /// Watches `folder` and those in it. Says which files of code are there.
    fn add_tree(&mut self, folder: &Path) -> Vec<PathBuf> {
        let mut code = Vec::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            if !self.add(&folder) {
                break;
            }
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            for entry in entries {
                // Links are not followed: they may lead in circles.
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let path = entry.path();
                if is_folder && is_of_interest(&path) {
                    folders.push(path);
                } else if is_code(&path) {
                    code.push(path);
                }
            }
        }
        code
    }

    /// Watches one folder. Says whether there is room for more.
    fn add(&mut self, folder: &Path) -> bool {
        if self.folders.contains(folder) {
            return true;
        }
        if self.folders.len() >= MOST_FOLDERS {
            tracing::warn!("only the first {MOST_FOLDERS} folders of the project are watched");
            return false;
        }
        match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => _ = self.folders.insert(folder.to_path_buf()),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "cannot watch a folder");
            }
        }
        true
    }
}

fn is_code(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py")
}

fn is_of_interest(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let is_environment = folder.join("pyvenv.cfg").exists() || name == "venv";
    !name.starts_with('.') && !IGNORED.contains(&&*name) && !is_environment
}

#[cfg(test)]
mod tests {
    use std::fs;

    use runloom_remote::project::{Environment, Found, Interpreter, Settings, ThreadAge};

    use super::*;

    fn project(root: &Path) -> Project {
        Project {
            file: root.join("langgraph.json"),
            root: root.to_path_buf(),
            graphs: std::collections::BTreeMap::default(),
            dependencies: vec![root.to_path_buf()],
            environment: Environment::default(),
            interpreter: Interpreter {
                path: "python".into(),
                found: Found::Given,
                python: "3.12.1".to_owned(),
                packages: std::collections::BTreeMap::default(),
            },
            interrupt: runloom_core::partial::PartialOverride::default(),
            settings: Settings::default(),
            threads: ThreadAge::default(),
            sources: vec![root.join("langgraph.json"), root.join(".env")],
        }
    }

    #[tokio::test]
    async fn code_and_sources_are_noticed_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        for name in [
            ".venv/lib",
            "__pycache__",
            "agents/deep",
            "node_modules",
            "own",
        ] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("own/pyvenv.cfg"), "").unwrap();
        let mut watch = Watch::of(&project(&root)).unwrap();
        let noise = [
            ".venv/lib/a.py",
            "__pycache__/a.py",
            "node_modules/a.py",
            "own/a.py",
            "notes.md",
        ];
        for (signal, text) in [
            ("agents/deep/a.py", "1"),
            (".env", "A=1"),
            ("langgraph.json", "{}"),
        ] {
            for noise in noise {
                fs::write(root.join(noise), text).unwrap();
            }
            fs::write(root.join(signal), text).unwrap();
            assert_eq!(watch.changed().await, BTreeSet::from([root.join(signal)]));
        }
    }

    #[tokio::test]
    async fn folders_that_are_made_later_are_watched_too() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let mut watch = Watch::of(&project(&root)).unwrap();
        let first = root.join("new/deep/a.py");
        fs::create_dir_all(first.parent().unwrap()).unwrap();
        fs::write(&first, "1").unwrap();
        assert!(watch.changed().await.contains(&first));
        let second = root.join("new/deep/b.py");
        fs::write(&second, "1").unwrap();
        assert!(watch.changed().await.contains(&second));
        fs::remove_file(&second).unwrap();
        assert!(watch.changed().await.contains(&second));
    }
}
