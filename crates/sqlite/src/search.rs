//! Searches with conditions that may or may not be there.
//!
//! SQL narrows down and orders; what JSON contains is decided by [`map_contains`] on the rows that
//! are left, so that the answer is the same on every database.

use runloom_core::ids::{AssistantId, ThreadId};
use runloom_core::json::{Json as RawJson, JsonMap};
use runloom_core::search::{
    AssistantFilter, AssistantSort, Page, SortOrder, ThreadFilter, ThreadSort, map_contains,
};
use rusqlite::{Connection, Row, ToSql, params_from_iter};
use serde_json::Value;
use uuid::Uuid;

use crate::error::Result;
use crate::statement::{Json, Word};

/// The threads that match, in order.
pub(crate) fn threads(
    db: &Connection,
    filter: &ThreadFilter,
    (key, order): (ThreadSort, SortOrder),
    page: Page,
) -> Result<Vec<ThreadId>> {
    let mut query = thread_query(filter);
    let key = match key {
        ThreadSort::ThreadId => "t.id",
        ThreadSort::Status => "t.status",
        ThreadSort::CreatedAt => "t.created_at",
        ThreadSort::UpdatedAt => "t.updated_at",
        ThreadSort::StateUpdatedAt => "t.state_updated_at",
    };
    push_order(&mut query, key, "t.id", order);
    let matching = |row: &Row<'_>| thread_matches(row, filter);
    let found = scan(db, &query, page, matching)?;
    Ok(found.into_iter().map(ThreadId).collect())
}

/// How many threads match.
pub(crate) fn count_threads(db: &Connection, filter: &ThreadFilter) -> Result<u64> {
    let matching = |row: &Row<'_>| thread_matches(row, filter);
    count(db, &thread_query(filter), matching)
}

/// The assistants that match, in order.
pub(crate) fn assistants(
    db: &Connection,
    filter: &AssistantFilter,
    (key, order): (AssistantSort, SortOrder),
    page: Page,
) -> Result<Vec<AssistantId>> {
    let mut query = assistant_query(filter);
    let key = match key {
        AssistantSort::AssistantId => "a.id",
        AssistantSort::CreatedAt => "a.created_at",
        AssistantSort::UpdatedAt => "a.updated_at",
        AssistantSort::Name => "v.name",
        AssistantSort::GraphId => "v.graph_id",
    };
    push_order(&mut query, key, "a.id", order);
    let matching = |row: &Row<'_>| assistant_matches(row, filter);
    let found = scan(db, &query, page, matching)?;
    Ok(found.into_iter().map(AssistantId).collect())
}

/// How many assistants match.
pub(crate) fn count_assistants(db: &Connection, filter: &AssistantFilter) -> Result<u64> {
    let matching = |row: &Row<'_>| assistant_matches(row, filter);
    count(db, &assistant_query(filter), matching)
}

/// A statement that is put together, with its variables.
struct Query {
    sql: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Query {
    fn new(sql: &str) -> Self {
        Self {
            sql: sql.to_owned(),
            values: Vec::new(),
        }
    }

    fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    fn push_bind(&mut self, value: impl ToSql + 'static) -> &mut Self {
        self.sql.push('?');
        self.values.push(Box::new(value));
        self
    }
}

/// Ids and metadata of threads, and their values where a condition needs them.
fn thread_query(filter: &ThreadFilter) -> Query {
    let mut query = Query::new("select t.id, t.metadata");
    if filter.values.is_empty() {
        query.push(" from threads t where true");
    } else {
        query.push(
            r#", v."values" from threads t join thread_values v on v.thread_id = t.id where true"#,
        );
    }
    if let Some(ids) = &filter.ids {
        // One variable, as there is a limit to how many a statement may have.
        let list: Vec<_> = ids.iter().map(|id| id.0.simple().to_string()).collect();
        query.push(" and t.id in (select unhex(value) from json_each(");
        query.push_bind(Json(list)).push("))");
    }
    if let Some(status) = filter.status {
        query.push(" and t.status = ").push_bind(Word(status));
    }
    push_texts(&mut query, "t.metadata", &filter.metadata);
    if !filter.values.is_empty() {
        push_texts(&mut query, r#"v."values""#, &filter.values);
    }
    query
}

fn thread_matches(row: &Row<'_>, filter: &ThreadFilter) -> Result<bool> {
    Ok(has(row, "metadata", &filter.metadata)?
        && (filter.values.is_empty() || has(row, "values", &filter.values)?))
}

/// Ids, metadata and names of assistants.
fn assistant_query(filter: &AssistantFilter) -> Query {
    let mut query = Query::new(
        "select a.id, v.metadata, v.name from assistants a
        join assistant_versions v on v.assistant_id = a.id and v.version = a.version where true",
    );
    if let Some(graph) = &filter.graph_id {
        query.push(" and v.graph_id = ").push_bind(graph.0.clone());
    }
    push_texts(&mut query, "v.metadata", &filter.metadata);
    query
}

fn assistant_matches(row: &Row<'_>, filter: &AssistantFilter) -> Result<bool> {
    // Not left to SQL, which knows the cases of ASCII only.
    let is_named = match &filter.name {
        Some(part) => {
            let name: String = row.get("name")?;
            name.to_lowercase().contains(&part.to_lowercase())
        }
        None => true,
    };
    Ok(is_named && has(row, "metadata", &filter.metadata)?)
}

/// Whether the JSON object in a column contains `part`.
fn has(row: &Row<'_>, column: &str, part: &JsonMap) -> Result<bool> {
    if part.is_empty() {
        return Ok(true);
    }
    let whole: Json<RawJson> = row.get(column)?;
    let whole = whole.0.to_value();
    Ok(whole
        .as_object()
        .is_some_and(|whole| map_contains(whole, part)))
}

/// Adds what must hold of a row for its JSON object to contain the texts that stand in `part` under
/// plain keys: the text itself, or a list, which may contain it.
fn push_texts(query: &mut Query, column: &'static str, part: &JsonMap) {
    let is_plain = |key: &str| {
        let mut letters = key.chars();
        letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    for (key, value) in part {
        let Value::String(text) = value else {
            continue;
        };
        if !is_plain(key) || text.contains('\0') {
            continue;
        }
        let path = format!("$.\"{key}\"");
        query.push(" and (json_extract(").push(column).push(", ");
        query.push_bind(path.clone()).push(") = ");
        query.push_bind(text.clone());
        query.push(" or json_type(").push(column).push(", ");
        query.push_bind(path).push(") = 'array')");
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

/// The ids of the rows that match, as far as they are on the page.
fn scan(
    db: &Connection,
    query: &Query,
    page: Page,
    matches: impl Fn(&Row<'_>) -> Result<bool>,
) -> Result<Vec<Uuid>> {
    // Seldom the same statement twice: not worth a place among those that are kept.
    let mut statement = db.prepare(&query.sql)?;
    let mut rows = statement.query(params_from_iter(&query.values))?;
    let (mut found, mut skip) = (Vec::new(), page.offset);
    while found.len() < page.limit as usize
        && let Some(row) = rows.next()?
    {
        match (matches(row)?, skip) {
            (false, _) => {}
            (true, 0) => found.push(row.get("id")?),
            (true, _) => skip -= 1,
        }
    }
    Ok(found)
}

fn count(
    db: &Connection,
    query: &Query,
    matches: impl Fn(&Row<'_>) -> Result<bool>,
) -> Result<u64> {
    let mut statement = db.prepare(&query.sql)?;
    let mut rows = statement.query(params_from_iter(&query.values))?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += u64::from(matches(row)?);
    }
    Ok(count)
}
