//! Searches with conditions that may or may not be there.
//!
//! SQL narrows down and orders; what JSON contains is decided by [`map_contains`] on the rows that
//! are left, so that the answer is the same on every database. What SQL is asked never excludes a
//! row that contains what is searched for, whatever the letters of its JSON: conditions that could,
//! are not asked ([`leaves`]).

use futures::TryStreamExt;
use runloom_core::ids::{AssistantId, ThreadId};
use runloom_core::json::{Json as RawJson, JsonMap};
use runloom_core::search::{
    AssistantFilter, AssistantSort, Page, SortOrder, ThreadFilter, ThreadSort, map_contains,
};
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::types::{Json, Text, Uuid};
use sqlx::{Postgres, QueryBuilder, Row};

use crate::error::Result;
use crate::session::Session;

/// The threads that match, in order.
pub(crate) async fn threads(
    db: &mut Session,
    filter: &ThreadFilter,
    (key, order): (ThreadSort, SortOrder),
    page: Page,
) -> Result<Vec<ThreadId>> {
    let key = match key {
        ThreadSort::ThreadId => "t.id",
        ThreadSort::Status => "t.status",
        ThreadSort::CreatedAt => "t.created_at",
        ThreadSort::UpdatedAt => "t.updated_at",
        ThreadSort::StateUpdatedAt => "t.state_updated_at",
    };
    let query = || {
        let mut query = thread_query(filter, "t.id");
        push_order(&mut query, key, "t.id", order);
        query
    };
    let found = if filter.metadata.is_empty() && filter.values.is_empty() {
        cut(db, query(), page).await?
    } else {
        scan(db, query, page, |row| thread_matches(row, filter)).await?
    };
    Ok(found.into_iter().map(ThreadId).collect())
}

/// How many threads match.
pub(crate) async fn count_threads(db: &mut Session, filter: &ThreadFilter) -> Result<u64> {
    if filter.metadata.is_empty() && filter.values.is_empty() {
        return count_all(db, thread_query(filter, "count(*)")).await;
    }
    let matching = |row: &PgRow| thread_matches(row, filter);
    count(db, thread_query(filter, "t.id"), matching).await
}

/// The assistants that match, in order.
pub(crate) async fn assistants(
    db: &mut Session,
    filter: &AssistantFilter,
    (key, order): (AssistantSort, SortOrder),
    page: Page,
) -> Result<Vec<AssistantId>> {
    let key = match key {
        AssistantSort::AssistantId => "a.id",
        AssistantSort::CreatedAt => "a.created_at",
        AssistantSort::UpdatedAt => "a.updated_at",
        AssistantSort::Name => "v.name",
        AssistantSort::GraphId => "v.graph_id",
    };
    let query = || {
        let mut query = assistant_query(filter);
        push_order(&mut query, key, "a.id", order);
        query
    };
    let found = if filter.metadata.is_empty() && filter.name.is_none() {
        cut(db, query(), page).await?
    } else {
        scan(db, query, page, |row| assistant_matches(row, filter)).await?
    };
    Ok(found.into_iter().map(AssistantId).collect())
}

/// How many assistants match.
pub(crate) async fn count_assistants(db: &mut Session, filter: &AssistantFilter) -> Result<u64> {
    let matching = |row: &PgRow| assistant_matches(row, filter);
    count(db, assistant_query(filter), matching).await
}

type Query = QueryBuilder<Postgres>;

