//! Checkpoints: what is stored, and who may store.

use runloom_core::checkpoint::{Checkpoint, CheckpointQuery, NewCheckpoint, PendingWrite};
use runloom_core::database::{DatabaseError, Guard, Transit};
use runloom_core::ids::{CheckpointId, ClaimId, RunId, ThreadId};
use runloom_core::lease::Fence;
use runloom_core::run::RunError;
use runloom_core::thread::ThreadStatus;
use serde_json::{Value, json};

use super::scene::{
    Done, Fixture, a_delayed_run, blob, checkpoint, checkpoint_id, finished, map,
    outside_checkpoint, settled_as, text, unfinished, with_channel, write, writes, written,
};

pub(super) fn ids(tuples: &[runloom_core::checkpoint::CheckpointTuple]) -> Vec<CheckpointId> {
    tuples
        .iter()
        .map(|tuple| tuple.checkpoint.id.clone())
        .collect()
}

pub(super) fn in_namespace(new: NewCheckpoint, ns: &str) -> NewCheckpoint {
    NewCheckpoint {
        checkpoint: Checkpoint {
            ns: ns.to_owned(),
            ..new.checkpoint
        },
        ..new
    }
}

pub(super) fn with_metadata(new: NewCheckpoint, metadata: &Value) -> NewCheckpoint {
    NewCheckpoint {
        checkpoint: Checkpoint {
            metadata: map(metadata),
            ..new.checkpoint
        },
        ..new
    }
}

pub(super) async fn a_checkpoint_comes_back_byte_for_byte(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    let bytes: Vec<u8> = (0..=255).collect();
    let mut new = with_channel(checkpoint(&held, 1), "log", "000.7", Some(&bytes));
    new.checkpoint.head = blob(&bytes);
    new.checkpoint.metadata = map(&json!({"source": "input", "step": -1, "parents": {"": "x"}}));
    let write = PendingWrite {
        task_path: "~__pregel_pull, ünï".to_owned(),
        ..write("task", 3, &bytes)
    };
    f.put(
        &held,
        vec![new.clone()],
        vec![writes(1, vec![write.clone()])],
    )
    .await?;
    let stored = f.latest(held.run.thread_id).await?;
    assert_eq!(stored.checkpoint, new.checkpoint);
    assert_eq!(
        stored.channels.into_iter().collect::<Vec<_>>(),
        [("log".to_owned(), blob(&bytes))]
    );
    assert_eq!(stored.writes, [write]);
    Ok(())
}

pub(super) async fn the_latest_checkpoint_is_the_greatest(f: Fixture) -> Done {
    let thread = f.thread().await?;
    assert_eq!(f.db.checkpoint(thread, "", None).await?, None);
    let held = f.running(thread).await?;
    for number in [2, 3, 1] {
        f.put(&held, vec![checkpoint(&held, number)], vec![])
            .await?;
    }
    assert_eq!(f.latest(thread).await?.checkpoint.id, checkpoint_id(3));
    let second = f.db.checkpoint(thread, "", Some(&checkpoint_id(2))).await?;
    assert_eq!(
        second.map(|tuple| tuple.checkpoint.id),
        Some(checkpoint_id(2))
    );
    assert_eq!(
        f.db.checkpoint(thread, "", Some(&checkpoint_id(9))).await?,
        None
    );
    assert_eq!(f.db.checkpoint(ThreadId::new(), "", None).await?, None);
    Ok(())
}

pub(super) async fn namespaces_are_apart(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    let thread = held.run.thread_id;
    let root = with_channel(checkpoint(&held, 1), "log", "v", Some(b"root"));
    let below = with_channel(checkpoint(&held, 2), "log", "v", Some(b"below"));
    f.put(&held, vec![root, in_namespace(below, "child:1")], vec![])
        .await?;
    assert_eq!(f.latest(thread).await?.channels["log"], blob(b"root"));
    let below = f.db.checkpoint(thread, "child:1", None).await?;
    assert_eq!(
        below.map(|tuple| tuple.channels["log"].clone()),
        Some(blob(b"below"))
    );
    assert_eq!(f.db.checkpoint(thread, "child", None).await?, None);
    assert_eq!(
        f.db.checkpoint(thread, "child:1", Some(&checkpoint_id(1)))
            .await?,
        None
    );
    Ok(())
}

