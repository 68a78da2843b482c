//! Deleting history that nobody needs any more.

use runloom_core::database::{DatabaseError, Transit};
use runloom_core::ids::{RunId, ThreadId};
use serde_json::json;

use super::checkpoints::{ids, in_namespace, with_metadata};
use super::scene::{
    Done, Fixture, blob, checkpoint, checkpoint_id, with_channel, write, writes, written,
};

/// Checkpoints of two runs that share a value, and a subgraph's, all of it at rest.
async fn of_two_runs(f: &Fixture) -> Result<(ThreadId, [RunId; 2]), DatabaseError> {
    let thread = f.thread().await?;
    let first = f.running(thread).await?;
    let shared = with_channel(checkpoint(&first, 1), "log", "1", Some(b"shared"));
    let below = with_channel(checkpoint(&first, 1), "log", "1", Some(b"below"));
    let puts = vec![shared, in_namespace(below, "child:1")];
    let beside = vec![writes(1, vec![write("task", 0, b"beside")])];
    f.put(&first, puts, beside).await?;
    f.settle(&first.lease, Transit::Succeed).await?;
    let second = f.running(thread).await?;
    let later = with_channel(checkpoint(&second, 2), "log", "1", None);
    let later = with_channel(later, "own", "2", Some(b"own"));
    let beside = vec![writes(2, vec![write("task", 0, b"latest")])];
    f.put(&second, vec![later], beside).await?;
    assert!(matches!(
        f.db.prune_checkpoints(thread).await,
        Err(DatabaseError::Busy)
    ));
    let busy = f.db.delete_checkpoints(thread, &[first.run.id]).await;
    assert!(matches!(busy, Err(DatabaseError::Busy)));
    f.settle(&second.lease, Transit::Succeed).await?;
    Ok((thread, [first.run.id, second.run.id]))
}

pub(super) async fn checkpoints_of_runs_can_be_deleted(f: Fixture) -> Done {
    let (thread, [first, second]) = of_two_runs(&f).await?;
    f.db.delete_checkpoints(thread, &[]).await?;
    f.db.delete_checkpoints(thread, &[RunId::new()]).await?;
    assert_eq!(f.shelf(thread).await?.len(), 3);
    f.db.delete_checkpoints(thread, &[first]).await?;
    let left = f.shelf(thread).await?;
    assert_eq!(ids(&left), [checkpoint_id(2)]);
    assert_eq!(left[0].channels["log"], blob(b"shared"));
    assert_eq!(written(&left[0]), [("task", &b"latest"[..])]);
    f.db.delete_checkpoints(thread, &[first, second]).await?;
    assert!(f.shelf(thread).await?.is_empty());
    assert!(f.run(second).await.is_ok(), "the record of the run stays");
    // What was deleted leaves nothing behind that would show again.
    let again = f.running(thread).await?;
    let bare = with_channel(checkpoint(&again, 2), "log", "1", None);
    f.put(&again, vec![bare], vec![]).await?;
    let bare = f.latest(thread).await?;
    assert!(bare.channels.is_empty() && bare.writes.is_empty());
    Ok(())
}

pub(super) async fn history_can_be_pruned(f: Fixture) -> Done {
    let (thread, _) = of_two_runs(&f).await?;
    f.db.prune_checkpoints(thread).await?;
    let latest = f.latest(thread).await?;
    assert_eq!(latest.checkpoint.id, checkpoint_id(2));
    assert_eq!(latest.channels["log"], blob(b"shared"));
    assert_eq!(written(&latest), [("task", &b"latest"[..])]);
    let old = f.db.checkpoint(thread, "", Some(&checkpoint_id(1))).await?;
    assert_eq!(old, None);
    let below = f.db.checkpoint(thread, "child:1", None).await?;
    assert_eq!(below.expect("it is kept").channels["log"], blob(b"below"));
    let missing = f.db.prune_checkpoints(ThreadId::new()).await;
    assert!(matches!(missing, Err(DatabaseError::NotFound(_))));
    Ok(())
}

pub(super) async fn pruning_spares_what_values_are_rebuilt_from(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    let thread = held.run.thread_id;
    let counted = json!({"counters_since_delta_snapshot": {"messages": [1, 1]}});
    let puts = (1..=4).map(|number| {
        let new = checkpoint(&held, number);
        if number > 2 {
            with_metadata(new, &counted)
        } else {
            new
        }
    });
    f.put(&held, puts.collect(), vec![]).await?;
    f.settle(&held.lease, Transit::Succeed).await?;
    f.db.prune_checkpoints(thread).await?;
    let left = f.shelf(thread).await?;
    assert_eq!(
        ids(&left),
        [checkpoint_id(4), checkpoint_id(3), checkpoint_id(2)]
    );
    Ok(())
}
