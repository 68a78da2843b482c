//! Changes that wait at the same time are committed together, and nobody notices but by the speed.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runloom_core::database::DatabaseError;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{is_there, open, put, reopen};
use crate::change::Change;
use crate::error::Result;
use crate::job::{self, Answer};
use crate::statement::execute;
use crate::writer::MOST_WEIGHT;
use crate::{Sqlite, connections};

/// A database that adds to a batch whatever waits.
async fn database() -> (Sqlite, TempDir) {
    let (database, folder) = open().await;
    database.close().await.unwrap();
    (reopen(&folder, "user_version"), folder)
}

/// Hands a change in, whose caller waits for it at leisure.
fn ask<T: Send + 'static>(
    database: &Sqlite,
    work: impl FnOnce(&Change<'_>) -> Result<T> + Send + 'static,
) -> Answer<T> {
    weighing(database, 0, work)
}

fn weighing<T: Send + 'static>(
    database: &Sqlite,
    weight: usize,
    work: impl FnOnce(&Change<'_>) -> Result<T> + Send + 'static,
) -> Answer<T> {
    let (job, answer) = job::change(weight, work);
    database.writer.put(job);
    answer
}

/// Adds to the namespace of the notes.
fn add(change: &Change<'_>, key: &str) -> Result<()> {
    let sql = "insert into items (namespace, key, value, created_at, updated_at)
        values (x'6e6f74657300', ?, '1', 0, 0)";
    execute(change, sql, (key,)).map(drop)
}

/// A change that lasts until something is sent, or the sender is dropped. It has begun when this
/// returns, if nothing is before it.
fn hold(database: &Sqlite) -> (Sender<()>, Answer<()>) {
    let (release, held) = channel();
    let (start, started) = channel();
    let answer = ask(database, move |_| {
        let _ = start.send(());
        let _ = held.recv();
        Ok(())
    });
    started.recv().unwrap();
    (release, answer)
}

#[tokio::test]
async fn changes_are_answered_and_seen_when_all_of_their_batch_are_durable() {
    let (database, _folder) = database().await;
    let (release, _held) = hold(&database);
    let one = ask(&database, |change| add(change, "one"));
    let (made, was_made) = channel();
    let (finish, wait) = channel::<()>();
    let two = ask(&database, move |change| {
        add(change, "two")?;
        let _ = made.send(());
        let _ = wait.recv();
        Ok(())
    });
    drop(release);
    was_made.recv().unwrap();
    assert!(!one.is_there(), "it is answered before it is durable");
    assert!(!is_there(&database, "one").await, "it is seen too early");

    drop(finish);
    one.get().await.unwrap();
    assert!(is_there(&database, "two").await, "it was not in the batch");
    two.get().await.unwrap();
}

#[tokio::test]
async fn a_change_that_fails_is_undone_without_its_neighbours() {
    let (database, _folder) = database().await;
    for turn in 0..2 {
        // Committed with those behind it, or gone, so that the first of those is one that fails.
        let (release, held) = hold(&database);
        let key = move |name: &str| format!("{name} {turn}");
        let fails = ask(&database, move |change| {
            add(change, &key("failed"))?;
            Err::<(), _>(DatabaseError::Fenced.into())
        });
        let good = ask(&database, move |change| add(change, &key("good")));
        let refused = ask(&database, move |change| {
            add(change, &key("refused"))?;
            add(change, &key("good"))
        });
        let panics = ask::<()>(&database, move |change| {
            add(change, &key("panicked"))?;
            panic!("as it should")
        });
        let last = ask(&database, move |change| add(change, &key("last")));
        drop((release, held));

        assert!(matches!(fails.get().await, Err(DatabaseError::Fenced)));
        good.get().await.unwrap();
        let refused = refused.get().await;
        assert!(
            matches!(&refused, Err(DatabaseError::Internal(why)) if why.contains("UNIQUE")),
            "{refused:?}"
        );
        let caller = JoinSet::from_iter([panics.get()]).join_next().await;
        assert!(caller.unwrap().unwrap_err().is_panic(), "the caller panics");
        last.get().await.unwrap();
        for (name, there) in [
            ("failed", false),
            ("good", true),
            ("refused", false),
            ("panicked", false),
            ("last", true),
        ] {
            assert_eq!(is_there(&database, &key(name)).await, there, "{name}");
        }
    }
}

