//! Searches for threads and assistants.

use runloom_core::assistant::{AssistantPatch, NewAssistant};
use runloom_core::database::{DatabaseError, ThreadPatch};
use runloom_core::ids::{AssistantId, ThreadId};
use runloom_core::search::{
    AssistantFilter, AssistantSort, Page, SortOrder, ThreadFilter, ThreadSort,
};
use runloom_core::thread::ThreadStatus;
use serde_json::{Value, json};

use super::assistants::new_assistant;
use super::scene::{ALL, Done, Fixture, finished, map, new_thread, unfinished};

async fn found(f: &Fixture, filter: ThreadFilter) -> Result<Vec<ThreadId>, DatabaseError> {
    let sort = (ThreadSort::CreatedAt, SortOrder::Asc);
    let threads = f.db.search_threads(&filter, sort, ALL).await?;
    let count = f.db.count_threads(&filter).await?;
    assert_eq!(threads.len() as u64, count, "a count is that of the search");
    Ok(threads.into_iter().map(|thread| thread.id).collect())
}

/// Threads with the given metadata, created one after the other.
async fn threads<const N: usize>(
    f: &Fixture,
    metadata: [Value; N],
) -> Result<[ThreadId; N], DatabaseError> {
    let mut made = [ThreadId::new(); N];
    for (place, metadata) in made.iter_mut().zip(metadata) {
        f.pass(1);
        *place = f.db.create_thread(new_thread(&metadata)).await?.id;
    }
    Ok(made)
}

pub(super) async fn threads_are_found_by_what_their_metadata_contain(f: Fixture) -> Done {
    let [a, b, c] = threads(
        &f,
        [
            json!({"user": "ada", "tags": ["x", "y"], "deep": {"n": 1, "m": 2}}),
            json!({"user": "bob", "tags": ["x"]}),
            json!({}),
        ],
    )
    .await?;
    let by = |metadata: Value| ThreadFilter {
        metadata: map(&metadata),
        ..ThreadFilter::default()
    };
    assert_eq!(found(&f, by(json!({}))).await?, [a, b, c]);
    assert_eq!(found(&f, by(json!({"user": "ada"}))).await?, [a]);
    assert_eq!(found(&f, by(json!({"tags": ["x"]}))).await?, [a, b]);
    assert_eq!(found(&f, by(json!({"tags": ["y", "x"]}))).await?, [a]);
    assert_eq!(found(&f, by(json!({"deep": {"m": 2}}))).await?, [a]);
    assert_eq!(
        found(&f, by(json!({"user": "ada", "tags": ["z"]}))).await?,
        []
    );
    assert_eq!(found(&f, by(json!({"user": null}))).await?, []);
    Ok(())
}

pub(super) async fn threads_are_found_by_values_status_and_id(f: Fixture) -> Done {
    let [a, b, c] = threads(&f, [json!({}), json!({}), json!({"user": "ada"})]).await?;
    f.complete(a, finished(&json!({"n": 1, "list": [1, 2]})))
        .await?;
    f.complete(b, unfinished(&json!({"n": 2}))).await?;
    f.accepted(c).await?;
    let any = ThreadFilter::default;
    let values = |values: Value| ThreadFilter {
        values: map(&values),
        ..any()
    };
    assert_eq!(found(&f, values(json!({"n": 1}))).await?, [a]);
    assert_eq!(found(&f, values(json!({"list": [2]}))).await?, [a]);
    assert_eq!(found(&f, values(json!({"n": 3}))).await?, []);
    for (status, thread) in [
        (ThreadStatus::Idle, a),
        (ThreadStatus::Interrupted, b),
        (ThreadStatus::Busy, c),
    ] {
        let filter = ThreadFilter {
            status: Some(status),
            ..any()
        };
        assert_eq!(found(&f, filter).await?, [thread]);
    }
    let ids = |ids: Vec<ThreadId>| ThreadFilter {
        ids: Some(ids),
        ..any()
    };
    assert_eq!(found(&f, ids(vec![c, a, ThreadId::new()])).await?, [a, c]);
    assert_eq!(found(&f, ids(vec![])).await?, []);
    let both = ThreadFilter {
        metadata: map(&json!({"user": "ada"})),
        ..ids(vec![a, c])
    };
    assert_eq!(found(&f, both).await?, [c]);
    Ok(())
}

pub(super) async fn threads_are_sorted_and_paged(f: Fixture) -> Done {
    let [a, b, c] = threads(&f, [json!({}), json!({}), json!({})]).await?;
    f.pass(1);
    f.complete(b, unfinished(&json!({}))).await?;
    f.pass(1);
    f.db.patch_thread(a, ThreadPatch::default()).await?;
    let sorted = async |key, order, page| {
        let filter = ThreadFilter::default();
        let threads = f.db.search_threads(&filter, (key, order), page).await?;
        let ids = threads.into_iter().map(|thread| thread.id);
        Ok::<Vec<_>, DatabaseError>(ids.collect())
    };
    let mut by_id = vec![a, b, c];
    by_id.sort_unstable();
    let mut by_status = vec![a, c];
    by_status.sort_unstable();
    by_status.push(b);
    let orders = [
        (ThreadSort::CreatedAt, vec![a, b, c]),
        (ThreadSort::UpdatedAt, vec![c, b, a]),
        (ThreadSort::StateUpdatedAt, vec![a, c, b]),
        (ThreadSort::ThreadId, by_id),
        (ThreadSort::Status, by_status),
    ];
    for (key, mut expected) in orders {
        assert_eq!(sorted(key, SortOrder::Asc, ALL).await?, expected, "{key:?}");
        let page = Page {
            limit: 1,
            offset: 1,
        };
        assert_eq!(
            sorted(key, SortOrder::Asc, page).await?,
            expected[1..2],
            "{key:?}"
        );
        expected.reverse();
        assert_eq!(
            sorted(key, SortOrder::Desc, ALL).await?,
            expected,
            "{key:?}"
        );
    }
    let beyond = Page {
        limit: 5,
        offset: 3,
    };
    assert_eq!(
        sorted(ThreadSort::CreatedAt, SortOrder::Asc, beyond).await?,
        []
    );
    Ok(())
}

