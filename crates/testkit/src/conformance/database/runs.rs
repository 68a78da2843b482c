//! Runs: how they are accepted, found and deleted.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures::future::join_all;
use runloom_core::assistant::Assistant;
use runloom_core::bus::RunChange;
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{DatabaseError, Submission, Transit};
use runloom_core::ids::{RunId, ThreadId};
use runloom_core::run::{Durability, RunKwargs, RunStatus};
use runloom_core::search::{Page, RunFilter};
use runloom_core::thread::ThreadStatus;
use serde_json::json;

use super::scene::{
    ALL, Done, Fixture, a_delayed_run, a_run, an_assistant, checkpoint, map, new_thread, text,
};

pub(super) async fn an_accepted_run_is_pending_and_reads_back(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let new = NewRun {
        kwargs: RunKwargs {
            command: Some(text(&json!({"resume": "yes"}))),
            interrupt_before: serde_json::from_value(json!("*")).ok(),
            interrupt_after: serde_json::from_value(json!(["tools"])).ok(),
            webhook: Some("http://127.0.0.1/hook".to_owned()),
            durability: Durability::Exit,
            ..a_run(thread).kwargs
        },
        ..a_run(thread)
    };
    let (run, effects) = f.submit(new.clone()).await?;
    assert_eq!((run.id, run.thread_id), (new.id, thread));
    assert_eq!(run.graph_id, new.assistant.graph_id);
    assert_eq!(run.assistant_id, new.assistant.id);
    assert_eq!((run.created_at, run.updated_at), (f.now(), f.now()));
    assert_eq!((run.status, run.attempt), (RunStatus::Pending, 0));
    assert_eq!(
        (run.cancel, run.worker_id, run.superseded_by),
        (None, None, None)
    );
    assert_eq!((run.error.clone(), run.output.clone()), (None, None));
    assert_eq!(run.kwargs.command, new.kwargs.command);
    assert_eq!(run.policy, new.policy);
    assert_eq!(f.run(run.id).await?, run);
    let pending = RunChange {
        thread_id: thread,
        run_id: run.id,
        status: Some(RunStatus::Pending),
    };
    assert_eq!(effects.changes, [pending]);
    assert_eq!(effects.wakes, [thread]);
    assert_eq!(effects.signals, []);
    Ok(())
}

pub(super) async fn a_document_of_the_user_comes_back_letter_by_letter(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let input = r#"{"z": 1.50, "a":[1e3,  "\u00e9é\u0000"],"a": null}"#;
    let new = NewRun {
        kwargs: RunKwargs {
            input: runloom_core::json::Json::from_text(input.to_owned()).ok(),
            ..RunKwargs::default()
        },
        ..a_run(thread)
    };
    let (run, _) = f.submit(new).await?;
    let stored = f.run(run.id).await?.kwargs.input;
    assert_eq!(
        stored.as_ref().map(runloom_core::json::Json::as_str),
        Some(input)
    );
    Ok(())
}

pub(super) async fn a_run_is_found_only_on_its_own_thread(f: Fixture) -> Done {
    let (thread, other) = (f.thread().await?, f.thread().await?);
    let run = f.accepted(thread).await?;
    assert!(f.db.run(Some(thread), run).await?.is_some());
    assert!(f.db.run(Some(other), run).await?.is_none());
    assert!(f.db.run(None, RunId::new()).await?.is_none());
    Ok(())
}

pub(super) async fn a_run_without_a_thread_is_refused_or_brings_its_own(f: Fixture) -> Done {
    let thread = ThreadId::new();
    let refused = f.db.submit_run(a_run(thread)).await;
    assert!(
        matches!(refused, Err(DatabaseError::NotFound(_))),
        "{refused:?}"
    );
    assert_eq!(f.db.thread(thread).await?, None);

    let new = NewRun {
        metadata: map(&json!({"user": "ada"})),
        if_thread_missing: IfThreadMissing::Create,
        ..a_run(thread)
    };
    let (run, effects) = f.submit(new.clone()).await?;
    let created = f.look(thread).await?;
    assert_eq!(created.status, ThreadStatus::Busy);
    assert_eq!(created.created_at, f.now());
    assert_eq!(created.metadata, new.compose(None).thread_metadata);
    assert_eq!(created.config, new.compose(None).thread_config);
    assert_eq!((run.seq, effects.wakes), (1, vec![thread]));
    Ok(())
}

