//! Stops: at every point, with every durability, and what the next run finds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runloom_core::event::StreamMode;
use runloom_core::executor::{Executor, Outcome, StopKind};
use runloom_core::run::Durability;
use runloom_graph::{
    CompiledGraph, GraphExecutor, Node, NodeContext, NodeError, NodeResult, START, StateGraph,
    Update,
};
use runloom_testkit::doubles::{Gate, HostDouble, TokioClock};
use serde_json::{Value, json};

use crate::bench::{Bench, Request, ms, word};
use crate::cut::CutHost;
use crate::nodes::{ask, input, log_graph, say, say_after};

const ALL: [Durability; 3] = [Durability::Sync, Durability::Async, Durability::Exit];

/// A run that is stopped at some time, and what is seen then: (log, next), the log after a new
/// input was run to the end, and the log after a resume.
struct Case {
    name: &'static str,
    graph: fn() -> CompiledGraph,
    at: u64,
    log: &'static [&'static str],
    next: &'static [&'static str],
    after_input: &'static [&'static str],
    after_resume: &'static [&'static str],
}

/// A model and its tools, ten milliseconds each: model, tools, model again.
fn chain() -> CompiledGraph {
    let graph = log_graph()
        .node("model", say_after(ms(10), "ai"))
        .node("tools", say_after(ms(10), "tool"))
        .node("final", say_after(ms(10), "end"))
        .sequence(["model", "tools", "final"]);
    graph.compile().unwrap()
}

fn parallel() -> CompiledGraph {
    let graph = log_graph()
        .node("fast", say_after(ms(10), "fast"))
        .node("slow", say_after(ms(30), "slow"))
        .node("end", say("end"))
        .edge(START, "fast")
        .edge(START, "slow")
        .join(["fast", "slow"], "end");
    graph.compile().unwrap()
}

fn nested() -> CompiledGraph {
    let inner = log_graph()
        .node("one", say_after(ms(10), "one"))
        .node("two", say_after(ms(20), "two"))
        .sequence(["one", "two"])
        .compile()
        .unwrap();
    // What the subgraph hands back is its own part only.
    let output = |values: serde_json::Map<String, Value>| {
        let log = values["log"].as_array().cloned().unwrap_or_default();
        Update::new().set("log", log)
    };
    let node = Node::mapped(inner, |_: Value| json!({}), output);
    log_graph()
        .node("child", node)
        .sequence(["child"])
        .compile()
        .unwrap()
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "in the first node",
            graph: chain,
            at: 5,
            log: &["in"],
            next: &["model"],
            after_input: &["in", "new", "ai", "tool", "end"],
            after_resume: &["in", "ai", "tool", "end"],
        },
        Case {
            name: "in a node between",
            graph: chain,
            at: 15,
            log: &["in", "ai"],
            next: &["tools"],
            after_input: &["in", "ai", "new", "ai", "tool", "end"],
            after_resume: &["in", "ai", "tool", "end"],
        },
        Case {
            name: "in the last node",
            graph: chain,
            at: 25,
            log: &["in", "ai", "tool"],
            next: &["final"],
            after_input: &["in", "ai", "tool", "new", "ai", "tool", "end"],
            after_resume: &["in", "ai", "tool", "end"],
        },
        Case {
            name: "beside a finished sibling",
            graph: parallel,
            at: 20,
            log: &["in", "fast"],
            next: &["slow"],
            after_input: &["in", "new", "fast", "slow", "end"],
            after_resume: &["in", "fast", "slow", "end"],
        },
        Case {
            name: "inside a subgraph",
            graph: nested,
            at: 20,
            log: &["in"],
            next: &["child"],
            after_input: &["in", "new", "one", "two"],
            after_resume: &["in", "one", "two"],
        },
    ]
}

async fn stopped(case: &Case, durability: Durability) -> (Bench, Outcome) {
    let bench = Bench::new((case.graph)());
    let request = Request::input(input()).durability(durability);
    request.stop_after(ms(case.at), StopKind::Interrupt);
    let started = tokio::time::Instant::now();
    let outcome = bench.run(&request).await;
    assert_eq!(
        started.elapsed(),
        ms(case.at),
        "{}: it did not stop at once",
        case.name
    );
    (bench, outcome)
}

