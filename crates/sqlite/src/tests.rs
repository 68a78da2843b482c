//! What becomes of a database that cannot be written, and of callers that go away.

mod batches;
mod plans;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use runloom_core::clock::SystemClock;
use runloom_core::database::{DatabaseError, Items, Threads};
use runloom_core::ids::ThreadId;
use runloom_core::json::{Json, JsonMap};
use runloom_core::search::ThreadFilter;
use runloom_core::thread::{IfExists, NewThread};
use tempfile::TempDir;

use crate::statement::execute;
use crate::writer::Rules;
use crate::{Config, Location, Sqlite, connections, start_readers, start_writer};

async fn open() -> (Sqlite, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Folder(folder.path().to_owned());
    let database = Sqlite::open(location, Arc::new(SystemClock), Config::default()).await;
    (database.unwrap(), folder)
}

/// The database of `folder` opened again, with a pragma on the connection that writes, and batches
/// that are open as long as changes wait.
fn reopen(folder: &TempDir, pragma: &str) -> Sqlite {
    let file = folder.path().join("runloom.db");
    let writer = connections::writer(&file).unwrap();
    writer.execute_batch(&format!("pragma {pragma}")).unwrap();
    let rules = Rules {
        clock: Arc::new(SystemClock),
        max_attempts: 1,
        most_time: Duration::MAX,
    };
    Sqlite {
        readers: Some(start_readers(connections::readers(&file, 2).unwrap()).unwrap()),
        writer: start_writer(writer, rules).unwrap(),
        clock: Arc::new(SystemClock),
        _lock: None,
    }
}

/// Sets a pragma on the connection that writes.
async fn set(database: &Sqlite, pragma: &'static str) {
    let set = move |change: &crate::Change<'_>| Ok(change.execute_batch(pragma)?);
    database.change(0, set).await.unwrap();
}

async fn put(database: &Sqlite, key: &str, kilobytes: usize) -> Result<(), DatabaseError> {
    let value = Json::of(&"x".repeat(kilobytes * 1_024)).unwrap();
    database.put_item(&["notes".to_owned()], key, value).await
}

async fn is_there(database: &Sqlite, key: &str) -> bool {
    let found = database.item(&["notes".to_owned()], key).await;
    found.unwrap().is_some()
}

fn unavailable(result: Result<(), DatabaseError>) -> String {
    match result {
        Err(DatabaseError::Unavailable(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_survived() {
    let (database, _folder) = open().await;
    put(&database, "before", 1).await.unwrap();
    for attempt in 0..3 {
        // SQLite raises a limit below the present size to that size.
        set(&database, "pragma max_page_count = 1").await;
        let text = unavailable(put(&database, "too much", 500).await);
        assert_eq!(text, "the disk is full", "attempt {attempt}");
    }
    assert!(is_there(&database, "before").await);
    assert!(!is_there(&database, "too much").await);

    set(&database, "pragma max_page_count = 100000").await;
    put(&database, "after", 500).await.unwrap();
    assert!(is_there(&database, "after").await);
}

#[tokio::test]
async fn a_read_only_file_is_named_and_can_be_read() {
    let (database, folder) = open().await;
    put(&database, "before", 1).await.unwrap();
    let database = {
        drop(database);
        reopen(&folder, "query_only = on")
    };
    let text = unavailable(put(&database, "refused", 1).await);
    assert_eq!(text, "the database file is read-only");
    assert!(is_there(&database, "before").await);
    assert!(!is_there(&database, "refused").await);

    drop(database);
    let database = reopen(&folder, "query_only = off");
    put(&database, "after", 1).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_sqlite_ended_does_not_wedge_the_next_one() {
    let (database, _folder) = open().await;
    let ended = database.change(0, |change| execute(change, "rollback", ()));
    let ended = ended.await;
    assert!(
        matches!(ended, Err(DatabaseError::Internal(_))),
        "{ended:?}"
    );
    put(&database, "after", 1).await.unwrap();
}

/// A caller that goes away at any point leaves all or nothing, and the next one is served.
#[tokio::test]
async fn a_change_that_is_dropped_half_way_leaves_nothing_half_done() {
    let (database, _folder) = open().await;
    let (mut dropped, mut finished) = (0, 0);
    for polls in 0..40 {
        let new = NewThread {
            id: ThreadId::new(),
            metadata: JsonMap::new(),
            if_exists: IfExists::Raise,
            ttl: None,
        };
        let id = new.id;
        let done = polled_so_often(database.create_thread(new), polls % 4).await;
        // The caller cannot know, but what is there must be whole and the lock free.
        put(&database, "next", 1).await.unwrap();
        let there = database.thread(id).await.unwrap().is_some();
        assert!(there || !done, "an answered change is there");
        finished += u32::from(done);
        dropped += u32::from(!done);
    }
    assert!(
        dropped > 0 && finished > 0,
        "{dropped} dropped, {finished} finished"
    );
}

/// Whether the future is ready before it has been polled so many times; it is dropped then.
async fn polled_so_often(future: impl Future, polls: u32) -> bool {
    let mut future = pin!(future);
    let mut count = 0;
    poll_fn(|context| {
        if count == polls {
            return Poll::Ready(false);
        }
        count += 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn a_search_takes_more_ids_than_a_statement_has_variables() {
    let (database, _folder) = open().await;
    let new = NewThread {
        id: ThreadId::new(),
        metadata: JsonMap::new(),
        if_exists: IfExists::Raise,
        ttl: None,
    };
    let known = database.create_thread(new).await.unwrap().id;
    let others = std::iter::repeat_with(ThreadId::new).take(40_000);
    let filter = ThreadFilter {
        ids: Some(others.chain([known]).collect()),
        ..ThreadFilter::default()
    };
    assert_eq!(database.count_threads(&filter).await.unwrap(), 1);
}
