//! What users may store and look for, whatever Postgres thinks of its letters.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use common::{Fresh, execute};
use runloom_core::database::{Checkpoints, Database, Guard, Items, Threads};
use runloom_core::ids::ThreadId;
use runloom_core::item::{ItemSearch, NamespaceSearch};
use runloom_core::json::{Json, JsonMap};
use runloom_core::search::{Page, SortOrder, ThreadFilter, ThreadSort};
use runloom_core::state::Head;
use runloom_core::thread::{IfExists, NewThread};
use runloom_postgres::{Config, Postgres};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};

const ALL: Page = Page {
    limit: 1_000,
    offset: 0,
};

fn map(value: &Value) -> JsonMap {
    value.as_object().unwrap().clone()
}

async fn open() -> (Fresh, Postgres) {
    let fresh = Fresh::new().await;
    let database = fresh.open(Config::default());
    (fresh, database)
}

/// A new thread with these metadata.
async fn thread(db: &impl Database, metadata: &Value) -> ThreadId {
    let new = NewThread {
        id: ThreadId::new(),
        metadata: map(metadata),
        if_exists: IfExists::Raise,
        ttl: None,
    };
    db.create_thread(new).await.unwrap().id
}

/// A new thread with these values, letter by letter.
async fn thread_with_values(db: &impl Database, values: &str) -> ThreadId {
    let id = thread(db, &json!({})).await;
    let head = Head {
        checkpoint_id: None,
        values: Json::from_text(values.to_owned()).unwrap(),
        next: Vec::new(),
        interrupts: JsonMap::new(),
    };
    let guard = Guard::Idle { seen: None, head };
    db.put_checkpoints(id, guard, vec![], vec![]).await.unwrap();
    id
}

fn by_metadata(part: &Value) -> ThreadFilter {
    ThreadFilter {
        metadata: map(part),
        ..ThreadFilter::default()
    }
}

fn by_values(part: &Value) -> ThreadFilter {
    ThreadFilter {
        values: map(part),
        ..ThreadFilter::default()
    }
}

/// The threads found, oldest first.
async fn found(db: &impl Database, filter: ThreadFilter, page: Page) -> Vec<ThreadId> {
    let sort = (ThreadSort::CreatedAt, SortOrder::Asc);
    let threads = db.search_threads(&filter, sort, page).await.unwrap();
    if page == ALL {
        let count = db.count_threads(&filter).await.unwrap();
        assert_eq!(count, threads.len() as u64, "a count is that of the search");
    }
    threads.into_iter().map(|thread| thread.id).collect()
}

#[tokio::test]
async fn metadata_with_zeros_are_stored_and_found_by_all_their_letters() {
    let (_fresh, db) = open().await;
    let zeros = thread(
        &db,
        &json!({"user": "ada", "note": "a\0b\0\0", "path": "C:\\u0000", "mixed": "\\\0", "k\0": "v"}),
    )
    .await;
    let plain = thread(
        &db,
        &json!({"user": "ada", "note": "a\u{fffd}b\u{fffd}\u{fffd}"}),
    )
    .await;
    let cases = [
        (json!({"user": "ada"}), vec![zeros, plain]),
        (json!({"note": "a\0b\0\0"}), vec![zeros]),
        (json!({"note": "a\u{fffd}b\u{fffd}\u{fffd}"}), vec![plain]),
        (json!({"path": "C:\\u0000"}), vec![zeros]),
        (json!({"mixed": "\\\0"}), vec![zeros]),
        (json!({"k\0": "v", "user": "ada"}), vec![zeros]),
        (json!({"k\0": "w"}), vec![]),
    ];
    for (part, expected) in cases {
        assert_eq!(
            found(&db, by_metadata(&part), ALL).await,
            expected,
            "{part}"
        );
    }
    let stored = db.thread(zeros).await.unwrap().unwrap();
    assert_eq!(stored.metadata["note"], "a\0b\0\0");
}

