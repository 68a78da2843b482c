//! Where attempts begin: inputs, commands, older checkpoints, second attempts.

use runloom_core::checkpoint::{
    Blob, NULL_TASK, NewWrites, PendingWrite, RESIDUE_INDEX, RESIDUE_PATH,
};
use runloom_core::executor::{Executor, Host, StopKind, Work};
use runloom_graph::{END, StateGraph};
use serde_json::{Value, json};

use crate::bench::{Bench, Request, ms, word};
use crate::nodes::{ask, input, log_graph, say, say_after, wait_forever};

fn two_steps() -> Bench {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .sequence(["a", "b"]);
    Bench::new(graph.compile().unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_empty_thread_needs_an_input() {
    let bench = two_steps();
    for request in [
        Request::resume(),
        Request::input(Value::Null),
        Request::command(json!({"resume": 1})),
        Request::resume().at_checkpoint("1f1e6c37-25d4-6e0a-bfff-9d184338a043"),
    ] {
        let outcome = bench.run(&request).await;
        assert_eq!(word(&outcome), "failed EmptyInputError");
        assert_eq!(outcome.head.unwrap().checkpoint_id, None);
    }
    assert_eq!(bench.puts(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_input_that_no_graph_takes_writes_nothing() {
    let graph = StateGraph::new()
        .messages()
        .node("n", wait_forever())
        .sequence(["n"]);
    let bench = Bench::new(graph.compile().unwrap());
    for wrong in [
        json!(5),
        json!({"messages": [{"role": "robot", "content": "x"}]}),
    ] {
        let outcome = bench.run(&Request::input(wrong)).await;
        assert_eq!(word(&outcome), "failed InvalidUpdateError");
    }
    assert_eq!(bench.puts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_input_builds_upon_the_first() {
    let bench = two_steps();
    bench.succeed(input()).await;
    assert_eq!(
        bench.succeed(json!({"log": "more"})).await,
        json!({"log": ["in", "a", "b", "more", "a", "b"]})
    );
    let steps = ["input -1", "loop 0", "loop 1", "loop 2"];
    let more = ["input 3", "loop 4", "loop 5", "loop 6"];
    assert_eq!(bench.steps(), [steps, more].concat());
}

#[tokio::test(start_paused = true)]
async fn checkpoints_carry_the_runs_metadata() {
    let bench = two_steps();
    let request = Request::input(input()).with(|kwargs| {
        let configurable = json!({"user": "u", "langgraph_x": 1, "__y": 1, "list": []});
        kwargs
            .config
            .insert("configurable".to_owned(), configurable);
    });
    let mut attempt = bench.attempt(&request);
    attempt.metadata.insert("mine".to_owned(), json!(1));
    bench.executor.execute(attempt, bench.host.clone()).await;
    for tuple in bench.stored() {
        let metadata = &tuple.checkpoint.metadata;
        assert_eq!(metadata["mine"], 1);
        assert_eq!(metadata["user"], "u");
        assert!(
            ["langgraph_x", "__y", "list"]
                .iter()
                .all(|key| !metadata.contains_key(*key))
        );
        assert_eq!(metadata["run_id"], json!(request.run_id));
        assert_eq!(metadata["thread_id"], json!(bench.thread));
        assert_eq!(metadata["graph_id"], "g");
        assert_eq!(metadata["run_attempt"], 1);
        assert_eq!(metadata["parents"], json!({}));
        assert!(metadata.contains_key("assistant_id"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_of_a_finished_run_does_nothing() {
    let bench = two_steps();
    let request = Request::input(input());
    bench.run(&request).await;
    let before = bench.puts();
    let outcome = bench.run(&request.again()).await;
    assert_eq!(word(&outcome), "success");
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "a", "b"]})
    );
    assert_eq!(bench.puts(), before);
}

#[tokio::test(start_paused = true)]
async fn a_command_updates_the_state_and_says_where_to_go() {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .node("c", say("c"))
        .sequence(["a", "b"])
        .edge("c", END);
    let bench = Bench::new(graph.compile().unwrap());
    bench.succeed(input()).await;
    let command = json!({"update": {"log": "told"}, "goto": "c"});
    let request = Request::command(command);
    let outcome = bench.run(&request).await;
    assert_eq!(word(&outcome), "success");
    let expected = json!({"log": ["in", "a", "b", "told", "c"]});
    assert_eq!(outcome.head.unwrap().values.to_value(), expected);
    let outcome = bench
        .run(&Request::command(json!({"goto": "nowhere"})))
        .await;
    assert_eq!(word(&outcome), "failed InvalidUpdateError");
    let outcome = bench
        .run(&Request::command(json!({"update": {"nothing": 1}})))
        .await;
    assert_eq!(word(&outcome), "failed InvalidUpdateError");
    assert_eq!(bench.state().await.values.to_value(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_stopped_is_kept_and_is_not_applied_twice() {
    let graph = log_graph()
        .node("a", say("a"))
        .node("slow", say_after(ms(50), "slow"))
        .sequence(["a"])
        .edge("slow", END);
    let bench = Bench::new(graph.compile().unwrap());
    bench.succeed(input()).await;
    let request = Request::command(json!({"update": {"log": "told"}, "goto": "slow"}));
    request.stop_after(ms(10), StopKind::Interrupt);
    assert_eq!(word(&bench.run(&request).await), "stopped");
    let state = bench.state().await;
    assert_eq!(state.values.to_value(), json!({"log": ["in", "a", "told"]}));
    assert_eq!(state.next, ["slow"]);
    // Another attempt finds its update there; another run's command comes on top.
    let again = request.again();
    again.stop_after(ms(10), StopKind::Interrupt);
    assert_eq!(word(&bench.run(&again).await), "stopped");
    let more = Request::command(json!({"update": {"log": "more"}}));
    more.stop_after(ms(10), StopKind::Interrupt);
    assert_eq!(word(&bench.run(&more).await), "stopped");
    let outcome = bench.run(&Request::resume()).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "a", "told", "more", "slow"]})
    );
}

#[tokio::test(start_paused = true)]
async fn a_command_can_start_a_thread() {
    let graph = log_graph()
        .node("a", say("a"))
        .node("b", say("b"))
        .sequence(["a", "b"]);
    let bench = Bench::new(graph.compile().unwrap());
    let command = json!({"update": [["log", "told"]], "goto": ["b"]});
    let outcome = bench.run(&Request::command(command)).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["told", "b"]})
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_from_an_older_checkpoint_forks_the_thread() {
    let bench = two_steps();
    bench.succeed(input()).await;
    let stored = bench.stored();
    let chosen = stored[1].checkpoint.id.clone();
    let request = Request::resume().at_checkpoint(&chosen.0);
    assert_eq!(word(&bench.run(&request).await), "success");
    let forked = bench.stored();
    assert_eq!(bench.steps()[4..], ["fork 1", "loop 2", "loop 3"]);
    assert_eq!(forked[4].checkpoint.parent.as_ref(), Some(&chosen));
    assert!(forked[4].checkpoint.id > stored[3].checkpoint.id);
    assert_eq!(
        bench.state().await.values.to_value(),
        json!({"log": ["in", "a", "b"]})
    );

    let request = Request::input(json!({"log": "other"})).at_checkpoint(&chosen.0);
    let outcome = bench.run(&request).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "other", "a", "b"]})
    );
    assert_eq!(bench.stored()[7].checkpoint.parent.as_ref(), Some(&chosen));
}

#[tokio::test(start_paused = true)]
async fn an_old_question_can_be_answered_differently() {
    let graph = log_graph()
        .node("ask", ask("why?"))
        .node("b", say("b"))
        .sequence(["ask", "b"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench.run(&Request::input(input())).await;
    let state = bench.state().await;
    let paused = state.checkpoint.unwrap().checkpoint_id.unwrap();
    let id = state.interrupts[0]["id"].as_str().unwrap().to_owned();
    bench
        .run(&Request::command(json!({"resume": "first"})))
        .await;
    for (resume, answer) in [(json!("second"), "second"), (json!({id: "third"}), "third")] {
        let request = Request::command(json!({"resume": resume})).at_checkpoint(&paused.0);
        let outcome = bench.run(&request).await;
        assert_eq!(word(&outcome), "success");
        assert_eq!(
            outcome.head.unwrap().values.to_value(),
            json!({"log": ["in", answer, "b"]})
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_superseded_input_is_applied_without_running_anything() {
    let bench = two_steps();
    let mut request = Request::input(input());
    request.work = Work::ApplyInput;
    let outcome = bench.run(&request).await;
    assert_eq!(word(&outcome), "stopped");
    let head = outcome.head.unwrap();
    assert_eq!(head.values.to_value(), json!({"log": ["in"]}));
    assert_eq!(head.next, ["a"]);
    assert_eq!(bench.events(), []);
    let before = bench.puts();
    bench
        .run(&Request {
            work: Work::ApplyInput,
            ..request.again()
        })
        .await;
    assert_eq!(bench.puts(), before);
    let mut nothing = Request::resume();
    nothing.work = Work::ApplyInput;
    assert_eq!(word(&bench.run(&nothing).await), "stopped");
    assert_eq!(bench.puts(), before);
    assert_eq!(
        bench.succeed(json!({"log": "next"})).await["log"][1],
        "next"
    );
}

/// What a worker leaves on the latest checkpoint when it stops a run that had said something.
async fn leave_residue(bench: &Bench, text: &str) {
    let latest = bench.stored().pop().unwrap().checkpoint.id;
    let write = PendingWrite {
        task_id: NULL_TASK.to_owned(),
        task_path: RESIDUE_PATH.to_owned(),
        index: RESIDUE_INDEX,
        channel: "log".to_owned(),
        blob: Blob::json(&[text]).unwrap(),
    };
    let writes = NewWrites {
        ns: String::new(),
        checkpoint_id: latest,
        writes: vec![write],
    };
    bench.host.put_writes(writes).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn residue_is_seen_by_readers_and_new_inputs_but_not_by_a_resume() {
    let stopped = async || {
        let graph = log_graph()
            .node("slow", say_after(ms(50), "slow"))
            .sequence(["slow"]);
        let bench = Bench::new(graph.compile().unwrap());
        let request = Request::input(input());
        request.stop_after(ms(10), StopKind::Interrupt);
        bench.run(&request).await;
        leave_residue(&bench, "partial").await;
        bench
    };
    let bench = stopped().await;
    let state = bench.state().await;
    assert_eq!(state.values.to_value(), json!({"log": ["in", "partial"]}));
    assert_eq!(state.next, ["slow"]);
    let values = bench.succeed(json!({"log": "new"})).await;
    assert_eq!(values, json!({"log": ["in", "partial", "new", "slow"]}));

    let bench = stopped().await;
    let outcome = bench.run(&Request::resume()).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "slow"]})
    );
}

#[tokio::test(start_paused = true)]
async fn an_input_that_was_recorded_but_not_applied_is_not_lost() {
    let recorded = async || {
        let bench = two_steps();
        let request = Request::input(input());
        bench.run_until_put(&request, 1).await;
        assert_eq!(bench.steps(), ["input -1"]);
        (bench, request)
    };
    let (bench, request) = recorded().await;
    assert_eq!(word(&bench.run(&request.again()).await), "success");
    assert_eq!(
        bench.state().await.values.to_value(),
        json!({"log": ["in", "a", "b"]})
    );

    let (bench, request) = recorded().await;
    let outcome = bench
        .run(&Request {
            work: Work::ApplyInput,
            ..request.again()
        })
        .await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in"]})
    );

    let (bench, _) = recorded().await;
    let values = bench.succeed(json!({"log": "next"})).await;
    assert_eq!(values, json!({"log": ["in", "next", "a", "b"]}));

    let (bench, _) = recorded().await;
    assert_eq!(word(&bench.run(&Request::resume()).await), "success");
}