pub(super) async fn a_value_is_stored_once_and_shared(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    let first = with_channel(checkpoint(&held, 1), "log", "v1", Some(b"one"));
    let second = with_channel(checkpoint(&held, 2), "log", "v1", None);
    let second = with_channel(second, "count", "v2", Some(b"2"));
    let third = with_channel(checkpoint(&held, 3), "log", "v3", Some(b"three"));
    f.put(&held, vec![first], vec![]).await?;
    f.put(&held, vec![second, third], vec![]).await?;
    let shelf = f.shelf(held.run.thread_id).await?;
    let logs: Vec<_> = shelf
        .iter()
        .map(|tuple| tuple.channels["log"].clone())
        .collect();
    assert_eq!(logs, [blob(b"three"), blob(b"one"), blob(b"one")]);
    assert_eq!(shelf[1].channels["count"], blob(b"2"));
    assert_eq!(shelf[0].channels.len(), 1, "only what the checkpoint names");
    Ok(())
}

pub(super) async fn an_empty_value_is_a_value(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    let mut new = with_channel(checkpoint(&held, 1), "log", "v1", Some(b""));
    new.checkpoint.head = blob(b"");
    let beside = writes(1, vec![write("a", 0, b"")]);
    f.put(&held, vec![new], vec![beside]).await?;
    let stored = f.latest(held.run.thread_id).await?;
    assert_eq!(stored.checkpoint.head, blob(b""));
    assert_eq!(stored.channels["log"], blob(b""));
    assert_eq!(stored.writes[0].blob, blob(b""));
    Ok(())
}

pub(super) async fn a_version_keeps_its_first_value(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    for value in [b"first", b"other"] {
        let new = with_channel(checkpoint(&held, 1), "log", "v", Some(value));
        f.put(&held, vec![new], vec![]).await?;
    }
    assert_eq!(
        f.latest(held.run.thread_id).await?.channels["log"],
        blob(b"first")
    );
    Ok(())
}

pub(super) async fn storing_again_is_harmless(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    let new = with_channel(checkpoint(&held, 1), "log", "v", Some(b"value"));
    let beside = writes(1, vec![write("a", 0, b"x"), write("a", -1, b"y")]);
    f.put(&held, vec![new.clone()], vec![beside.clone()])
        .await?;
    let before = f.shelf(held.run.thread_id).await?;
    f.put(&held, vec![new], vec![beside]).await?;
    assert_eq!(f.shelf(held.run.thread_id).await?, before);
    Ok(())
}

pub(super) async fn pending_writes_are_ordered_by_path_task_and_index(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    let at = |path: &str, task, index, data| PendingWrite {
        task_path: path.to_owned(),
        ..write(task, index, data)
    };
    let new = vec![
        at("b", "task-1", 0, b"5"),
        at("a", "task-3", 1, b"4"),
        at("a", "task-3", 0, b"3"),
        at("a", "task-3", -1, b"2"),
        at("a", "task-2", 10, b"1"),
    ];
    f.put(&held, vec![checkpoint(&held, 1)], vec![writes(1, new)])
        .await?;
    let stored = f.latest(held.run.thread_id).await?;
    let order: Vec<_> = stored
        .writes
        .iter()
        .map(|write| write.blob.data.as_ref())
        .collect();
    assert_eq!(order, [b"1", b"2", b"3", b"4", b"5"]);
    Ok(())
}

pub(super) async fn an_ordinary_write_is_made_once_and_a_special_one_replaced(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    f.put(&held, vec![checkpoint(&held, 1)], vec![]).await?;
    for data in [b"first", b"again"] {
        let new = vec![write("a", 0, data), write("b", -3, data)];
        f.put(&held, vec![], vec![writes(1, new)]).await?;
    }
    let stored = f.latest(held.run.thread_id).await?;
    let expected: [(&str, &[u8]); 2] = [("a", b"first"), ("b", b"again")];
    assert_eq!(written(&stored), expected);
    Ok(())
}

pub(super) async fn writes_belong_to_one_checkpoint_of_one_namespace(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    let thread = held.run.thread_id;
    let below = in_namespace(checkpoint(&held, 1), "child:1");
    let new = vec![checkpoint(&held, 1), checkpoint(&held, 2), below];
    f.put(&held, new, vec![writes(1, vec![write("a", 0, b"x")])])
        .await?;
    let first = f.db.checkpoint(thread, "", Some(&checkpoint_id(1))).await?;
    assert_eq!(first.map(|tuple| tuple.writes.len()), Some(1));
    assert_eq!(f.latest(thread).await?.writes, []);
    let below = f.db.checkpoint(thread, "child:1", None).await?;
    assert_eq!(below.map(|tuple| tuple.writes.len()), Some(0));
    Ok(())
}

