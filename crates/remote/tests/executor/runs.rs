//! Runs that come to an end of their own.

use std::sync::Arc;

use async_trait::async_trait;
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites};
use runloom_core::database::Items;
use runloom_core::executor::{
    CheckpointReader, Emission, Ended, Executor, Host, HostError, StopKind, Work,
};
use runloom_core::ids::CheckpointId;
use runloom_core::json::Json;
use runloom_testkit::doubles::{Gate as Latch, HostDouble};
use serde_json::{Value, json};

use crate::support::{Gate, Run, Thread, ended, executor, values};

#[tokio::test]
async fn a_run_comes_to_its_end_and_its_checkpoints_are_its_own() {
    let executor = executor().await;
    let (thread, gate) = (Thread::new(), Gate::open());
    let run = Run::steps(&thread, &gate, &["in"]);
    let outcome = run.execute(&executor).await;
    assert_eq!(outcome.ended, Ended::Success);
    assert_eq!(
        values(&outcome)["entries"],
        json!(["in", "first", "second"])
    );

    let stored = thread.host.stored(&CheckpointQuery::default());
    assert!(stored.len() >= 3, "{} checkpoints", stored.len());
    for tuple in &stored {
        assert_eq!(tuple.checkpoint.run_id, Some(run.attempt.run_id));
        assert_eq!(tuple.checkpoint.metadata["user"], "ann");
    }
    let head = outcome.head.unwrap();
    assert_eq!(head.checkpoint_id.as_ref(), Some(&stored[0].checkpoint.id));
    assert_eq!(head.next, Vec::<String>::new());
    let shown = thread.events("values");
    assert_eq!(
        shown.last().unwrap()["entries"],
        json!(["in", "first", "second"])
    );
    assert_eq!(thread.events("custom"), ["waiting"]);
}

#[tokio::test]
async fn an_attempt_continues_what_an_earlier_one_of_the_same_run_began() {
    let executor = executor().await;
    let (thread, gate) = (Thread::new(), Gate::open());
    let run = Run::steps(&thread, &gate, &["in"]);
    run.execute(&executor).await;
    let again = run.with(|attempt| attempt.attempt = 2);
    let outcome = again.execute(&executor).await;
    assert_eq!(outcome.ended, Ended::Success);
    assert_eq!(
        values(&outcome)["entries"],
        json!(["in", "first", "second"])
    );
}

#[tokio::test]
async fn a_run_that_asks_a_human_pauses_and_a_command_answers_it() {
    let executor = executor().await;
    let thread = Thread::new();
    let outcome = Run::of("ask", &thread, &json!({"entries": []}))
        .execute(&executor)
        .await;
    assert_eq!(outcome.ended, Ended::Paused);
    let head = outcome.head.unwrap();
    assert_eq!(head.next, ["question"]);
    let asked: Vec<&Value> = head.interrupts.values().collect();
    assert_eq!(asked[0][0]["value"], "who?");

    let answer = Run::of("ask", &thread, &Value::Null).with(|attempt| {
        attempt.kwargs.command = Some(Json::from_value(&json!({"resume": "ann"})));
    });
    let outcome = answer.execute(&executor).await;
    assert_eq!(outcome.ended, Ended::Success);
    assert_eq!(values(&outcome)["entries"], json!(["ann"]));
}

#[tokio::test]
async fn a_run_fails_with_the_error_of_its_graph() {
    let executor = executor().await;
    let outcome = Run::of("fail", &Thread::new(), &json!({"entries": []}))
        .execute(&executor)
        .await;
    let Ended::Failed(error) = outcome.ended else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.error, "KeyError");
    assert!(error.message.contains("nothing there"), "{error:?}");
}

#[tokio::test]
async fn a_graph_that_cannot_be_loaded_is_listed_and_its_runs_say_why() {
    let executor = executor().await;
    let graphs: Vec<_> = executor
        .graphs()
        .into_iter()
        .map(|graph| graph.id.0)
        .collect();
    let listed = [
        "ask", "block", "broken", "chat", "fail", "flood", "hanging", "missing", "remember",
        "steps",
    ];
    assert_eq!(graphs, listed);
    let reports = executor.reports();
    let broken: Vec<_> = reports
        .iter()
        .filter(|report| report.error.is_some())
        .collect();
    assert_eq!(broken.len(), 2);
    assert_eq!(broken[0].id, "broken".into());
    assert_eq!(broken[1].id, "missing".into());
    let missing = broken[1].error.as_ref().unwrap();
    assert_eq!(missing.kind, "FileNotFoundError");

    let outcome = Run::of("broken", &Thread::new(), &json!({}))
        .execute(&executor)
        .await;
    let Ended::Failed(error) = outcome.ended else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.error, "GraphLoadError");
    assert!(
        error.message.contains("no_such_module_anywhere"),
        "{error:?}"
    );
    let chat = executor
        .graphs()
        .into_iter()
        .find(|graph| graph.id == "chat".into());
    assert_eq!(chat.unwrap().messages_channel.as_deref(), Some("messages"));
}

