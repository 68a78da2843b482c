"""A run from its request to its answer, in a real process."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio
from worker import Worker, working

from runloom_executor.errors import Unavailable

GRAPHS = {
    name: f"./plain.py:{name}"
    for name in (
        *("two_steps", "asking", "failing", "contextual", "talking", "chatty", "printing", "exiting"),
        *("ranting", "never_made", "quits", "forking"),
    )
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Worker]:
    async with working(GRAPHS) as worker:
        yield worker


async def test_a_run_succeeds_and_tells_where_it_left_the_thread(worker: Worker) -> None:
    attempt = worker.run("two_steps", {"done": ["input"]}, durability="sync")
    end = await attempt.end()
    assert end["outcome"] == "success"
    assert end["head"]["values"] == {"done": ["input", "one", "two"]}
    assert end["head"]["next"] == []
    assert attempt.said("values")[-1] == {"done": ["input", "one", "two"]}
    state = await worker.state(attempt)
    assert state["values"] == {"done": ["input", "one", "two"]}
    assert state["checkpoint"]["checkpoint_id"] == end["head"]["checkpoint_id"]
    assert state["metadata"]["run_id"] == attempt.run_id


async def test_a_run_that_waits_for_a_human_is_paused_and_goes_on_with_the_answer(worker: Worker) -> None:
    first = worker.run("asking", {"done": []})
    end = await first.end()
    assert end["outcome"] == "paused"
    assert end["head"]["next"] == ["ask"]
    ((interrupts),) = end["head"]["interrupts"].values()
    assert interrupts[0]["value"] == {"question": "go on?"}
    second = worker.run("asking", thread_id=first.thread_id, command={"resume": "yes"})
    end = await second.end()
    assert end["outcome"] == "success"
    assert end["head"]["values"] == {"done": ["one", "yes", "two"]}


async def test_a_run_begins_at_the_checkpoint_that_came_with_it(worker: Worker) -> None:
    first = worker.run("two_steps", {"done": ["first"]}, latest=[])
    await first.end()
    latest = worker.shelf.answer(first.thread_id, None, "get_checkpoint", {"ns": ""})
    second = worker.run("two_steps", {"done": ["second"]}, thread_id=first.thread_id, latest=[latest])
    done = (await second.end())["head"]["values"]["done"]
    assert done == ["first", "one", "two", "second", "one", "two"]
    calls = (first.call, second.call)
    asked = {method for method, body in worker.asked if body["call"] in calls}
    assert asked == {"put_checkpoint", "put_writes"}


async def test_events_of_langchain_can_be_asked_for(worker: Worker) -> None:
    attempt = worker.run("two_steps", {"done": ["input"]}, stream_modes=["events", "values"])
    end = await attempt.end()
    assert (end["outcome"], end["head"]["values"]) == ("success", {"done": ["input", "one", "two"]})
    assert attempt.said("values")[-1] == {"done": ["input", "one", "two"]}
    assert [event["name"] for event in attempt.said("events") if event["event"] == "on_chain_start"][1:] == [
        "one",
        "two",
    ]
    paused = worker.run("asking", {"done": []}, stream_modes=["events"])
    assert (await paused.end())["outcome"] == "paused"


async def test_a_breakpoint_pauses(worker: Worker) -> None:
    first = worker.run("two_steps", {"done": []}, interrupt_before=["two"])
    end = await first.end()
    assert (end["outcome"], end["head"]["next"], end["head"]["interrupts"]) == ("paused", ["two"], {})
    end = await worker.run("two_steps", thread_id=first.thread_id).end()
    assert (end["outcome"], end["head"]["values"]) == ("success", {"done": ["one", "two"]})


async def test_a_failing_node_fails_the_run_with_its_traceback(worker: Worker) -> None:
    end = await worker.run("failing", {"done": []}).end()
    assert end["outcome"] == "failed"
    assert end["error"]["type"] == "ValueError"
    assert end["error"]["message"] == "this node always fails"
    assert "in fail" in end["error"]["traceback"]
    assert end["head"]["next"] == ["fail"]


async def test_a_retry_goes_on_where_its_run_was_and_applies_no_input_twice(worker: Worker) -> None:
    async def lose_the_second_superstep(attempt: Any, method: str, body: Any) -> None:
        if method == "put_checkpoint" and orjson.loads(body["metadata"])["step"] == 1:
            raise Unavailable("the storage is away")

    worker.fault = lose_the_second_superstep
    first = worker.run("two_steps", {"done": ["input"]}, durability="sync")
    end = await first.end()
    assert end["outcome"] == "retry"
    worker.fault = None
    end = await worker.run(
        "two_steps", {"done": ["input"]}, attempt=2, run_id=first.run_id, thread_id=first.thread_id
    ).end()
    assert end["outcome"] == "success"
    assert end["head"]["values"] == {"done": ["input", "one", "two"]}


async def test_a_retry_of_a_command_does_not_answer_the_next_question_too(worker: Worker) -> None:
    first = worker.run("asking", {"done": []})
    await first.end()
    answered = worker.run("asking", thread_id=first.thread_id, command={"resume": "yes"})
    assert (await answered.end())["outcome"] == "success"
    again = worker.run(
        "asking",
        thread_id=first.thread_id,
        run_id=answered.run_id,
        attempt=2,
        command={"update": {"done": ["no"]}},
    )
    end = await again.end()
    assert (end["outcome"], end["head"]["values"]) == ("success", {"done": ["one", "yes", "two"]})


async def test_applying_the_input_executes_nothing_and_happens_once(worker: Worker) -> None:
    run_id, thread_id = str(uuid4()), str(uuid4())
    for _ in range(2):
        attempt = worker.run(
            "two_steps", {"done": ["input"]}, work="apply_input", run_id=run_id, thread_id=thread_id
        )
        end = await attempt.end()
        assert end["outcome"] == "stopped", end
        assert attempt.events == []
    state = await worker.state(attempt)
    assert state["values"] == {"done": ["input"]}
    assert state["next"] == ["one"]
    # The input, and what the start of the graph made of it.
    assert len(worker.shelf.checkpoints[thread_id]) == 2
    nothing = worker.run("two_steps", work="apply_input")
    assert (await nothing.end())["outcome"] == "stopped"
    assert len(worker.shelf.checkpoints[nothing.thread_id]) == 0


async def test_an_input_that_was_accepted_only_is_applied(worker: Worker) -> None:
    """A stop may fall between the checkpoint of the input and the one in whose channels it is."""
    run_id, thread_id = str(uuid4()), str(uuid4())
    stored = worker.shelf.checkpoints[thread_id]
    for _ in range(2):
        attempt = worker.run(
            "two_steps", {"done": ["input"]}, work="apply_input", run_id=run_id, thread_id=thread_id
        )
        assert (await attempt.end())["outcome"] == "stopped"
        assert len(stored) == 2
        assert (await worker.state(attempt))["values"] == {"done": ["input"]}
        for namespace, checkpoint in sorted(stored):
            worker.shelf.writes.pop((thread_id, namespace, checkpoint), None)
        del stored[max(stored)]


async def test_the_context_is_cut_to_what_the_graph_knows(worker: Worker) -> None:
    end = await worker.run("contextual", {"done": []}, context={"color": "red", "thread_id": "x"}).end()
    assert end["head"]["values"] == {"done": ["red"]}, end


async def test_messages_are_made_of_maps(worker: Worker) -> None:
    end = await worker.run("talking", {"messages": [{"role": "user", "content": "hi"}]}).end()
    assert [message["type"] for message in end["head"]["values"]["messages"]] == ["human", "ai"]
    assert worker.graph("talking")["messages_channel"] == "messages"
    assert worker.graph("two_steps")["messages_channel"] is None


async def test_a_run_waits_for_credit_and_its_neighbours_do_not(worker: Worker) -> None:
    slow = worker.run("chatty", {"done": []}, credit=2000, gives_credit=False)
    await slow.until("custom")
    end = await worker.run("chatty", {"done": []}).end()
    assert end["outcome"] == "success"
    assert not slow.answer.done()
    sent = sum(len(event[2]) for event in slow.events)
    assert sent < 3000, "one event more than the credit at most"
    slow.gives_credit = True
    slow.give_credit()
    assert (await slow.end())["outcome"] == "success"
    assert [said["number"] for said in slow.said("custom")] == list(range(1000))
    assert max(slow.frames) > 1
    assert max(slow.frames) <= 64


async def test_a_run_without_credit_can_be_stopped(worker: Worker) -> None:
    attempt = worker.run("chatty", {"done": []}, credit=2000, gives_credit=False)
    await attempt.until("custom")
    attempt.stop()
    end = await attempt.end()
    assert end["outcome"] == "stopped"
    assert "two" not in (await worker.state(attempt))["values"]["done"]


async def test_prints_of_any_size_arrive_as_lines_of_their_run(worker: Worker) -> None:
    attempt = worker.run("printing", {"done": []})
    end = await attempt.end()
    assert end["outcome"] == "success"
    last = await worker.line("after it")
    assert last["run_id"] == attempt.run_id
    printed = "".join(line["message"] for line in worker.lines if line["message"].startswith("xx"))
    assert len(printed) == 1 << 20
    assert worker.raw == []


async def test_what_makes_no_sense_is_refused(worker: Worker) -> None:
    from runloom_executor.errors import Invalid, UnknownGraph, Unsupported

    with pytest.raises(UnknownGraph):
        await worker.run("no_such_graph", {}).end()
    with pytest.raises(Unsupported):
        await worker.control.ask("no_such_method", {})
    with pytest.raises(Invalid):
        await worker.control.ask("run", {"run_id": "x"})


async def test_an_exit_in_a_node_ends_its_run_and_no_other(worker: Worker) -> None:
    neighbour = worker.run("asking", {"done": []})
    end = await worker.run("exiting", {"done": []}).end()
    assert (end["outcome"], end["error"]["type"]) == ("failed", "SystemExit")
    assert (await neighbour.end())["outcome"] == "paused"


@pytest.mark.parametrize(
    ("wish", "type", "begins"),
    [
        ("no unicode", "ValueError", "?"),
        ("long", "ValueError", "xxx"),
        ("unspeakable", "Unspeakable", "(its text"),
    ],
)
async def test_an_error_of_any_text_is_told(worker: Worker, wish: str, type: str, begins: str) -> None:
    end = await worker.run("ranting", {"done": [wish]}).end()
    assert (end["outcome"], end["error"]["type"]) == ("failed", type)
    assert end["error"]["message"].startswith(begins)
    assert len(end["error"]["message"]) < 1 << 17
    assert len(end["error"]["traceback"]) < 1 << 17


@pytest.mark.parametrize(("graph", "why"), [("never_made", "CancelledError"), ("quits", "SystemExit")])
async def test_a_question_is_answered_whatever_a_factory_raises(worker: Worker, graph: str, why: str) -> None:
    from runloom_executor.errors import ProtocolError

    with pytest.raises(ProtocolError, match=why):
        async with asyncio.timeout(20):
            await worker.ask("state", graph_id=graph, thread_id="a", ns="", subgraphs=False)


async def test_a_forked_child_that_comes_back_to_the_loop_ends(worker: Worker) -> None:
    async with asyncio.timeout(20):
        end = await worker.run("forking", {"done": []}).end()
    assert end["head"]["values"] == {"done": ["child ended: 1"]}
    for _ in range(20):
        assert (await worker.run("two_steps", {"done": []}).end())["outcome"] == "success"


async def test_ping_tells_how_the_process_is(worker: Worker) -> None:
    answer = await worker.control.ask("ping", {})
    assert answer["runs"] == 0
    assert answer["busy_threads"] == answer["leaked_threads"] == 0
    assert answer["rss_bytes"] > 10_000_000
    assert answer["lag_ms"] < 1000