#[tokio::test]
async fn what_is_contained_is_what_the_rules_say_and_not_what_jsonb_says() {
    let (_fresh, db) = open().await;
    let list = thread(
        &db,
        &json!({"deep": {"tag": ["x", "y"]}, "n": 1, "many": [["x"]]}),
    )
    .await;
    let single = thread(&db, &json!({"deep": {"tag": "x"}, "n": 1.0, "none": null})).await;
    let cases = [
        (json!({"deep": {"tag": "x"}}), vec![list, single]),
        (json!({"deep": {"tag": ["y"]}}), vec![list]),
        (json!({"deep": {}}), vec![list, single]),
        (json!({"many": ["x"]}), vec![list]),
        (json!({"n": 1}), vec![list]),
        (json!({"n": 1.0}), vec![single]),
        (json!({"none": null}), vec![single]),
        (json!({"deep": "x"}), vec![]),
    ];
    for (part, expected) in cases {
        assert_eq!(
            found(&db, by_metadata(&part), ALL).await,
            expected,
            "{part}"
        );
    }
}

#[tokio::test]
async fn metadata_are_found_as_they_were_changed_last() {
    let (_fresh, db) = open().await;
    let id = thread(&db, &json!({})).await;
    for user in ["ada", "bob"] {
        let metadata = map(&json!({ "user": user }));
        let patch = runloom_core::database::ThreadPatch {
            metadata,
            ttl: None,
        };
        db.patch_thread(id, patch).await.unwrap();
    }
    assert_eq!(
        found(&db, by_metadata(&json!({"user": "ada"})), ALL).await,
        []
    );
    assert_eq!(
        found(&db, by_metadata(&json!({"user": "bob"})), ALL).await,
        [id]
    );
    db.delete_thread(id).await.unwrap();
    assert_eq!(
        found(&db, by_metadata(&json!({"user": "bob"})), ALL).await,
        []
    );
}

