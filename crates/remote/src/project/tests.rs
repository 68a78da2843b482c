use std::fs;

use runloom_core::partial::{Partial, PartialOverride, ToolCalls};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const PACKAGES: &str = r#"{"langgraph": "1.2.22", "langchain-core": "1.7.2", "orjson": "3.11.4",
    "ormsgpack": "1.12.0"}"#;

/// A project in a folder of its own, with a virtual environment.
struct Site {
    folder: TempDir,
    overrides: Overrides,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            overrides: Overrides::default(),
        };
        site.file("agent.py", "graph = None\n");
        site.venv(".venv", "3.12.1", PACKAGES);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A virtual environment whose Python says that it has this.
    fn venv(&self, name: &str, python: &str, packages: &str) {
        let answer = format!(r#"{{"python": "{python}", "packages": {packages}}}"#);
        let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
        self.program(&format!("{name}/bin"), &format!("echo '{answer}'\n"));
    }

    fn program(&self, folder: &str, script: &str) {
        self.file(&format!("{folder}/answer"), script);
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/python");
        let program = self.path(folder).join("python");
        let _ = fs::remove_file(&program);
        std::os::unix::fs::symlink(stand_in, program).unwrap();
    }

    async fn read(&self, file: &Value) -> Result<(Project, Vec<String>), ProjectError> {
        self.file(FILE, &file.to_string());
        let read = Project::read(&self.path(FILE), &self.overrides).await;
        let texts = |notices: Vec<Notice>| notices.into_iter().map(|notice| notice.text).collect();
        read.map(|(project, notices)| (project, texts(notices)))
    }

    async fn error(&self, file: &Value) -> String {
        let error = self.read(file).await.expect_err("it cannot be served");
        error.to_string()
    }
}

