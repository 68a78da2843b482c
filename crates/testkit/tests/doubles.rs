//! The scripted executor behaves as the port says executors do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;
use std::time::Duration;

use runloom_core::checkpoint::CheckpointQuery;
use runloom_core::executor::{Attempt, Ended, Executor, Outcome, StopKind, Work};
use runloom_core::ids::{AssistantId, RunId, ThreadId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::run::{RunError, RunKwargs};
use runloom_testkit::doubles::{Gate, HostCall, HostDouble, ScriptedExecutor, Step, TokioClock};
use serde_json::{Value, json};
use tokio::sync::watch;

fn attempt(thread: ThreadId) -> (watch::Sender<Option<StopKind>>, Attempt) {
    let (stopper, stop) = watch::channel(None);
    let attempt = Attempt {
        run_id: RunId::new(),
        thread_id: thread,
        assistant_id: AssistantId::of_graph(&"agent".into()),
        graph_id: "agent".into(),
        attempt: 1,
        kwargs: RunKwargs {
            input: Some(Json::from_value(&json!({"messages": ["hi"]}))),
            ..RunKwargs::default()
        },
        metadata: JsonMap::new(),
        work: Work::Run,
        stop,
    };
    (stopper, attempt)
}

fn answer(text: &str) -> Step {
    Step::Superstep(json!({"role": "ai", "content": text}))
}

struct Stage {
    executor: ScriptedExecutor,
    host: Arc<HostDouble>,
    thread: ThreadId,
}

impl Stage {
    fn of(script: impl IntoIterator<Item = Step>) -> Self {
        let clock = Arc::new(TokioClock::start());
        let thread = ThreadId::new();
        Self {
            executor: ScriptedExecutor::new(clock.clone()).with("agent", script),
            host: HostDouble::new(thread, clock),
            thread,
        }
    }

    async fn execute(&self, attempt: Attempt) -> Outcome {
        self.executor.execute(attempt, self.host.clone()).await
    }

    fn sources(&self) -> Vec<Value> {
        let stored = self.host.stored(&CheckpointQuery::default()).into_iter();
        stored
            .map(|tuple| tuple.checkpoint.metadata["source"].clone())
            .rev()
            .collect()
    }
}

fn said(outcome: &Outcome) -> Vec<String> {
    let values = outcome.head.as_ref().unwrap().values.to_value();
    let messages = values["messages"].as_array().unwrap().iter();
    messages
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_script_runs_to_its_end() {
    let stage = Stage::of([Step::Emit(json!({"a": 1})), answer("one"), answer("two")]);
    let outcome = stage.execute(attempt(stage.thread).1).await;
    assert_eq!(outcome.ended, Ended::Success);
    assert_eq!(said(&outcome), ["hi", "one", "two"]);
    assert!(outcome.head.unwrap().next.is_empty());
    assert_eq!(stage.sources(), ["input", "loop", "loop"]);
    let emitted: Vec<_> = stage.host.emitted().iter().map(|one| one.event).collect();
    assert_eq!(emitted, ["custom", "values", "values"]);
    let first = &stage.host.calls()[0];
    assert!(matches!(first, HostCall::Checkpoint(_)), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_on_and_does_not_apply_the_input_again() {
    let work = Step::Work(Duration::from_mins(10));
    let stage = Stage::of([answer("one"), work, answer("two")]);
    let (stopper, first) = attempt(stage.thread);
    let second = Attempt {
        attempt: 2,
        ..first.clone()
    };
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stopper.send_replace(Some(StopKind::Interrupt));
    };
    let (outcome, ()) = tokio::join!(stage.execute(first), stopping);
    assert_eq!(outcome.ended, Ended::Stopped);
    assert_eq!(said(&outcome), ["hi", "one"]);
    assert_eq!(outcome.head.unwrap().next, ["script"]);

    stopper.send_replace(None);
    let outcome = stage.execute(second).await;
    assert_eq!(outcome.ended, Ended::Success);
    assert_eq!(said(&outcome), ["hi", "one", "two"]);
    assert_eq!(stage.sources(), ["input", "loop", "loop"]);
    let executions = stage.executor.history().executions();
    assert!(
        executions[0].ended < Some(executions[1].began),
        "{executions:?}"
    );
}

#[tokio::test]
async fn only_the_input_is_applied_when_that_is_asked() {
    let stage = Stage::of([answer("one")]);
    let (_stopper, run) = attempt(stage.thread);
    let visit = Attempt {
        work: Work::ApplyInput,
        ..run
    };
    for _ in 0..2 {
        let outcome = stage.execute(visit.clone()).await;
        assert_eq!(outcome.ended, Ended::Stopped);
        assert_eq!(said(&outcome), ["hi"], "and only once");
    }
    assert_eq!(stage.sources(), ["input"]);
}

#[tokio::test]
async fn stops_are_heeded_or_not_as_the_script_says() {
    let gate = Gate::new();
    let error = RunError::new("E", "m");
    let cases = [
        (Step::AwaitStop, StopKind::Interrupt, "Stopped"),
        (Step::AwaitStop, StopKind::Drain, "Drained"),
        (Step::Pass(gate.clone()), StopKind::Rollback, "Stopped"),
        (Step::FailOnStop, StopKind::Interrupt, "Failed"),
        (Step::Pause, StopKind::Drain, "Drained"),
        (Step::Fail(error.clone()), StopKind::Drain, "Drained"),
    ];
    for (step, kind, expected) in cases {
        let stage = Stage::of([step.clone()]);
        let (stopper, run) = attempt(stage.thread);
        let already = matches!(step, Step::Pause | Step::Fail(_));
        if already {
            stopper.send_replace(Some(kind));
        }
        let stopping = async {
            tokio::task::yield_now().await;
            stopper.send_replace(Some(kind));
        };
        let (outcome, ()) = tokio::join!(stage.execute(run), stopping);
        let ended = format!("{:?}", outcome.ended);
        assert!(ended.starts_with(expected), "{step:?} on {kind}: {ended}");
    }

    let stage = Stage::of([Step::PassDeaf(gate.clone()), answer("on")]);
    let (stopper, run) = attempt(stage.thread);
    let opening = async {
        gate.reached(2).await;
        stopper.send_replace(Some(StopKind::Interrupt));
        stopper.send_replace(None);
        gate.open();
    };
    let (outcome, ()) = tokio::join!(stage.execute(run), opening);
    assert_eq!(outcome.ended, Ended::Success);
}

#[tokio::test]
async fn a_host_fails_waits_and_fences_on_demand() {
    let stage = Stage::of([answer("one")]);
    stage.host.fail_next(1);
    let outcome = stage.execute(attempt(stage.thread).1).await;
    assert!(matches!(outcome.ended, Ended::Retry(_)), "{outcome:?}");

    let gate = Gate::new();
    stage.host.delay_until(gate.clone());
    let opening = async {
        gate.reached(1).await;
        assert_eq!(stage.sources(), [Value::Null; 0], "nothing is stored yet");
        gate.open();
    };
    let (outcome, ()) = tokio::join!(stage.execute(attempt(stage.thread).1), opening);
    assert_eq!(outcome.ended, Ended::Success);

    stage.host.fence();
    let outcome = stage.execute(attempt(stage.thread).1).await;
    assert_eq!(outcome.ended, Ended::Stopped);
}
