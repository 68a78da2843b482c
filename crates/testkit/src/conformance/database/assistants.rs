//! Assistants and their versions.

use runloom_core::assistant::{Assistant, AssistantPatch, NewAssistant};
use runloom_core::database::DatabaseError;
use runloom_core::ids::AssistantId;
use runloom_core::search::{Page, VersionFilter};
use runloom_core::thread::IfExists;
use serde_json::json;

use super::scene::{ALL, Done, Fixture, a_run, map};

pub(super) fn new_assistant(name: &str) -> NewAssistant {
    NewAssistant {
        id: AssistantId::new(),
        graph_id: "agent".into(),
        config: map(&json!({"tags": ["x"], "configurable": {"model": "m"}})),
        context: map(&json!({"model": "m"})),
        metadata: map(&json!({"team": "t", "level": 1})),
        name: name.to_owned(),
        description: Some("for people".to_owned()),
        if_exists: IfExists::Raise,
    }
}

async fn look(f: &Fixture, id: AssistantId) -> Result<Assistant, DatabaseError> {
    let found = f.db.assistant(id).await?;
    found.ok_or(DatabaseError::NotFound("assistant"))
}

pub(super) async fn an_assistant_is_created_at_version_one(f: Fixture) -> Done {
    let new = new_assistant("a");
    let created = f.db.create_assistant(new.clone()).await?;
    let expected = Assistant {
        id: new.id,
        graph_id: new.graph_id,
        config: new.config,
        context: new.context,
        created_at: f.now(),
        updated_at: f.now(),
        metadata: new.metadata,
        version: 1,
        name: new.name,
        description: new.description,
    };
    assert_eq!(created, expected);
    assert_eq!(look(&f, new.id).await?, expected);
    assert_eq!(f.db.assistant(AssistantId::new()).await?, None);
    Ok(())
}

pub(super) async fn an_existing_assistant_is_only_answered_with_on_request(f: Fixture) -> Done {
    let new = new_assistant("a");
    let created = f.db.create_assistant(new.clone()).await?;
    let again = NewAssistant {
        name: "b".to_owned(),
        ..new
    };
    let refused = f.db.create_assistant(again.clone()).await;
    assert!(
        matches!(refused, Err(DatabaseError::Exists(_))),
        "{refused:?}"
    );
    let again = NewAssistant {
        if_exists: IfExists::DoNothing,
        ..again
    };
    assert_eq!(f.db.create_assistant(again).await?, created);
    Ok(())
}

pub(super) async fn a_patch_makes_a_new_version_of_what_it_names(f: Fixture) -> Done {
    let created = f.db.create_assistant(new_assistant("a")).await?;
    f.pass(1);
    let patch = AssistantPatch {
        config: Some(map(&json!({"tags": ["y"]}))),
        metadata: Some(map(&json!({"level": 2, "new": true}))),
        ..AssistantPatch::default()
    };
    let patched = f.db.patch_assistant(created.id, patch).await?;
    let expected = Assistant {
        config: map(&json!({"tags": ["y"]})),
        metadata: map(&json!({"team": "t", "level": 2, "new": true})),
        version: 2,
        updated_at: f.now(),
        ..created.clone()
    };
    assert_eq!(patched, expected);
    assert_eq!(look(&f, created.id).await?, expected);

    let patch = AssistantPatch {
        graph_id: Some("other".into()),
        context: Some(map(&json!({}))),
        name: Some("b".to_owned()),
        description: Some("anew".to_owned()),
        ..AssistantPatch::default()
    };
    let patched = f.db.patch_assistant(created.id, patch).await?;
    assert_eq!((patched.version, patched.graph_id), (3, "other".into()));
    assert_eq!(
        (patched.name.as_str(), patched.description.as_deref()),
        ("b", Some("anew"))
    );
    assert_eq!(
        (patched.config, patched.metadata),
        (expected.config, expected.metadata)
    );
    assert!(patched.context.is_empty());
    let missing =
        f.db.patch_assistant(AssistantId::new(), AssistantPatch::default())
            .await;
    assert!(
        matches!(missing, Err(DatabaseError::NotFound(_))),
        "{missing:?}"
    );
    Ok(())
}