pub(super) async fn writes_may_come_before_their_checkpoint(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    f.put(&held, vec![], vec![writes(1, vec![write("a", 0, b"x")])])
        .await?;
    assert_eq!(f.db.checkpoint(held.run.thread_id, "", None).await?, None);
    f.put(&held, vec![checkpoint(&held, 1)], vec![]).await?;
    let expected: [(&str, &[u8]); 1] = [("a", b"x")];
    assert_eq!(written(&f.latest(held.run.thread_id).await?), expected);
    Ok(())
}

pub(super) async fn checkpoints_are_listed_newest_first(f: Fixture) -> Done {
    let held = f.running(f.thread().await?).await?;
    let thread = held.run.thread_id;
    let new = |number, source: &str| {
        let metadata = json!({"source": source, "writes": {"tags": ["x", source]}});
        with_metadata(checkpoint(&held, number), &metadata)
    };
    let below = in_namespace(new(4, "loop"), "child:1");
    let all = vec![new(1, "input"), new(2, "loop"), new(3, "loop"), below];
    f.put(&held, all, vec![writes(2, vec![write("a", 0, b"x")])])
        .await?;

    let list = async |query| Ok::<_, DatabaseError>(ids(&f.db.checkpoints(thread, query).await?));
    let numbered = |numbers: &[u32]| {
        numbers
            .iter()
            .copied()
            .map(checkpoint_id)
            .collect::<Vec<_>>()
    };
    let any = CheckpointQuery::default;
    assert_eq!(list(any()).await?, numbered(&[4, 3, 2, 1]));
    let root = CheckpointQuery {
        ns: Some(String::new()),
        ..any()
    };
    assert_eq!(list(root.clone()).await?, numbered(&[3, 2, 1]));
    let older = CheckpointQuery {
        before: Some(checkpoint_id(3)),
        ..root.clone()
    };
    assert_eq!(list(older).await?, numbered(&[2, 1]));
    let few = CheckpointQuery {
        limit: Some(2),
        ..root.clone()
    };
    assert_eq!(list(few).await?, numbered(&[3, 2]));
    let few_loops = CheckpointQuery {
        metadata: map(&json!({"source": "loop", "writes": {"tags": ["loop"]}})),
        limit: Some(1),
        before: Some(checkpoint_id(3)),
        ..root
    };
    let found = f.db.checkpoints(thread, few_loops).await?;
    assert_eq!(ids(&found), numbered(&[2]));
    assert_eq!(
        found[0].writes.len(),
        1,
        "a list has writes and values, too"
    );
    assert_eq!(f.shelf(ThreadId::new()).await?, []);
    Ok(())
}

pub(super) async fn only_the_attempt_that_holds_the_thread_writes(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let fence = held.lease.fence;
    let older = Fence {
        epoch: fence.epoch - 1,
        ..fence
    };
    let other = Fence {
        claim: ClaimId::new(),
        ..fence
    };
    let guards = [
        Guard::Attempt(older, held.run.id),
        Guard::Attempt(other, held.run.id),
        Guard::Attempt(fence, RunId::new()),
    ];
    for guard in guards {
        let new = with_channel(checkpoint(&held, 1), "log", "v", Some(b"x"));
        let beside = vec![writes(1, vec![write("a", 0, b"x")])];
        let refused = f.db.put_checkpoints(thread, guard, vec![new], beside).await;
        assert!(matches!(refused, Err(DatabaseError::Fenced)), "{refused:?}");
    }
    let elsewhere = f.thread().await?;
    let guard = Guard::Attempt(fence, held.run.id);
    let refused = f.db.put_checkpoints(elsewhere, guard, vec![], vec![]).await;
    assert!(matches!(refused, Err(DatabaseError::Fenced)), "{refused:?}");

    f.put(
        &held,
        vec![with_channel(checkpoint(&held, 1), "log", "v", None)],
        vec![],
    )
    .await?;
    let stored = f.latest(thread).await?;
    assert!(
        stored.channels.is_empty() && stored.writes.is_empty(),
        "a refusal left something"
    );
    Ok(())
}