#[tokio::test]
async fn values_are_searched_beside_documents_that_jsonb_refuses() {
    let (_fresh, db) = open().await;
    let plain = thread_with_values(&db, r#"{"user": "\u0061da", "n": 1.50, "n": 1.5}"#).await;
    let zeros = thread_with_values(&db, r#"{"user": "ada", "note": "\u0000"}"#).await;
    // None of these has an equal among the values that a program can hold, so nothing finds them.
    for hidden in [
        r#"{"user": "ada", "half": "\ud800"}"#,
        r#"{"user": "ada", "n": 1e999999}"#,
    ] {
        thread_with_values(&db, hidden).await;
    }
    let exact = r#"{"n": 0.1000000000000000055511151231257827}"#;
    let exact = thread_with_values(&db, exact).await;
    let cases = [
        (json!({"user": "ada"}), vec![plain, zeros]),
        (json!({"n": 1.5}), vec![plain]),
        (json!({"note": "\0"}), vec![zeros]),
        (json!({"n": 0.1}), vec![exact]),
    ];
    for (part, expected) in cases {
        assert_eq!(found(&db, by_values(&part), ALL).await, expected, "{part}");
    }
}

#[tokio::test]
async fn a_page_is_cut_from_what_matches_however_rare_that_is() {
    let (_fresh, db) = open().await;
    let mut rare = Vec::new();
    for number in 0..300 {
        // A condition on a list is judged row by row.
        let tags = if number % 90 == 0 {
            ["a", "rare"]
        } else {
            ["a", "b"]
        };
        let id = thread(&db, &json!({ "tags": tags })).await;
        rare.extend((tags[1] == "rare").then_some(id));
    }
    let filter = || by_metadata(&json!({"tags": ["rare"]}));
    assert_eq!(found(&db, filter(), ALL).await, rare);
    for (limit, offset, expected) in [
        (2, 0, 0..2),
        (2, 1, 1..3),
        (9, 3, 3..4),
        (1, 9, 4..4),
        (0, 0, 0..0),
    ] {
        let page = Page { limit, offset };
        assert_eq!(found(&db, filter(), page).await, rare[expected], "{page:?}");
    }
}

#[tokio::test]
async fn a_search_takes_more_ids_than_a_statement_has_parameters() {
    let (_fresh, db) = open().await;
    let id = thread(&db, &json!({})).await;
    let mut ids: Vec<_> = (0..70_000).map(|_| ThreadId::new()).collect();
    ids.push(id);
    let filter = ThreadFilter {
        ids: Some(ids),
        ..ThreadFilter::default()
    };
    assert_eq!(found(&db, filter, ALL).await, [id]);
}

fn labels(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

#[tokio::test]
async fn items_may_have_zeros_anywhere() {
    let (_fresh, db) = open().await;
    let namespace = labels(&["a\0", "b"]);
    for (key, value) in [
        ("k", r#"{"user": "ada", "n": 1}"#),
        ("k\0", r#"{"user": "ada", "note": "\u0000"}"#),
        ("k\0\0", r#"{"user": "ada", "half": "\ud800"}"#),
    ] {
        let value = Json::from_text(value.to_owned()).unwrap();
        db.put_item(&namespace, key, value).await.unwrap();
    }
    let item = db.item(&namespace, "k\0").await.unwrap().unwrap();
    assert_eq!(
        (item.namespace, item.key),
        (namespace.clone(), "k\0".to_owned())
    );
    assert_eq!(item.value.as_str(), r#"{"user": "ada", "note": "\u0000"}"#);
    let keys = async |filter: Value| {
        let search = ItemSearch {
            prefix: labels(&["a\0"]),
            filter: map(&filter),
            limit: 10,
            offset: 0,
        };
        let items = db.search_items(&search).await.unwrap().into_iter();
        items.map(|item| item.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(json!({})).await, ["k\0\0", "k\0", "k"]);
    assert_eq!(keys(json!({"user": "ada"})).await, ["k\0", "k"]);
    assert_eq!(keys(json!({"note": "\0"})).await, ["k\0"]);
    assert_eq!(keys(json!({"note": {"$ne": "x"}, "n": 1})).await, ["k"]);
    db.delete_item(&namespace, "k").await.unwrap();
    assert_eq!(keys(json!({"user": "ada"})).await, ["k\0"]);
    let all = NamespaceSearch {
        limit: 10,
        ..NamespaceSearch::default()
    };
    assert_eq!(db.namespaces(&all).await.unwrap(), [namespace]);
}

#[tokio::test]
async fn names_with_zeros_are_not_there() {
    let (_fresh, db) = open().await;
    let id = thread(&db, &json!({})).await;
    let zero = runloom_core::ids::CheckpointId("\0".to_owned());
    assert_eq!(db.checkpoint(id, "\0", None).await.unwrap(), None);
    assert_eq!(db.checkpoint(id, "", Some(&zero)).await.unwrap(), None);
    let query = runloom_core::checkpoint::CheckpointQuery {
        before: Some(zero),
        ..runloom_core::checkpoint::CheckpointQuery::default()
    };
    assert_eq!(db.checkpoints(id, query).await.unwrap(), []);
}

#[tokio::test]
async fn text_that_is_compared_sorts_by_its_bytes_in_every_database() {
    let fresh = Fresh::new().await;
    let mut connection = fresh.connection().await;
    let rows = sqlx::query(
        r#"select c.relname || '.' || a.attname as name
        from pg_attribute a join pg_class c on c.oid = a.attrelid
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0
            and a.atttypid = 'text'::regtype and a.attcollation <> '"C"'::regcollation
            and c.relname <> '_sqlx_migrations'
        order by 1"#,
    );
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get("name")).collect();
    let compared_by_nobody = [
        "assistant_versions.description",
        "channel_blobs.kind",
        "checkpoints.head_kind",
        "pending_writes.kind",
        "runs.cancel_reason",
    ];
    assert_eq!(names, compared_by_nobody);
}

#[tokio::test]
async fn threads_are_found_by_their_metadata_through_an_index() {
    let (fresh, db) = open().await;
    let mut connection = fresh.connection().await;
    let many = "insert into threads (
            id, created_at, updated_at, state_updated_at, metadata, config, status, hinted_at
        )
        select gen_random_uuid(), now(), now(), now(), json_build_object('user', 'u' || n), '{}',
            'idle', now()
        from generate_series(1, 20000) n";
    execute(&mut connection, many).await;
    execute(&mut connection, "vacuum analyze").await;
    let before = scans(&mut connection).await;
    let filter = by_metadata(&json!({"user": "u7"}));
    assert_eq!(found(&db, filter, ALL).await.len(), 1);
    db.close().await;
    // A connection has told what it did once it is gone.
    let others = "select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
            and backend_type = 'client backend'";
    let mut left = 1;
    while left > 0 {
        let count = sqlx::query_scalar::<_, i64>(others).fetch_one(&mut connection);
        left = count.await.unwrap();
    }
    let after = scans(&mut connection).await;
    assert!(after > before, "the index was not used");
}

/// How often the index over metadata was used so far.
async fn scans(connection: &mut PgConnection) -> i64 {
    let scans = sqlx::query_scalar(
        "select idx_scan from pg_stat_user_indexes
        where indexrelname = 'thread_metadata_searchable'",
    );
    scans.fetch_one(connection).await.unwrap()
}