/// An assistant whose versions differ in their name and level.
async fn with_versions(f: &Fixture, count: i64) -> Result<Assistant, DatabaseError> {
    let mut assistant = f.db.create_assistant(new_assistant("v1")).await?;
    for version in 2..=count {
        f.pass(1);
        let patch = AssistantPatch {
            name: Some(format!("v{version}")),
            metadata: Some(map(&json!({ "level": version }))),
            ..AssistantPatch::default()
        };
        assistant = f.db.patch_assistant(assistant.id, patch).await?;
    }
    Ok(assistant)
}

pub(super) async fn versions_are_listed_newest_first(f: Fixture) -> Done {
    let assistant = with_versions(&f, 3).await?;
    f.db.create_assistant(new_assistant("other")).await?;
    let list = async |metadata, page| {
        let filter = VersionFilter {
            id: assistant.id,
            metadata: map(&metadata),
        };
        let found = f.db.assistant_versions(&filter, page).await?;
        let found = found.into_iter().map(|one| (one.version, one.name));
        Ok::<Vec<_>, DatabaseError>(found.collect())
    };
    let named = |version: i64| (version, format!("v{version}"));
    assert_eq!(list(json!({}), ALL).await?, [3, 2, 1].map(named));
    assert_eq!(list(json!({"level": 2}), ALL).await?, [named(2)]);
    let page = Page {
        limit: 1,
        offset: 1,
    };
    assert_eq!(list(json!({}), page).await?, [named(2)]);
    Ok(())
}

pub(super) async fn an_older_version_can_be_made_current(f: Fixture) -> Done {
    let newest = with_versions(&f, 3).await?;
    f.pass(1);
    let current = f.db.set_assistant_version(newest.id, 1).await?;
    assert_eq!((current.version, current.name.as_str()), (1, "v1"));
    assert_eq!(current.metadata, map(&json!({"team": "t", "level": 1})));
    assert_eq!(
        (current.created_at, current.updated_at),
        (newest.created_at, f.now())
    );
    assert_eq!(look(&f, newest.id).await?, current);
    let filter = VersionFilter {
        id: newest.id,
        metadata: map(&json!({})),
    };
    assert_eq!(f.db.assistant_versions(&filter, ALL).await?.len(), 3);

    let patched =
        f.db.patch_assistant(newest.id, AssistantPatch::default())
            .await?;
    assert_eq!(
        (patched.version, patched.name.as_str()),
        (4, "v1"),
        "above the highest"
    );
    for (id, version) in [(newest.id, 9), (AssistantId::new(), 1)] {
        let missing = f.db.set_assistant_version(id, version).await;
        assert!(
            matches!(missing, Err(DatabaseError::NotFound(_))),
            "{missing:?}"
        );
    }
    assert_eq!(look(&f, newest.id).await?, patched);
    Ok(())
}

pub(super) async fn a_deleted_assistant_takes_its_versions_and_not_its_runs(f: Fixture) -> Done {
    let assistant = with_versions(&f, 2).await?;
    let thread = f.thread().await?;
    let new = runloom_core::compose::NewRun {
        assistant: assistant.clone(),
        ..a_run(thread)
    };
    let run = f.submit(new).await?.0;
    f.db.delete_assistant(assistant.id).await?;
    assert_eq!(f.db.assistant(assistant.id).await?, None);
    let filter = VersionFilter {
        id: assistant.id,
        metadata: map(&json!({})),
    };
    assert_eq!(f.db.assistant_versions(&filter, ALL).await?, []);
    assert_eq!(f.run(run.id).await?, run);
    let worker = f.worker().await?;
    assert_eq!(
        f.claim(thread, worker).await?.run.graph_id,
        assistant.graph_id
    );
    let again = f.db.delete_assistant(assistant.id).await;
    assert!(
        matches!(again, Err(DatabaseError::NotFound(_))),
        "{again:?}"
    );
    Ok(())
}