pub(super) async fn a_settled_attempt_writes_nothing_more(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.accepted(thread).await?;
    let settlement = settled_as(Transit::Succeed);
    f.db.settle(&held.lease, settlement, Some(ClaimId::new()))
        .await?;
    let refused = f.put(&held, vec![checkpoint(&held, 1)], vec![]).await;
    assert!(matches!(refused, Err(DatabaseError::Fenced)), "{refused:?}");
    assert_eq!(f.shelf(thread).await?, []);
    Ok(())
}

pub(super) async fn an_update_from_outside_becomes_the_state_of_the_thread(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    f.put(&held, vec![checkpoint(&held, 1)], vec![]).await?;
    f.settle(&held.lease, Transit::Fail(RunError::new("E", "m")))
        .await?;
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Error);
    f.pass(1);
    let changed = unfinished(&json!({"n": 2}));
    let guard = Guard::Idle {
        seen: Some(checkpoint_id(1)),
        head: changed.clone(),
    };
    let new = vec![outside_checkpoint(thread, 2)];
    f.db.put_checkpoints(thread, guard, new.clone(), vec![])
        .await?;
    assert_eq!(f.latest(thread).await?.checkpoint, new[0].checkpoint);
    let after = f.look(thread).await?;
    assert_eq!(
        after.status,
        ThreadStatus::Interrupted,
        "what failed was mended"
    );
    assert_eq!((after.values, after.error), (Some(changed.values), None));
    assert_eq!(
        (after.updated_at, after.state_updated_at),
        (f.now(), f.now())
    );
    Ok(())
}

pub(super) async fn an_update_is_refused_while_a_run_is_in_flight(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let update = async || {
        let guard = Guard::Idle {
            seen: None,
            head: finished(&json!({})),
        };
        let new = vec![outside_checkpoint(thread, 1)];
        f.db.put_checkpoints(thread, guard, new, vec![]).await
    };
    f.submit(a_delayed_run(thread, 5)).await?;
    let refused = update().await;
    assert!(matches!(refused, Err(DatabaseError::Busy)), "{refused:?}");
    f.pass(5);
    let worker = f.worker().await?;
    let held = f.claim(thread, worker).await?;
    let refused = update().await;
    assert!(matches!(refused, Err(DatabaseError::Busy)), "{refused:?}");
    assert_eq!(f.shelf(thread).await?, []);
    f.settle(&held.lease, Transit::Succeed).await?;
    update().await
}

pub(super) async fn an_update_is_refused_when_the_state_has_changed(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let update = async |seen: Option<u32>, number| {
        let guard = Guard::Idle {
            seen: seen.map(checkpoint_id),
            head: finished(&json!({ "n": number })),
        };
        let new = vec![outside_checkpoint(thread, number)];
        f.db.put_checkpoints(thread, guard, new, vec![]).await
    };
    update(None, 1).await?;
    for seen in [None, Some(7)] {
        let refused = update(seen, 2).await;
        assert!(
            matches!(refused, Err(DatabaseError::Changed)),
            "{refused:?}"
        );
    }
    assert_eq!(f.look(thread).await?.values, Some(text(&json!({"n": 1}))));
    update(Some(1), 2).await?;
    let nowhere = Guard::Idle {
        seen: None,
        head: finished(&json!({})),
    };
    let refused =
        f.db.put_checkpoints(ThreadId::new(), nowhere, vec![], vec![])
            .await;
    assert!(
        matches!(refused, Err(DatabaseError::NotFound(_))),
        "{refused:?}"
    );
    Ok(())
}

pub(super) async fn a_fork_is_the_latest_and_leaves_the_old_branch(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let held = f.running(thread).await?;
    let new = (1..=3).map(|number| checkpoint(&held, number)).collect();
    f.put(&held, new, vec![]).await?;
    f.settle(&held.lease, Transit::Succeed).await?;
    let mut fork = outside_checkpoint(thread, 4);
    fork.checkpoint.parent = Some(checkpoint_id(1));
    let guard = Guard::Idle {
        seen: Some(checkpoint_id(3)),
        head: finished(&json!({})),
    };
    f.db.put_checkpoints(thread, guard, vec![fork], vec![])
        .await?;
    let shelf = f.shelf(thread).await?;
    let parents: Vec<_> = shelf
        .iter()
        .map(|tuple| tuple.checkpoint.parent.clone())
        .collect();
    assert_eq!(
        parents,
        [1, 2, 1, 0].map(|number| Some(checkpoint_id(number)))
    );
    Ok(())
}