#[tokio::test]
async fn the_input_of_a_superseded_run_is_applied_without_executing_a_node() {
    let executor = executor().await;
    let thread = Thread::new();
    let visit = Run::of("steps", &thread, &json!({"entries": ["in"]}))
        .with(|attempt| attempt.work = Work::ApplyInput);
    let outcome = visit.execute(&executor).await;
    assert_eq!(outcome.ended, Ended::Stopped);
    assert_eq!(values(&outcome)["entries"], json!(["in"]));
    assert!(thread.host.emitted().is_empty());
    let stored = thread.host.stored(&CheckpointQuery::default()).len();
    visit.execute(&executor).await;
    assert_eq!(
        thread.host.stored(&CheckpointQuery::default()).len(),
        stored,
        "applied once"
    );
}

#[tokio::test]
async fn a_run_that_is_asked_to_stop_before_it_began_does_nothing() {
    let executor = executor().await;
    for (kind, expected) in [
        (StopKind::Interrupt, Ended::Stopped),
        (StopKind::Drain, Ended::Drained),
    ] {
        let run = Run::of("steps", &Thread::new(), &json!({"entries": ["in"]}));
        run.ask_to_stop(kind);
        let outcome = run.execute(&executor).await;
        assert_eq!(outcome.ended, expected);
        assert!(run.thread.host.calls().is_empty());
    }
}

#[tokio::test]
async fn an_attempt_that_lost_its_thread_ends_at_once() {
    let executor = executor().await;
    let (thread, gate) = (Thread::new(), Gate::closed());
    thread.host.fence();
    let run = Run::steps(&thread, &gate, &["in"]);
    let outcome = run.execute(&executor).await;
    assert!(
        !matches!(outcome.ended, Ended::Success | Ended::Failed(_)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn graphs_have_a_long_term_memory() {
    let executor = executor().await;
    let thread = Thread::new();
    let outcome = Run::of("remember", &thread, &json!({"entries": []}))
        .execute(&executor)
        .await;
    assert_eq!(outcome.ended, Ended::Success);
    assert_eq!(
        values(&outcome)["entries"],
        json!(["hello", "notes.of-ann", "None"])
    );
    let item = thread
        .host
        .items()
        .item(&["notes".into(), "of-ann".into()], "one")
        .await;
    assert_eq!(
        item.unwrap().unwrap().value.to_value(),
        json!({"text": "hello"})
    );
}

/// A host whose readers are slow: nothing is published until the latch opens.
struct Slow {
    inner: Arc<HostDouble>,
    latch: Arc<Latch>,
}

#[async_trait]
impl CheckpointReader for Slow {
    async fn checkpoint(
        &self,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, HostError> {
        self.inner.checkpoint(ns, id).await
    }

    async fn checkpoints(&self, query: CheckpointQuery) -> Result<Vec<CheckpointTuple>, HostError> {
        self.inner.checkpoints(query).await
    }
}

#[async_trait]
impl Host for Slow {
    async fn put_checkpoint(&self, checkpoint: NewCheckpoint) -> Result<(), HostError> {
        self.inner.put_checkpoint(checkpoint).await
    }

    async fn put_writes(&self, writes: NewWrites) -> Result<(), HostError> {
        self.inner.put_writes(writes).await
    }

    async fn emit(&self, events: Vec<Emission>) {
        self.latch.pass().await;
        self.inner.emit(events).await;
    }

    fn items(&self) -> Arc<dyn Items> {
        self.inner.items()
    }
}

#[tokio::test]
async fn slow_readers_hold_up_a_run_but_neither_its_neighbours_nor_its_stop() {
    let executor = executor().await;
    let (thread, latch) = (Thread::new(), Latch::new());
    let host = Arc::new(Slow {
        inner: thread.host.clone(),
        latch: latch.clone(),
    });
    let input = json!({"entries": []});
    let flood = Run::of("flood", &thread, &input);
    let attempt = flood.attempt.clone();
    let slow = executor.clone();
    #[expect(clippy::disallowed_methods, reason = "it is waited for below")]
    let flooding = tokio::spawn(async move { slow.execute(attempt, host).await });

    // Many more events than there is credit for, all of them by others, at the same time.
    let other = Thread::new();
    let outcome = Run::of("flood", &other, &input).execute(&executor).await;
    assert_eq!(outcome.ended, Ended::Success);
    assert!(!flooding.is_finished());
    latch.open();
    let outcome = ended(flooding).await;
    assert_eq!(outcome.ended, Ended::Success);
    for thread in [&thread, &other] {
        let numbers = thread.events("custom");
        let numbers: Vec<_> = numbers
            .iter()
            .map(|event| event["number"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    }
}