/// `wanted` of threads, and the JSON that conditions look into.
fn thread_query(filter: &ThreadFilter, wanted: &'static str) -> Query {
    let mut query = QueryBuilder::new("select ");
    query.push(wanted);
    if !filter.metadata.is_empty() {
        query.push(", t.metadata");
    }
    if filter.values.is_empty() {
        query.push(" from threads t where true");
    } else {
        query.push(
            r#", v."values" from threads t join thread_values v on v.thread_id = t.id where true"#,
        );
    }
    if let Some(ids) = &filter.ids {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        query.push(" and t.id = any(").push_bind(ids).push(")");
    }
    if let Some(status) = filter.status {
        query.push(" and t.status = ").push_bind(Text(status));
    }
    let metadata = leaves(&filter.metadata);
    if !metadata.is_empty() {
        query.push(" and t.id in (select m.thread_id from thread_metadata m where true");
        push_leaves(&mut query, "m.searchable", metadata);
        query.push(")");
    }
    let values = leaves(&filter.values);
    if !values.is_empty() {
        // A subquery of its own, so that the document is converted once.
        query.push(" and (select s.document is null or (true");
        push_leaves(&mut query, "s.document", values);
        query.push(r#") from (select searchable(v."values") as document offset 0) s)"#);
    }
    query
}

fn thread_matches(row: &PgRow, filter: &ThreadFilter) -> Result<bool> {
    Ok(has(row, "metadata", &filter.metadata)? && has(row, "values", &filter.values)?)
}

/// Ids, metadata and names of assistants.
fn assistant_query(filter: &AssistantFilter) -> Query {
    let mut query = QueryBuilder::new(
        "select a.id, v.metadata, v.name from assistants a
        join assistant_versions v on v.assistant_id = a.id and v.version = a.version where true",
    );
    if let Some(graph) = &filter.graph_id {
        query.push(" and v.graph_id = ").push_bind(graph.0.clone());
    }
    push_leaves(
        &mut query,
        "searchable(v.metadata)",
        leaves(&filter.metadata),
    );
    query
}

fn assistant_matches(row: &PgRow, filter: &AssistantFilter) -> Result<bool> {
    // Not left to SQL, whose idea of cases depends on how the database was made.
    let is_named = match &filter.name {
        Some(part) => {
            let name: String = row.try_get("name")?;
            name.to_lowercase().contains(&part.to_lowercase())
        }
        None => true,
    };
    Ok(is_named && has(row, "metadata", &filter.metadata)?)
}

/// Whether the JSON object in a column contains `part`.
fn has(row: &PgRow, column: &str, part: &JsonMap) -> Result<bool> {
    if part.is_empty() {
        return Ok(true);
    }
    let whole: Json<RawJson> = row.try_get(column)?;
    // Half of a surrogate pair is JSON, but no text: nothing can be asked about it.
    let whole = whole.0.parse::<JsonMap>();
    Ok(whole.is_ok_and(|whole| map_contains(&whole, part)))
}

/// What must be somewhere in a document for it to contain `part`, each in the two ways in which it
/// can be: itself, or as an element of a list.
///
/// Left out is what Postgres would compare in another way than we do: lists, which contain what is
/// contained in lists in them; fractions, which we take for what a machine can represent of them;
/// text that `searchable` writes in another way.
fn leaves(part: &JsonMap) -> Vec<[Value; 2]> {
    let mut found = Vec::new();
    for (key, value) in part.iter().filter(|(key, _)| is_plain(key)) {
        match value {
            Value::Object(inner) => {
                let below = leaves(inner).into_iter();
                found.extend(below.map(|ways| ways.map(|way| json!({ key: way }))));
            }
            value if is_plain_value(value) => {
                found.push([json!({ key: value }), json!({ key: [value] })]);
            }
            _ => {}
        }
    }
    found
}

/// Whether text is the same to `searchable` and to us.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.contains(['\0', char::REPLACEMENT_CHARACTER])
}

/// Whether Postgres finds a value equal wherever we do.
pub(crate) fn is_plain_value(value: &Value) -> bool {
    match value {
        Value::String(text) => is_plain(text),
        Value::Number(number) => !number.is_f64(),
        Value::Bool(_) | Value::Null => true,
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// Adds that the document contains all of `leaves`.
fn push_leaves(query: &mut Query, document: &'static str, leaves: Vec<[Value; 2]>) {
    for [itself, listed] in leaves {
        query.push(" and (").push(document).push(" @> ");
        query.push_bind(Json(itself)).push(" or ");
        query.push(document).push(" @> ");
        query.push_bind(Json(listed)).push(")");
    }
}

fn push_order(query: &mut Query, key: &'static str, tie: &'static str, order: SortOrder) {
    let direction = match order {
        SortOrder::Asc => " asc",
        SortOrder::Desc => " desc",
    };
    query.push(" order by ").push(key).push(direction);
    query.push(", ").push(tie).push(direction);
}

/// The ids on the page, where SQL has decided everything.
async fn cut(db: &mut Session, mut query: Query, page: Page) -> Result<Vec<Uuid>> {
    query.push(" limit ").push_bind(i64::from(page.limit));
    query.push(" offset ").push_bind(i64::from(page.offset));
    // Seldom the same statement twice: not worth a place among those that are kept.
    let rows = query.build().persistent(false).fetch_all(db).await?;
    let ids = rows.iter().map(|row| row.try_get("id"));
    Ok(ids.collect::<sqlx::Result<_>>()?)
}

/// How many rows are looked at before more are asked for, at least.
const LOOK_AT: i64 = 64;

/// The ids of the rows that match, as far as they are on the page. If too few match among those
/// looked at, more are looked at, from the start, so that the answer is of one moment.
async fn scan(
    db: &mut Session,
    query: impl Fn() -> Query,
    page: Page,
    matches: impl Fn(&PgRow) -> Result<bool>,
) -> Result<Vec<Uuid>> {
    let limit = page.limit as usize;
    let mut looked_at = LOOK_AT.max(i64::from(page.offset) + i64::from(page.limit));
    loop {
        let (mut found, mut skip, mut seen) = (Vec::new(), page.offset, 0);
        let mut query = query();
        query.push(" limit ").push_bind(looked_at);
        let mut rows = query.build().persistent(false).fetch(&mut *db);
        while let Some(row) = rows.try_next().await? {
            seen += 1;
            if found.len() < limit && matches(&row)? {
                match skip {
                    0 => found.push(row.try_get("id")?),
                    _ => skip -= 1,
                }
            }
        }
        if found.len() == limit || seen < looked_at {
            return Ok(found);
        }
        looked_at = looked_at.saturating_mul(4);
    }
}

/// How many rows a `count(*)` counts.
async fn count_all(db: &mut Session, mut query: Query) -> Result<u64> {
    let row = query.build().persistent(false).fetch_one(db).await?;
    let count: i64 = row.try_get(0)?;
    Ok(count.cast_unsigned())
}

async fn count(
    db: &mut Session,
    mut query: Query,
    matches: impl Fn(&PgRow) -> Result<bool>,
) -> Result<u64> {
    let mut rows = query.build().persistent(false).fetch(db);
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        count += u64::from(matches(&row)?);
    }
    Ok(count)
}