pub(super) async fn runs_that_create_the_same_thread_at_once_share_it(f: Fixture) -> Done {
    let thread = ThreadId::new();
    let submit = async |_| {
        let new = NewRun {
            if_thread_missing: IfThreadMissing::Create,
            ..a_run(thread)
        };
        f.db.submit_run(new).await
    };
    let mut seqs = BTreeSet::new();
    for submission in join_all((0..5).map(submit)).await {
        let Submission::Accepted(run, _) = submission? else {
            panic!("nothing refuses an enqueued run");
        };
        seqs.insert(run.seq);
    }
    assert_eq!(seqs, BTreeSet::from([1, 2, 3, 4, 5]));
    Ok(())
}

pub(super) async fn submitting_a_run_again_answers_with_it(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let new = a_run(thread);
    let (first, _) = f.submit(new.clone()).await?;
    f.pass(1);
    let (again, effects) = f.submit(new.clone()).await?;
    assert_eq!(again, first);
    assert_eq!(effects.wakes, [thread], "the first hint may be lost");
    assert_eq!(f.db.runs(thread, RunFilter::default(), ALL).await?.len(), 1);

    let worker = f.worker().await?;
    let claimed = f.claim(thread, worker).await?;
    f.settle(&claimed.lease, Transit::Succeed).await?;
    let (again, effects) = f.submit(new).await?;
    assert_eq!(again.status, RunStatus::Success);
    assert_eq!(effects.wakes, [], "there is nothing to claim");
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Idle);
    Ok(())
}

pub(super) async fn configuration_comes_from_assistant_thread_and_request(f: Fixture) -> Done {
    let thread =
        f.db.create_thread(new_thread(&json!({"user": "ada"})))
            .await?;
    let new = NewRun {
        assistant: Assistant {
            config: map(&json!({"tags": ["x"], "configurable": {"model": "m1", "depth": 1}})),
            metadata: map(&json!({"team": "t"})),
            ..an_assistant()
        },
        kwargs: RunKwargs {
            config: map(&json!({"configurable": {"model": "m2"}})),
            ..a_run(thread.id).kwargs
        },
        server_configurable: map(&json!({"request": "r"})),
        ..a_run(thread.id)
    };
    let composed = new.compose(Some(&thread));
    let (run, _) = f.submit(new).await?;
    assert_eq!(run.kwargs, composed.kwargs);
    assert_eq!(run.metadata, composed.metadata);
    let after = f.look(thread.id).await?;
    assert_eq!(after.metadata, composed.thread_metadata);
    assert_eq!(after.config, composed.thread_config);

    // The next run inherits what the first one left on the thread.
    let next = a_run(thread.id);
    let inherited = next.compose(Some(&after));
    assert_eq!(inherited.kwargs.config["configurable"]["model"], "m2");
    assert_eq!(f.submit(next).await?.0.kwargs, inherited.kwargs);
    Ok(())
}

pub(super) async fn acceptance_is_ordered_though_the_clock_steps_back(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let first = f.submit(a_run(thread)).await?.0;
    f.clock.step_back(std::time::Duration::from_secs(5));
    let second = f.submit(a_run(thread)).await?.0;
    let third = f.submit(a_delayed_run(thread, 1)).await?.0;
    assert_eq!(second.created_at, first.created_at);
    assert_eq!(third.created_at, first.created_at + TimeDelta::seconds(1));
    assert_eq!([first.seq, second.seq, third.seq], [1, 2, 3]);
    let other = f.submit(a_run(f.thread().await?)).await?.0;
    assert_eq!(
        other.created_at,
        f.now(),
        "each thread has an order of its own"
    );
    Ok(())
}

pub(super) async fn a_delayed_run_is_due_when_its_time_comes(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let (run, effects) = f.submit(a_delayed_run(thread, 30)).await?;
    assert_eq!(run.created_at, f.now() + TimeDelta::seconds(30));
    assert_eq!(effects.wakes, [], "there is nothing to claim yet");
    assert_eq!(f.look(thread).await?.status, ThreadStatus::Busy);
    f.pass(29);
    assert!(f.is_empty(thread).await?);
    f.pass(1);
    let worker = f.worker().await?;
    assert_eq!(f.claim(thread, worker).await?.run.id, run.id);
    Ok(())
}

