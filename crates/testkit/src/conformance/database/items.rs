//! Items: the long-term memory.

use runloom_core::database::DatabaseError;
use runloom_core::item::{ItemSearch, NamespaceSearch};
use serde_json::{Value, json};

use super::scene::{Done, Fixture, map, text};

fn labels(dotted: &str) -> Vec<String> {
    dotted.split_terminator('.').map(str::to_owned).collect()
}

async fn put(f: &Fixture, namespace: &str, key: &str, value: Value) -> Done {
    f.db.put_item(&labels(namespace), key, text(&value)).await
}

fn below(prefix: &str, filter: &Value) -> ItemSearch {
    ItemSearch {
        prefix: labels(prefix),
        filter: map(filter),
        limit: 1_000,
        offset: 0,
    }
}

/// Namespace and key of what is found.
async fn found(f: &Fixture, search: ItemSearch) -> Result<Vec<String>, DatabaseError> {
    let items = f.db.search_items(&search).await?.into_iter();
    Ok(items
        .map(|item| format!("{}/{}", item.namespace.join("."), item.key))
        .collect())
}

async fn namespaces(f: &Fixture, search: NamespaceSearch) -> Result<Vec<String>, DatabaseError> {
    let found = f.db.namespaces(&search).await?.into_iter();
    Ok(found.map(|namespace| namespace.join(".")).collect())
}

pub(super) async fn an_item_is_put_read_replaced_and_deleted(f: Fixture) -> Done {
    let namespace = labels("users.u1");
    assert_eq!(f.db.item(&namespace, "k").await?, None);
    put(&f, "users.u1", "k", json!({"a": 1})).await?;
    let created_at = f.now();
    f.pass(1);
    put(&f, "users.u1", "k", json!({"b": [null, "ü"]})).await?;
    let Some(item) = f.db.item(&namespace, "k").await? else {
        panic!("it was put");
    };
    assert_eq!((&item.namespace, item.key.as_str()), (&namespace, "k"));
    assert_eq!(item.value, text(&json!({"b": [null, "ü"]})));
    assert_eq!((item.created_at, item.updated_at), (created_at, f.now()));
    f.db.delete_item(&namespace, "k").await?;
    assert_eq!(f.db.item(&namespace, "k").await?, None);
    f.db.delete_item(&namespace, "k").await
}

pub(super) async fn items_of_other_namespaces_and_keys_are_others(f: Fixture) -> Done {
    for (namespace, key) in [
        ("a", "b.c"),
        ("a.b", "c"),
        ("a.b.c", ""),
        ("ab", "c"),
        ("", "k"),
    ] {
        put(&f, namespace, key, json!({ "at": namespace })).await?;
    }
    for (namespace, key) in [
        ("a", "b.c"),
        ("a.b", "c"),
        ("a.b.c", ""),
        ("ab", "c"),
        ("", "k"),
    ] {
        let item = f.db.item(&labels(namespace), key).await?;
        assert_eq!(
            item.map(|item| item.value),
            Some(text(&json!({ "at": namespace })))
        );
    }
    f.db.delete_item(&labels("a.b"), "c").await?;
    assert_eq!(found(&f, below("", &json!({}))).await?.len(), 4);
    Ok(())
}

pub(super) async fn a_search_goes_below_whole_labels_newest_first(f: Fixture) -> Done {
    for (namespace, key) in [
        ("users.u1", "a"),
        ("users", "b"),
        ("users.u1.x", "c"),
        ("users2", "d"),
    ] {
        put(&f, namespace, key, json!({})).await?;
        f.pass(1);
    }
    assert_eq!(
        found(&f, below("users", &json!({}))).await?,
        ["users.u1.x/c", "users/b", "users.u1/a",]
    );
    assert_eq!(
        found(&f, below("users.u1", &json!({}))).await?,
        ["users.u1.x/c", "users.u1/a"]
    );
    assert_eq!(found(&f, below("users.u", &json!({}))).await?, [""; 0]);
    put(&f, "users.u1", "a", json!({})).await?;
    assert_eq!(
        found(&f, below("users", &json!({}))).await?[0],
        "users.u1/a",
        "changed last"
    );
    let page = ItemSearch {
        limit: 1,
        offset: 1,
        ..below("users", &json!({}))
    };
    assert_eq!(found(&f, page).await?, ["users.u1.x/c"]);
    Ok(())
}

