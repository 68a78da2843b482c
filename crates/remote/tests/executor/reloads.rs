//! Graphs that change while they are served.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runloom_core::executor::{Ended, Executor};
use runloom_core::ids::GraphId;
use runloom_core::registry::Registry;
use runloom_remote::executor::{Config, RemoteExecutor};
use runloom_remote::project::Project;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Gate, Run, Thread, ended, project_in, values};

/// Says `word` once its gate is open, and keeps messages if `talks`.
fn source(word: &str, talks: bool) -> String {
    format!(
        r#"
import asyncio, operator
from pathlib import Path
from typing import Annotated
from typing_extensions import TypedDict
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph

class Words(TypedDict, total=False):
    entries: Annotated[list, operator.add]
    path: str
class Talk(MessagesState, total=False):
    entries: Annotated[list, operator.add]
    path: str

async def say(state):
    get_stream_writer()("begun")
    while not Path(state["path"]).exists():
        await asyncio.sleep(0.02)
    return {{"entries": ["{word}"]}}

State = Talk if {talks} else Words
graph = StateGraph(State).add_node("say", say).add_edge(START, "say").compile()
"#,
        talks = if talks { "True" } else { "False" },
    )
}

async fn written(folder: &Path, source: &str) -> Arc<Project> {
    std::fs::write(folder.join("graph.py"), source).unwrap();
    let file = json!({"graphs": {"words": "./graph.py:graph"}});
    std::fs::write(folder.join("langgraph.json"), file.to_string()).unwrap();
    project_in(folder).await
}

#[tokio::test]
async fn runs_get_the_newest_graph_and_those_under_way_keep_theirs() {
    let folder = TempDir::new().unwrap();
    let project = written(folder.path(), &source("old", false)).await;
    let executor = RemoteExecutor::start(project, Config::default())
        .await
        .unwrap();
    let (thread, gate) = (Thread::new(), Gate::closed());
    let input = json!({"entries": [], "path": gate.path()});
    let old = Run::of("words", &thread, &input);
    let running = old.start(&executor);
    thread.heard("custom").await;

    let project = written(folder.path(), &source("new", true)).await;
    let reports = executor.reload(project).await.unwrap();
    assert!(
        reports.iter().all(|report| report.error.is_none()),
        "{reports:?}"
    );
    gate.let_through();
    let new = Run::of("words", &Thread::new(), &input)
        .execute(&executor)
        .await;
    assert_eq!(values(&new)["entries"], json!(["new"]));
    let old = ended(running).await;
    assert_eq!(old.ended, Ended::Success);
    assert_eq!(values(&old)["entries"], json!(["old"]));
}

#[tokio::test]
async fn a_graph_that_is_repaired_runs_and_what_is_known_of_it_is_new() {
    let folder = TempDir::new().unwrap();
    let broken = written(folder.path(), "graph = 1 / 0").await;
    let executor = RemoteExecutor::start(broken, Config::default())
        .await
        .unwrap();
    let registry = Registry::new([executor.clone() as Arc<dyn Executor>]);
    let words = GraphId("words".to_owned());
    assert!(executor.reports()[0].error.is_some());
    assert_eq!(registry.info(&words).unwrap().messages_channel, None);

    let gate = Gate::open();
    let input = json!({"entries": [], "path": gate.path()});
    let run = Run::of("words", &Thread::new(), &input);
    let Ended::Failed(error) = run.execute(&executor).await.ended else {
        panic!("it is broken");
    };
    assert!(error.message.contains("ZeroDivisionError"), "{error:?}");

    let repaired = written(folder.path(), &source("fine", true)).await;
    executor.reload(repaired).await.unwrap();
    let info = registry.info(&words).unwrap();
    assert_eq!(info.messages_channel.as_deref(), Some("messages"));
    let outcome = run.execute(&executor).await;
    assert_eq!(values(&outcome)["entries"], json!(["fine"]));
}

#[tokio::test]
async fn a_reload_that_fails_leaves_everything_as_it_was() {
    let folder = TempDir::new().unwrap();
    let project = written(folder.path(), &source("old", false)).await;
    let executor = RemoteExecutor::start(project, Config::default())
        .await
        .unwrap();
    let dies = written(folder.path(), "import os; os._exit(3)").await;
    let failed = executor.reload(dies).await;
    assert!(failed.is_err(), "{failed:?}");
    let gate = Gate::open();
    let input = json!({"entries": [], "path": gate.path()});
    let run = Run::of("words", &Thread::new(), &input);
    let outcome = tokio::time::timeout(Duration::from_mins(1), run.execute(&executor)).await;
    assert_eq!(values(&outcome.unwrap())["entries"], json!(["old"]));
}