/// A promise that only the commit looks at is broken.
fn break_a_promise(change: &Change<'_>) -> Result<()> {
    change.execute_batch("pragma defer_foreign_keys = on")?;
    let sql =
        "insert into thread_values (thread_id, \"values\", interrupts) values (x'01', '', '')";
    execute(change, sql, ()).map(drop)
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_all_and_the_next_one_is_made() {
    let (database, _folder) = database().await;
    let (release, held) = hold(&database);
    let one = ask(&database, |change| add(change, "one"));
    let breaks = ask(&database, break_a_promise);
    let two = ask(&database, |change| add(change, "two"));
    drop(release);
    for answer in [held, one, breaks, two] {
        let told = answer.get().await;
        assert!(
            matches!(&told, Err(DatabaseError::Internal(why)) if why.contains("FOREIGN KEY")),
            "{told:?}"
        );
    }
    assert!(!is_there(&database, "one").await && !is_there(&database, "two").await);
    put(&database, "next", 1).await.unwrap();
}

/// As SQLite itself may do when the disk is full.
#[tokio::test]
async fn a_transaction_that_ends_half_way_is_told_to_those_in_it() {
    let (database, _folder) = database().await;
    let (release, held) = hold(&database);
    let one = ask(&database, |change| add(change, "one"));
    let ends = ask(&database, |change| {
        execute(change, "rollback", ()).map(drop)
    });
    let two = ask(&database, |change| add(change, "two"));
    drop(release);
    for answer in [held, one, ends] {
        let told = answer.get().await;
        assert!(matches!(told, Err(DatabaseError::Internal(_))), "{told:?}");
    }
    two.get().await.unwrap();
    assert!(!is_there(&database, "one").await && is_there(&database, "two").await);
}

#[tokio::test]
async fn changes_are_made_in_the_order_in_which_they_came_each_at_its_own_time() {
    let (database, _folder) = database().await;
    let (release, _held) = hold(&database);
    let made = Arc::new(Mutex::new(Vec::new()));
    let answers: Vec<_> = (0..100)
        .map(|number| {
            let made = made.clone();
            ask(&database, move |change| {
                made.lock().unwrap().push((number, change.now));
                Ok(())
            })
        })
        .collect();
    drop(release);
    for answer in answers {
        answer.get().await.unwrap();
    }
    let made = made.lock().unwrap();
    assert!(made.iter().map(|(number, _)| *number).eq(0..100));
    assert!(made.is_sorted_by_key(|(_, now)| *now));
    assert_ne!(made[0].1, made[99].1, "the time is read for each");
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_any_more_is_not_begun() {
    let (database, _folder) = database().await;
    let (release, _held) = hold(&database);
    drop(ask(&database, |change| add(change, "dropped")));
    let next = ask(&database, |change| add(change, "next"));
    drop(release);
    next.get().await.unwrap();
    assert!(!is_there(&database, "dropped").await);
}

#[tokio::test]
async fn nobody_waits_for_the_heavy_change_behind() {
    let (database, _folder) = database().await;
    let (release, _held) = hold(&database);
    let light = ask(&database, |change| add(change, "light"));
    let (finish, wait) = channel::<()>();
    let heavy = weighing(&database, MOST_WEIGHT + 1, move |change| {
        let _ = wait.recv();
        add(change, "heavy")
    });
    let behind = ask(&database, |change| add(change, "behind"));
    drop(release);
    let light = timeout(Duration::from_secs(20), light.get()).await;
    light.expect("it waits for the heavy one").unwrap();
    drop(finish);
    heavy.get().await.unwrap();
    behind.get().await.unwrap();
}

#[tokio::test]
async fn what_waits_at_the_end_is_made_and_answered() {
    let (database, folder) = database().await;
    let (release, _held) = hold(&database);
    let answers = ["one", "two"].map(|key| ask(&database, move |change| add(change, key)));
    let mut closing = JoinSet::from_iter([database.close()]);
    drop(release);
    for answer in answers {
        answer.get().await.unwrap();
    }
    closing.join_next().await.unwrap().unwrap().unwrap();
    let file = folder.path().join("runloom.db");
    assert!(!file.with_extension("db-wal").exists(), "the log is folded");
    let connection = connections::writer(&file).unwrap();
    let count = connection.query_one("select count(*) from items", (), |row| row.get::<_, i64>(0));
    assert_eq!(count.unwrap(), 2);
}

#[tokio::test]
async fn readers_neither_wait_for_a_change_nor_see_half_of_it() {
    let (database, _folder) = database().await;
    put(&database, "before", 1).await.unwrap();
    let (start, started) = channel();
    let (finish, wait) = channel::<()>();
    let change = ask(&database, move |change| {
        execute(change, "delete from items", ())?;
        let _ = start.send(());
        let _ = wait.recv();
        Ok(())
    });
    started.recv().unwrap();
    assert!(is_there(&database, "before").await);
    drop(finish);
    change.get().await.unwrap();
    assert!(!is_there(&database, "before").await);
}