/// A file with one good graph and `more`.
fn with(more: Value) -> Value {
    let mut file = json!({"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}});
    let Value::Object(more) = more else {
        panic!("not an object");
    };
    file.as_object_mut().unwrap().extend(more);
    file
}

#[tokio::test]
async fn a_file_may_begin_with_a_byte_order_mark() {
    let site = Site::new();
    site.file(FILE, &format!("\u{feff}{}", with(json!({}))));
    let (project, _) = Project::read(&site.path(FILE), &site.overrides)
        .await
        .expect("it can be read");
    assert_eq!(project.graphs.len(), 1);
}

#[tokio::test]
async fn a_project_as_users_write_it() {
    let site = Site::new();
    site.file("src/tools/__init__.py", "");
    site.file("pyproject.toml", "");
    site.file("shared/lib/__init__.py", "");
    site.file(
        ".env",
        "API_KEY='of the file'\n# nothing\nexport OTHER=1 # why\nAPI_KEY=last\n",
    );
    let file = json!({
        "$schema": "https://langgra.ph/schema.json",
        "python_version": "3.12",
        "dependencies": [".", "./shared/lib", "langchain-openai", "git+https://host/it.git"],
        "graphs": {
            "agent": "./agent.py:graph",
            "writer": {"path": "tools.writer:make", "description": "Writes."},
        },
        "env": ".env",
        "dockerfile_lines": ["RUN true"],
        "build_args": {"A": "b"},
        "image_distro": "wolfi",
        "store": {},
        "checkpointer": {"ttl": {
            "strategy": "keep_latest", "default_ttl": 43200, "sweep_interval_minutes": 0.5,
            "sweep_limit": 500,
        }},
        "http": {"disable_mcp": true, "cors": {"allow_origins": ["*"], "allow_headers": ["*"]}},
        "interrupt": {"partial": "off", "tool_calls": "keep"},
        "executor": {"processes": 2, "max_runs": 8},
    });
    let (project, notices) = site.read(&file).await.unwrap();
    assert_eq!(notices, Vec::<String>::new());
    assert_eq!(project.root, site.folder.path());
    assert_eq!(project.graphs["agent"].path, "./agent.py:graph");
    assert_eq!(
        project.graphs["writer"].description.as_deref(),
        Some("Writes.")
    );
    let folders = ["", "src", "shared/lib", "shared"];
    let folders = folders.map(|name| site.path(name).components().collect::<PathBuf>());
    assert_eq!(project.dependencies, folders);
    let environment: Vec<_> = project.environment.iter().collect();
    assert_eq!(environment, [("API_KEY", "last"), ("OTHER", "1")]);
    assert_eq!(project.interpreter.path, site.path(".venv/bin/python"));
    assert_eq!(project.interpreter.packages["langgraph"], "1.2.22");
    let interrupt = PartialOverride {
        partial: Some(Partial::Off),
        tool_calls: Some(ToolCalls::Keep),
        ..PartialOverride::default()
    };
    assert_eq!(project.interrupt, interrupt);
    assert_eq!(project.settings.processes, Some(2));
    let threads = ThreadAge {
        strategy: Some(TtlStrategy::KeepLatest),
        default_ttl: Some(43_200.0),
        sweep_interval_minutes: Some(0.5),
        sweep_limit: NonZeroU32::new(500),
    };
    assert_eq!(project.threads, threads);
    assert_eq!(project.sources, [site.path(FILE), site.path(".env")]);
}

#[tokio::test]
async fn all_that_is_not_served_is_named_at_once() {
    let mut site = Site::new();
    let file = with(json!({
        "store": {"index": {"embed": "openai:small", "dims": 3}, "ttl": {"default_ttl": 1}},
        "checkpointer": {"path": "./saver.py:make", "ttl": {"default_ttl": 60}},
        "http": {"app": "./app.py:app", "disable_runs": true, "cors": {"allow_origins": ["x"]}},
        "auth": {"path": "./auth.py:auth"},
        "encryption": {"path": "./e.py:e"},
        "ui": {"agent": "./ui.tsx"},
        "webhooks": {"headers": {"a": "b"}},
        "graphs": {"agent": "./agent.py:graph", "js": "./src/agent.ts:graph", "mjs": "a.mjs"},
    }));
    let error = site.error(&file).await;
    let names = [
        "store.index:",
        "store.ttl:",
        "checkpointer.path:",
        "http.app:",
        "http.disable_runs:",
        "http.cors:",
        "auth:",
        "encryption:",
        "ui:",
        "webhooks:",
        "graphs.js:",
        "graphs.mjs:",
    ];
    for name in names {
        let lines = error
            .lines()
            .filter(|line| line.trim_start().starts_with(name));
        assert_eq!(lines.count(), 1, "{name} in {error}");
    }
    assert!(error.ends_with("--allow-unsupported serves the graphs without these"));

    site.overrides.allow_unsupported = true;
    let read = site.read(&file).await;
    let (project, notices) = read.unwrap();
    assert_eq!(notices.len(), names.len());
    assert_eq!(project.graphs.keys().collect::<Vec<_>>(), ["agent"]);
}

#[tokio::test]
async fn missing_protection_is_said_louder_than_anything_else() {
    let mut site = Site::new();
    site.overrides.allow_unsupported = true;
    let more = json!({"auth": {"path": "a.py:a"}, "ui": {"a": "b.tsx"}});
    site.file(FILE, &with(more).to_string());
    let read = Project::read(&site.path(FILE), &site.overrides).await;
    let (_, notices) = read.unwrap();
    let loud: Vec<_> = notices
        .iter()
        .filter(|notice| notice.level == Level::Alarm)
        .collect();
    assert_eq!(loud.len(), 1);
    assert!(loud[0].text.starts_with("auth: ") && loud[0].text.contains("EVERYBODY"));
}

#[tokio::test]
async fn what_makes_no_sense_is_an_error_whatever_is_allowed() {
    let mut site = Site::new();
    site.overrides.allow_unsupported = true;
    let cases = [
        (
            json!({"graphs": {}}),
            "graphs: must name at least one graph",
        ),
        (
            json!({"graphs": {"a": "./agent.py"}}),
            "graphs.a: `./agent.py` does not say which object",
        ),
        (
            json!({"graphs": {"a": "./agent.py:two words"}}),
            "graphs.a: `two words` in ",
        ),
        (
            json!({"graphs": {"a": {"description": "d"}}}),
            "graphs.a: has no `path`",
        ),
        (json!({"graphs": {"a": 1}}), "graphs.a: must be "),
        (
            json!({"graphs": {"a": "./a.ts:graph"}}),
            "graphs: none of them is written in Python",
        ),
        (
            json!({"dependencies": ["./gone"]}),
            "dependencies: there is no folder ",
        ),
        (json!({"dependencies": "."}), "dependencies: must be a list"),
        (json!({"env": ".gone"}), "env: cannot read "),
        (json!({"env": {"A": ["b"]}}), "env.A: must be a text"),
        (json!({"store": true}), "store: must be an object"),
        (
            json!({"interrupt": {"partial": "maybe"}}),
            "interrupt: unknown variant `maybe`",
        ),
        (
            json!({"interrupt": {"partail": "off"}}),
            "interrupt: unknown field `partail`",
        ),
        (
            json!({"executor": {"processes": -1}}),
            "executor: invalid value",
        ),
    ];
    for (more, expected) in cases {
        let error = site.error(&with(more.clone())).await;
        let found = error
            .lines()
            .any(|line| line.trim_start().starts_with(expected));
        assert!(found, "{more}: {error}");
    }
    site.file(FILE, "{");
    let error = Project::read(&site.path(FILE), &site.overrides).await;
    assert!(matches!(error, Err(ProjectError::NotJson { .. })));
    let error = Project::read(&site.path("gone.json"), &site.overrides).await;
    assert!(matches!(error, Err(ProjectError::Unreadable { .. })));
}

#[tokio::test]
async fn misspelt_keys_are_noticed() {
    let site = Site::new();
    let file = with(json!({"grahps": {}, "http": {"mount_prefiks": "/a"}, "zebra": 1}));
    let (_, notices) = site.read(&file).await.unwrap();
    assert_eq!(
        notices,
        [
            "grahps: not a known key; is `graphs` meant?",
            "http.mount_prefiks: not a known key; is `mount_prefix` meant?",
            "zebra: not a known key",
        ]
    );
}

#[tokio::test]
async fn the_process_own_variables_win_and_values_are_never_printed() {
    let mut site = Site::new();
    site.overrides.surroundings.names.insert("MODEL".into());
    let file = with(json!({"env": {"MODEL": "of the file", "KEY": "hidden-word", "N": 3}}));
    let (project, _) = site.read(&file).await.unwrap();
    let environment: Vec<_> = project.environment.iter().collect();
    assert_eq!(environment, [("KEY", "hidden-word"), ("N", "3")]);
    assert!(!format!("{project:?}").contains("hidden-word"));

    site.file(".env", "A=1\nTHE KEY=hidden-word\n");
    let error = site.error(&with(json!({"env": ".env"}))).await;
    assert!(
        error.contains(".env cannot be understood at line 2"),
        "{error}"
    );
    assert!(!error.contains("hidden-word"), "{error}");
}

#[tokio::test]
async fn a_missing_file_of_variables_is_answered_with_its_example() {
    let site = Site::new();
    site.file(".env.example", "KEY=");
    let error = site.error(&with(json!({"env": ".env"}))).await;
    assert!(
        error.contains("there is ") && error.contains(".env.example"),
        "{error}"
    );
}

#[tokio::test]
async fn interpreters_are_looked_for_from_the_nearest_wish_to_the_widest() {
    let mut site = Site::new();
    let file = with(json!({}));
    let found = async |site: &Site| {
        let (project, _) = site.read(&file).await.unwrap();
        (project.interpreter.found, project.interpreter.path)
    };
    site.venv("on-the-path", "3.13.0", PACKAGES);
    site.overrides.surroundings.path = site.path("on-the-path/bin").into();
    let beside = (Found::Beside, site.path(".venv/bin/python"));
    assert_eq!(found(&site).await, beside);

    site.venv("active", "3.13.0", PACKAGES);
    site.overrides.surroundings.virtual_env = Some(site.path("active"));
    let active = (Found::Active, site.path("active/bin/python"));
    assert_eq!(found(&site).await, active);

    site.venv("given", "3.13.0", PACKAGES);
    for given in ["given", "given/bin/python"] {
        site.overrides.python = Some(site.path(given));
        let given = (Found::Given, site.path("given/bin/python"));
        assert_eq!(found(&site).await, given);
    }

    site.overrides.python = None;
    site.overrides.surroundings.virtual_env = None;
    fs::remove_dir_all(site.path(".venv")).unwrap();
    let on_the_path = (Found::Path, site.path("on-the-path/bin/python"));
    assert_eq!(found(&site).await, on_the_path);

    site.overrides.surroundings.path = "".into();
    let error = site.error(&file).await;
    assert!(error.starts_with("no Python was found"), "{error}");
}

#[tokio::test]
async fn the_environment_of_a_workspace_is_found_up_to_the_root_of_its_repository() {
    let site = Site::new();
    let member = site.path("packages/one");
    site.file("packages/one/agent.py", "");
    site.file("packages/one/langgraph.json", &with(json!({})).to_string());
    let read = async || Project::read(&member.join(FILE), &site.overrides).await;
    // Without a repository, what lies above is somebody else's.
    assert!(matches!(
        read().await,
        Err(ProjectError::Interpreter(InterpreterError::None { .. }))
    ));
    site.file(".git/HEAD", "");
    let (project, _) = read().await.unwrap();
    assert_eq!(project.interpreter.path, site.path(".venv/bin/python"));
}

#[tokio::test]
async fn an_interpreter_that_cannot_run_graphs_is_named_with_what_to_do() {
    let site = Site::new();
    let file = with(json!({}));
    let python = site.path(".venv/bin/python").display().to_string();

    site.venv(".venv", "3.12.1", r#"{"orjson": "3"}"#);
    let error = site.error(&file).await;
    let expected = format!(
        "{python} (of the project's virtual environment) has no langgraph, no langchain-core, \
         no ormsgpack\n  \
         install with: {python} -m pip install langgraph"
    );
    assert_eq!(error, expected);
    site.file(".venv/pyvenv.cfg", "home = /usr\nuv = 0.9.2\n");
    let install = format!("install with: uv pip install --python {python} langgraph");
    assert!(site.error(&file).await.ends_with(&install));
    site.file("uv.lock", "");
    assert!(
        site.error(&file)
            .await
            .contains("install with: uv sync --project ")
    );

    site.venv(".venv", "3.10.14", PACKAGES);
    assert!(
        site.error(&file)
            .await
            .contains("is Python 3.10.14; graphs need 3.11 or newer")
    );

    site.program(".venv/bin", "echo Bad mood >&2; exit 3\n");
    assert!(
        site.error(&file)
            .await
            .ends_with("exit status: 3: Bad mood")
    );

    site.program(".venv/bin", "true\n");
    assert!(
        site.error(&file)
            .await
            .ends_with("it does not answer as Python does")
    );
}

#[tokio::test]
async fn a_version_other_than_the_one_asked_for_is_noticed() {
    let site = Site::new();
    let (_, notices) = site
        .read(&with(json!({"python_version": "3.11"})))
        .await
        .unwrap();
    assert_eq!(notices.len(), 1);
    assert!(
        notices[0].starts_with("python_version: 3.11 is asked for, "),
        "{notices:?}"
    );

    site.venv(".venv", "3.12.1", &PACKAGES.replace("1.2.22", "0.4.1"));
    let (_, notices) = site
        .read(&with(json!({"python_version": "3.12"})))
        .await
        .unwrap();
    assert!(notices[0].starts_with("langgraph 0.4.1 in "), "{notices:?}");
}

#[tokio::test]
async fn flags_outrank_the_file() {
    let mut site = Site::new();
    site.overrides.settings.max_runs = Some(4);
    let file = with(json!({"executor": {"processes": 2, "max_runs": 8}}));
    let (project, _) = site.read(&file).await.unwrap();
    let expected = Settings {
        processes: Some(2),
        max_runs: Some(4),
        memory_limit_mb: None,
    };
    assert_eq!(project.settings, expected);
}