pub(super) async fn items_of_the_same_moment_are_in_the_order_of_their_names(f: Fixture) -> Done {
    for (namespace, key) in [
        ("b", "x"),
        ("a.b", "y"),
        ("a", "z"),
        ("a-b", "w"),
        ("a", "y"),
    ] {
        put(&f, namespace, key, json!({})).await?;
    }
    assert_eq!(
        found(&f, below("", &json!({}))).await?,
        ["a/y", "a/z", "a.b/y", "a-b/w", "b/x"]
    );
    Ok(())
}

pub(super) async fn a_search_filters_by_conditions_on_the_value(f: Fixture) -> Done {
    for n in 1..=5 {
        let kind = if n % 2 == 0 { "even" } else { "odd" };
        put(
            &f,
            "n",
            &n.to_string(),
            json!({"n": n, "kind": kind, "deep": {"n": n}}),
        )
        .await?;
    }
    let cases = [
        (json!({"n": 3}), vec!["n/3"]),
        (json!({"kind": "even"}), vec!["n/2", "n/4"]),
        (
            json!({"kind": {"$ne": "even"}, "n": {"$gt": 1}}),
            vec!["n/3", "n/5"],
        ),
        (json!({"n": {"$gte": 2, "$lt": 4}}), vec!["n/2", "n/3"]),
        (json!({"kind": {"$lte": "even"}}), vec!["n/2", "n/4"]),
        (json!({"deep": {"n": 1}}), vec!["n/1"]),
        (json!({"n": {"$eq": 5}}), vec!["n/5"]),
        (json!({"n": "3"}), vec![]),
        (json!({"missing": 1}), vec![]),
    ];
    for (filter, expected) in cases {
        assert_eq!(found(&f, below("n", &filter)).await?, expected, "{filter}");
    }
    let page = ItemSearch {
        limit: 1,
        offset: 1,
        ..below("n", &json!({"kind": "odd"}))
    };
    assert_eq!(
        found(&f, page).await?,
        ["n/3"],
        "the page is cut from what matches"
    );
    Ok(())
}

pub(super) async fn namespaces_are_listed_in_order_without_doubles(f: Fixture) -> Done {
    for namespace in [
        "users.u2.notes",
        "users.u1.notes",
        "users.u1.drafts",
        "teams.t",
        "a-b",
        "a.b",
    ] {
        put(&f, namespace, "1", json!({})).await?;
        put(&f, namespace, "2", json!({})).await?;
    }
    let all = || NamespaceSearch {
        limit: 1_000,
        ..NamespaceSearch::default()
    };
    assert_eq!(
        namespaces(&f, all()).await?,
        [
            "a.b",
            "a-b",
            "teams.t",
            "users.u1.drafts",
            "users.u1.notes",
            "users.u2.notes",
        ]
    );
    let cut = NamespaceSearch {
        prefix: labels("users"),
        max_depth: Some(2),
        ..all()
    };
    assert_eq!(namespaces(&f, cut).await?, ["users.u1", "users.u2"]);
    let notes = NamespaceSearch {
        prefix: labels("*.u1"),
        suffix: labels("notes"),
        ..all()
    };
    assert_eq!(namespaces(&f, notes).await?, ["users.u1.notes"]);
    let page = NamespaceSearch {
        limit: 2,
        offset: 1,
        max_depth: Some(1),
        ..NamespaceSearch::default()
    };
    assert_eq!(namespaces(&f, page).await?, ["a-b", "teams"]);
    f.db.delete_item(&labels("teams.t"), "1").await?;
    f.db.delete_item(&labels("teams.t"), "2").await?;
    assert!(
        !namespaces(&f, all()).await?.contains(&"teams.t".to_owned()),
        "it is empty"
    );
    Ok(())
}