/// Three assistants, created one after the other.
async fn three_assistants(f: &Fixture) -> Result<[AssistantId; 3], DatabaseError> {
    let new = [
        NewAssistant {
            metadata: map(&json!({"team": "t", "tags": ["x"]})),
            ..new_assistant("Zebra 100%")
        },
        NewAssistant {
            graph_id: "b".into(),
            ..new_assistant("apple_pie")
        },
        NewAssistant {
            graph_id: "c".into(),
            metadata: map(&json!({})),
            ..new_assistant("Mango")
        },
    ];
    let ids = [0, 1, 2].map(|place| new[place].id);
    for new in new {
        f.pass(1);
        f.db.create_assistant(new).await?;
    }
    Ok(ids)
}

pub(super) async fn assistants_are_found_by_graph_name_and_metadata(f: Fixture) -> Done {
    let [zebra, apple, mango] = three_assistants(&f).await?;
    let found = async |filter: AssistantFilter| {
        let sort = (AssistantSort::CreatedAt, SortOrder::Asc);
        let assistants = f.db.search_assistants(&filter, sort, ALL).await?;
        assert_eq!(
            f.db.count_assistants(&filter).await?,
            assistants.len() as u64
        );
        let ids = assistants.into_iter().map(|one| one.id);
        Ok::<Vec<_>, DatabaseError>(ids.collect())
    };
    let any = AssistantFilter::default;
    let named = |name: &str| AssistantFilter {
        name: Some(name.to_owned()),
        ..any()
    };
    assert_eq!(found(any()).await?, [zebra, apple, mango]);
    assert_eq!(found(named("ZEB")).await?, [zebra]);
    assert_eq!(found(named("a")).await?, [zebra, apple, mango]);
    assert_eq!(found(named("%")).await?, [zebra], "no letter is a wildcard");
    assert_eq!(found(named("e_p")).await?, [apple]);
    assert_eq!(found(named("b_a")).await?, []);
    let graph = AssistantFilter {
        graph_id: Some("b".into()),
        ..any()
    };
    assert_eq!(found(graph).await?, [apple]);
    let metadata = AssistantFilter {
        metadata: map(&json!({"team": "t"})),
        ..any()
    };
    assert_eq!(found(metadata.clone()).await?, [zebra, apple]);
    let both = AssistantFilter {
        name: Some("pie".to_owned()),
        ..metadata
    };
    assert_eq!(found(both).await?, [apple]);
    Ok(())
}

pub(super) async fn assistants_are_sorted_and_paged(f: Fixture) -> Done {
    let [zebra, apple, mango] = three_assistants(&f).await?;
    f.pass(1);
    f.db.patch_assistant(zebra, AssistantPatch::default())
        .await?;
    let sorted = async |key, order, page| {
        let filter = AssistantFilter::default();
        let found = f.db.search_assistants(&filter, (key, order), page).await?;
        Ok::<Vec<_>, DatabaseError>(found.into_iter().map(|one| one.id).collect())
    };
    let mut by_id = vec![zebra, apple, mango];
    by_id.sort_unstable();
    let orders = [
        (AssistantSort::CreatedAt, vec![zebra, apple, mango]),
        (AssistantSort::UpdatedAt, vec![apple, mango, zebra]),
        (AssistantSort::Name, vec![mango, zebra, apple]),
        (AssistantSort::GraphId, vec![zebra, apple, mango]),
        (AssistantSort::AssistantId, by_id),
    ];
    for (key, mut expected) in orders {
        assert_eq!(sorted(key, SortOrder::Asc, ALL).await?, expected, "{key:?}");
        let page = Page {
            limit: 2,
            offset: 1,
        };
        assert_eq!(
            sorted(key, SortOrder::Asc, page).await?,
            expected[1..],
            "{key:?}"
        );
        expected.reverse();
        assert_eq!(
            sorted(key, SortOrder::Desc, ALL).await?,
            expected,
            "{key:?}"
        );
    }
    Ok(())
}

pub(super) async fn equal_keys_are_ordered_by_id(f: Fixture) -> Done {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(f.thread().await?);
    }
    ids.sort_unstable();
    let sort = (ThreadSort::CreatedAt, SortOrder::Desc);
    let threads =
        f.db.search_threads(&ThreadFilter::default(), sort, ALL)
            .await?;
    let found: Vec<_> = threads.into_iter().rev().map(|thread| thread.id).collect();
    assert_eq!(found, ids);
    Ok(())
}
