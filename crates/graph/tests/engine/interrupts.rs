//! Questions to a human, and their answers.

use runloom_core::event::StreamMode;
use runloom_graph::{NodeContext, NodeResult, START, Update};
use serde_json::{Value, json};

use crate::bench::{Bench, Request, word};
use crate::nodes::{ask, input, log_graph, say};

/// The pending interrupts of the thread, as `(id, value)`.
async fn pending(bench: &Bench) -> Vec<(String, Value)> {
    let interrupts = bench.state().await.interrupts.into_iter();
    interrupts
        .map(|interrupt| {
            (
                interrupt["id"].as_str().unwrap().to_owned(),
                interrupt["value"].clone(),
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_question_pauses_the_run_and_its_answer_continues_it() {
    let graph = log_graph().node("ask", ask("why?")).sequence(["ask"]);
    let bench = Bench::new(graph.compile().unwrap());
    let outcome = bench.run(&Request::input(input())).await;
    assert_eq!(word(&outcome), "paused");
    let head = outcome.head.unwrap();
    assert_eq!(head.next, ["ask"]);
    let state = bench.state().await;
    let [task] = &state.tasks[..] else {
        panic!("{state:?}");
    };
    assert_eq!(head.interrupts[&task.id], json!(task.interrupts));
    assert_eq!(state.interrupts, task.interrupts);
    assert_eq!(task.interrupts[0]["value"], "why?");

    let outcome = bench
        .run(&Request::command(json!({"resume": "because"})))
        .await;
    assert_eq!(word(&outcome), "success");
    let head = outcome.head.unwrap();
    assert_eq!(head.values.to_value(), json!({"log": ["in", "because"]}));
    assert!(head.interrupts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn several_questions_of_a_node_are_answered_in_order() {
    async fn two(_: Value, context: NodeContext) -> NodeResult {
        let first = context.interrupt("first?")?;
        let second = context.interrupt("second?")?;
        Ok(Update::new().set("log", [first, second]))
    }
    let graph = log_graph().node("two", two).sequence(["two"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench.run(&Request::input(input())).await;
    let first = pending(&bench).await.remove(0);
    let outcome = bench.run(&Request::command(json!({"resume": "1"}))).await;
    assert_eq!(word(&outcome), "paused");
    let second = pending(&bench).await;
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].1, "second?");
    assert_ne!(second[0].0, first.0);
    // The first question is answered for good: naming it again answers nothing.
    let stale = json!({"resume": {first.0: "x"}});
    assert_eq!(word(&bench.run(&Request::command(stale)).await), "paused");
    let outcome = bench.run(&Request::command(json!({"resume": "2"}))).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "1", "2"]})
    );
}

#[tokio::test(start_paused = true)]
async fn parallel_questions_are_answered_by_their_ids_one_by_one_or_together() {
    for together in [true, false] {
        let graph = log_graph()
            .node("a", ask("a?"))
            .node("b", ask("b?"))
            .node("c", say("c"))
            .edge(START, "a")
            .edge(START, "b")
            .edge(START, "c");
        let bench = Bench::new(graph.compile().unwrap());
        bench.run(&Request::input(input())).await;
        let waiting = pending(&bench).await;
        assert_eq!(waiting.len(), 2);
        let bare = bench.run(&Request::command(json!({"resume": "x"}))).await;
        assert_eq!(word(&bare), "failed RuntimeError");
        let (a, b) = (waiting[0].0.clone(), waiting[1].0.clone());
        if together {
            let both = json!({"resume": {a: "A", b: "B"}});
            assert_eq!(word(&bench.run(&Request::command(both)).await), "success");
        } else {
            let one = json!({"resume": {b: "B"}});
            assert_eq!(word(&bench.run(&Request::command(one)).await), "paused");
            let state = bench.state().await;
            assert_eq!(state.next, ["a"]);
            assert_eq!(pending(&bench).await, [waiting[0].clone()]);
            // The only question left needs no name.
            let other = json!({"resume": "A"});
            assert_eq!(word(&bench.run(&Request::command(other)).await), "success");
        }
        assert_eq!(
            bench.state().await.values.to_value(),
            json!({"log": ["in", "A", "B", "c"]})
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_nobody_waits_for_changes_nothing() {
    let graph = log_graph().node("a", say("a")).sequence(["a"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench.succeed(input()).await;
    let before = bench.puts();
    let outcome = bench.run(&Request::command(json!({"resume": "x"}))).await;
    assert_eq!(word(&outcome), "success");
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "a"]})
    );
    assert_eq!(bench.puts(), before);
}

#[tokio::test(start_paused = true)]
async fn a_new_input_gives_a_question_up() {
    let graph = log_graph().node("ask", ask("why?")).sequence(["ask"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench.run(&Request::input(input())).await;
    let old = pending(&bench).await;
    bench.run(&Request::input(json!({"log": "new"}))).await;
    let new = pending(&bench).await;
    assert_ne!(old, new);
    assert_eq!(new.len(), 1);
    assert_eq!(
        bench.state().await.values.to_value(),
        json!({"log": ["in", "new"]})
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_resume_in_a_second_attempt_gives_the_same_answers() {
    async fn two(_: Value, context: NodeContext) -> NodeResult {
        let first = context.interrupt("first?")?;
        let second = context.interrupt("second?")?;
        Ok(Update::new().set("log", [first, second]))
    }
    let graph = log_graph().node("two", two).sequence(["two"]);
    let bench = Bench::new(graph.compile().unwrap());
    bench.run(&Request::input(input())).await;
    let resume = Request::command(json!({"resume": "1"}));
    assert_eq!(word(&bench.run(&resume).await), "paused");
    // The worker died before it could settle: the answer must not go to the second question.
    assert_eq!(word(&bench.run(&resume.again()).await), "paused");
    assert_eq!(pending(&bench).await[0].1, "second?");
    let outcome = bench.run(&Request::command(json!({"resume": "2"}))).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "1", "2"]})
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_told_in_values_and_updates() {
    let graph = log_graph()
        .node("ask", ask("why?"))
        .node("beside", say("beside"))
        .edge(START, "ask")
        .edge(START, "beside");
    let bench = Bench::new(graph.compile().unwrap());
    let modes = [StreamMode::Values, StreamMode::Updates];
    bench.run(&Request::input(input()).modes(&modes)).await;
    let interrupt = json!([{"value": "why?", "id": pending(&bench).await[0].0}]);
    let expected = [
        ("values", json!({"log": ["in"]})),
        ("updates", json!({"__interrupt__": interrupt})),
        ("values", json!({"log": ["in"], "__interrupt__": interrupt})),
        ("updates", json!({"beside": {"log": "beside"}})),
        (
            "values",
            json!({"log": ["in", "beside"], "__interrupt__": interrupt}),
        ),
    ];
    let expected: Vec<_> = expected.map(|(name, data)| (name.to_owned(), data)).into();
    assert_eq!(bench.events(), expected);
}