#[tokio::test(start_paused = true)]
async fn finished_work_is_kept_wherever_a_run_is_stopped() {
    for case in cases() {
        for durability in ALL {
            let name = format!("{} ({durability})", case.name);
            let (bench, outcome) = stopped(&case, durability).await;
            assert_eq!(word(&outcome), "stopped", "{name}");
            let state = bench.state().await;
            assert_eq!(state.values.to_value(), json!({"log": case.log}), "{name}");
            assert_eq!(state.next, case.next, "{name}");
            let head = outcome.head.unwrap();
            assert_eq!(
                (head.values, head.next),
                (state.values, state.next),
                "{name}"
            );
            let values = bench.succeed(json!({"log": "new"})).await;
            assert_eq!(values, json!({"log": case.after_input}), "{name}");

            let (bench, _) = stopped(&case, durability).await;
            let resumed = tokio::time::Instant::now();
            let outcome = bench.run(&Request::resume().durability(durability)).await;
            let values = outcome.head.unwrap().values.to_value();
            assert_eq!(values, json!({"log": case.after_resume}), "{name}");
            if case.name == "beside a finished sibling" {
                assert_eq!(resumed.elapsed(), ms(30), "{name}");
            }
            if case.name == "inside a subgraph" {
                assert_eq!(resumed.elapsed(), ms(20), "{name}: it did not go on inside");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_hard_kind_of_stop_reaches_the_node_that_runs() {
    for kind in [
        StopKind::Interrupt,
        StopKind::Rollback,
        StopKind::Timeout,
        StopKind::LeaseLost,
    ] {
        let dropped = Arc::new(AtomicBool::new(false));
        let flag = dropped.clone();
        let node = Node::new(move |_: Value, context: NodeContext| {
            let guard = Dropped(flag.clone());
            async move {
                let _guard = guard;
                std::future::pending::<()>().await;
                context.emit("never").await?;
                NodeResult::Ok(())
            }
        });
        let bench = Bench::new(
            log_graph()
                .node("n", node)
                .sequence(["n"])
                .compile()
                .unwrap(),
        );
        let request = Request::input(input());
        request.stop_after(ms(5), kind);
        let outcome = bench.run(&request).await;
        assert_eq!(word(&outcome), "stopped", "{kind}");
        assert!(dropped.load(Ordering::SeqCst), "{kind}");
    }
}

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_stops_at_the_end_of_the_superstep_also_inside_a_subgraph() {
    let bench = Bench::new(chain());
    let request = Request::input(input());
    request.stop_after(ms(15), StopKind::Drain);
    let outcome = bench.run(&request).await;
    assert_eq!(word(&outcome), "drained");
    let head = outcome.head.unwrap();
    assert_eq!(head.values.to_value(), json!({"log": ["in", "ai", "tool"]}));
    assert_eq!(head.next, ["final"]);
    assert!(bench.state().await.tasks[0].error.is_none());
    let outcome = bench.run(&request.again()).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "ai", "tool", "end"]})
    );

    let bench = Bench::new(nested());
    let request = Request::input(input());
    request.stop_after(ms(5), StopKind::Drain);
    let started = tokio::time::Instant::now();
    assert_eq!(word(&bench.run(&request).await), "drained");
    assert_eq!(started.elapsed(), ms(10));
    let outcome = bench.run(&request.again()).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "one", "two"]})
    );
    assert_eq!(started.elapsed(), ms(30));
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_comes_too_late_does_not_undo_success() {
    let bench = Bench::new(chain());
    let request = Request::input(input());
    request.stop_after(ms(100), StopKind::Interrupt);
    assert_eq!(word(&bench.run(&request).await), "success");
    // Asked to stop while the last writes are stored: the work is done.
    let bench = Bench::new(chain());
    let request = Request::input(input());
    let run = bench.spawn(&request);
    tokio::time::sleep(ms(25)).await;
    let storage = Gate::new();
    bench.host.delay_until(storage.clone());
    tokio::time::sleep(ms(10)).await;
    request.stop(StopKind::Interrupt);
    tokio::time::sleep(ms(1)).await;
    storage.open();
    assert_eq!(word(&run.await.unwrap()), "success");
    let last = bench.events_named("values").pop().unwrap();
    assert_eq!(last, json!({"log": ["in", "ai", "tool", "end"]}));
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_start_runs_nothing_but_keeps_the_input() {
    let bench = Bench::new(chain());
    let request = Request::input(input());
    request.stop(StopKind::Interrupt);
    let outcome = bench.run(&request).await;
    assert_eq!(word(&outcome), "stopped");
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in"]})
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_turns_the_stop_into_an_error_or_a_result_is_stopped_all_the_same() {
    let stubborn = |result: fn() -> NodeResult| {
        Node::new(move |_: Value, context: NodeContext| async move {
            let token = context.cancelled().clone();
            tokio::select! {
                () = token.cancelled() => {}
                () = std::future::pending() => {}
            }
            result()
        })
    };
    let fails: fn() -> NodeResult = || Err(NodeError::new("ValueError", "I was told to stop"));
    let finishes: fn() -> NodeResult = || Ok(Update::new().set("log", "anyway"));
    for result in [fails, finishes] {
        let graph = log_graph().node("n", stubborn(result)).sequence(["n"]);
        let bench = Bench::new(graph.compile().unwrap());
        let request = Request::input(input());
        request.stop_after(ms(5), StopKind::Interrupt);
        assert_eq!(word(&bench.run(&request).await), "stopped");
        let state = bench.state().await;
        assert_eq!(state.values.to_value(), json!({"log": ["in"]}));
        assert_eq!(state.tasks[0].error.as_deref(), Some("CancelledError()"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_gives_up_unasked_is_worth_another_attempt() {
    let node =
        Node::new(async |_: Value, _: NodeContext| -> NodeResult { Err(NodeError::cancelled()) });
    let bench = Bench::new(
        log_graph()
            .node("n", node)
            .sequence(["n"])
            .compile()
            .unwrap(),
    );
    let outcome = bench.run(&Request::input(input())).await;
    assert_eq!(word(&outcome), "retry CancelledError");
    assert_eq!(outcome.head.unwrap().next, ["n"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_paused_by_a_sibling_keeps_the_question() {
    let graph = log_graph()
        .node("ask", ask("why?"))
        .node("slow", say_after(ms(50), "slow"))
        .edge(START, "ask")
        .edge(START, "slow");
    let bench = Bench::new(graph.compile().unwrap());
    let request = Request::input(input());
    request.stop_after(ms(10), StopKind::Interrupt);
    assert_eq!(word(&bench.run(&request).await), "stopped");
    assert_eq!(bench.state().await.interrupts.len(), 1);
    let outcome = bench.run(&Request::command(json!({"resume": "x"}))).await;
    assert_eq!(
        outcome.head.unwrap().values.to_value(),
        json!({"log": ["in", "x", "slow"]})
    );
}

/// A node that blocks its thread is left behind: it cannot be stopped, but it is cut off. Real time
/// and real threads, as the node does not yield to a paused clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_blocks_its_thread_is_left_behind_and_cut_off() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(std::sync::Mutex::new(blocked));
    let reached = Gate::new();
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let gate = reached.clone();
    let node = Node::new(move |_: Value, context: NodeContext| {
        let (blocked, gate, report) = (blocked.clone(), gate.clone(), report.clone());
        async move {
            gate.open();
            gate.pass().await;
            let _ = blocked.lock().unwrap().recv();
            // Too late: nothing of this may have an effect.
            let emitted = context.emit("late").await.is_err();
            let asked = context
                .interrupt("late?")
                .is_err_and(|error| error.is_cancelled());
            let put = context
                .items()
                .put_item(&["x".to_owned()], "k", late())
                .await
                .is_err();
            let mut message = context.messages().begin("late");
            let said = message.token("late").await.is_err();
            let _ = report.send([emitted, asked, put, said]);
            NodeResult::Ok(Update::new().set("log", "late"))
        }
    });
    let graph = log_graph()
        .node("n", node)
        .sequence(["n"])
        .compile()
        .unwrap();
    let nodes = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let handle = nodes.handle().clone();
    let bench = Bench::with(|executor| {
        executor
            .with("g", graph)
            .on(handle)
            .grace(Duration::from_millis(50))
    });
    let modes = [
        StreamMode::Values,
        StreamMode::Custom,
        StreamMode::MessagesTuple,
    ];
    let request = Request::input(input()).modes(&modes);
    let run = bench.spawn(&request);
    reached.reached(1).await;
    request.stop(StopKind::Interrupt);
    let outcome = tokio::time::timeout(Duration::from_secs(20), run)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(word(&outcome), "stopped");
    let (puts, events) = (bench.puts(), bench.events().len());
    release.send(()).unwrap();
    let late = tokio::time::timeout(Duration::from_secs(20), reports.recv())
        .await
        .unwrap();
    assert_eq!(late, Some([true; 4]));
    nodes.shutdown_background();
    assert_eq!((bench.puts(), bench.events().len()), (puts, events));
    assert_eq!(
        Arc::strong_count(&bench.host),
        1,
        "something still holds the host"
    );
}

fn late() -> runloom_core::json::Json {
    runloom_core::json::Json::null()
}

#[tokio::test(start_paused = true)]
async fn dropping_the_attempt_stops_its_nodes_and_calls_the_host_no_more() {
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = dropped.clone();
    let node = Node::new(move |_: Value, context: NodeContext| {
        let guard = Dropped(flag.clone());
        async move {
            let _guard = guard;
            for tick in 0.. {
                tokio::time::sleep(ms(1)).await;
                context.emit(tick).await?;
            }
            NodeResult::Ok(())
        }
    });
    let graph = log_graph()
        .node("n", node)
        .sequence(["n"])
        .compile()
        .unwrap();
    let bench = Bench::new(graph);
    let run = bench.spawn(&Request::input(input()).modes(&[StreamMode::Custom]));
    tokio::time::sleep(ms(10)).await;
    run.abort();
    assert!(run.await.is_err());
    let events = bench.events().len();
    assert!(events > 5, "{events}");
    tokio::time::sleep(ms(10)).await;
    assert_eq!(bench.events().len(), events);
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn runs_of_one_executor_do_not_disturb_each_other() {
    let clock = Arc::new(TokioClock::start());
    let panics = Node::new(async |_: Value, _: NodeContext| -> NodeResult { panic!("mine alone") });
    let executor = GraphExecutor::new(clock.clone())
        .with(
            "bad",
            StateGraph::new()
                .node("n", panics)
                .sequence(["n"])
                .compile()
                .unwrap(),
        )
        .with("g", chain());
    let bench = Bench::with(|_| executor);
    let run = bench.spawn(&Request::input(input()));
    tokio::time::sleep(ms(5)).await;
    let request = Request::input(json!({}));
    let mut attempt = bench.attempt(&request);
    attempt.graph_id = "bad".into();
    let host = HostDouble::new(bench.thread, clock);
    let outcome = bench.executor.execute(attempt, host).await;
    assert_eq!(word(&outcome), "failed Panic");
    assert_eq!(word(&run.await.unwrap()), "success");
}

#[tokio::test(start_paused = true)]
async fn neither_a_superstep_nor_a_node_begins_in_a_process_that_may_not_act_any_more() {
    // Asked before each superstep and before its node.
    for (acts, executed) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (6, 3)] {
        let bench = Bench::new(chain());
        let request = Request::input(input()).modes(&[StreamMode::Updates]);
        let host = CutHost::of_paused(bench.host.clone(), acts);
        bench.executor.execute(bench.attempt(&request), host).await;
        assert_eq!(bench.events_named("updates").len(), executed, "{acts}");
    }
}