pub(super) async fn a_negative_delay_is_none(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let first = f.accepted(thread).await?;
    let (run, _) = f.submit(a_delayed_run(thread, -30)).await?;
    assert_eq!(run.created_at, f.now());
    let worker = f.worker().await?;
    assert_eq!(
        f.claim(thread, worker).await?.run.id,
        first,
        "it does not jump the queue"
    );
    Ok(())
}

pub(super) async fn a_delayed_run_lets_others_pass(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let delayed = f.submit(a_delayed_run(thread, 30)).await?.0.id;
    let (prompt, effects) = f.submit(a_run(thread)).await?;
    assert_eq!(effects.wakes, [thread]);
    let worker = f.worker().await?;
    let claimed = f.claim(thread, worker).await?;
    assert_eq!(claimed.run.id, prompt.id);
    f.pass(31);
    let late = f.accepted(thread).await?;
    f.settle(&claimed.lease, Transit::Succeed).await?;
    for expected in [delayed, late] {
        let worker = f.worker().await?;
        let claimed = f.claim(thread, worker).await?;
        assert_eq!(claimed.run.id, expected);
        f.settle(&claimed.lease, Transit::Succeed).await?;
    }
    Ok(())
}

pub(super) async fn no_wake_is_asked_for_on_a_held_thread(f: Fixture) -> Done {
    let thread = f.thread().await?;
    f.running(thread).await?;
    let (_, effects) = f.submit(a_run(thread)).await?;
    assert_eq!(effects.wakes, [], "the settlement will take it");
    Ok(())
}

pub(super) async fn runs_are_listed_newest_first(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let first = f.accepted(thread).await?;
    let second = f.accepted(thread).await?;
    f.pass(1);
    let third = f.accepted(thread).await?;
    f.accepted(f.thread().await?).await?;
    let worker = f.worker().await?;
    let claimed = f.claim(thread, worker).await?;
    f.settle(&claimed.lease, Transit::Succeed).await?;

    let list = async |status, page| -> Result<Vec<RunId>, DatabaseError> {
        let runs = f.db.runs(thread, RunFilter { status }, page).await?;
        Ok(runs.into_iter().map(|run| run.id).collect())
    };
    assert_eq!(list(None, ALL).await?, [third, second, first]);
    assert_eq!(list(Some(RunStatus::Pending), ALL).await?, [third, second]);
    assert_eq!(list(Some(RunStatus::Success), ALL).await?, [first]);
    let page = Page {
        limit: 1,
        offset: 1,
    };
    assert_eq!(list(None, page).await?, [second]);
    assert_eq!(
        f.db.runs(ThreadId::new(), RunFilter::default(), ALL)
            .await?,
        []
    );
    Ok(())
}

pub(super) async fn a_run_that_is_over_can_be_deleted(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let claimed = f.running(thread).await?;
    let run = claimed.run.id;
    f.put(&claimed, vec![checkpoint(&claimed, 1)], vec![])
        .await?;
    let refused = f.db.delete_run(thread, run).await;
    assert!(matches!(refused, Err(DatabaseError::Busy)), "{refused:?}");
    f.settle(&claimed.lease, Transit::Succeed).await?;
    let before = (f.look(thread).await?, f.shelf(thread).await?);

    let elsewhere = f.db.delete_run(f.thread().await?, run).await;
    assert!(
        matches!(elsewhere, Err(DatabaseError::NotFound(_))),
        "{elsewhere:?}"
    );
    f.db.delete_run(thread, run).await?;
    assert!(f.is_gone(run).await?);
    assert_eq!((f.look(thread).await?, f.shelf(thread).await?), before);
    let again = f.db.delete_run(thread, run).await;
    assert!(
        matches!(again, Err(DatabaseError::NotFound(_))),
        "{again:?}"
    );
    Ok(())
}

pub(super) async fn a_pending_run_is_not_deleted_but_rolled_back(f: Fixture) -> Done {
    let thread = f.thread().await?;
    let run = f.accepted(thread).await?;
    let refused = f.db.delete_run(thread, run).await;
    assert!(matches!(refused, Err(DatabaseError::Busy)), "{refused:?}");
    f.run(run).await?;
    Ok(())
}
