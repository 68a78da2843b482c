"""Stopping runs, whatever their nodes do about it, in a real process."""

from __future__ import annotations

import asyncio
import os
from typing import Any, AsyncIterator

import pytest
import pytest_asyncio
from worker import Attempt, Worker, working

from runloom_executor.errors import Fenced

NAMES = (
    "streaming tooling sync_node computing_thread blocking computing hopeless swallowing tidying untidy "
    "converting draining releasing counting parallel slow_factory cancelled_factory "
    "walking holding storing late opening"
)
GRAPHS = {name: f"./stubborn.py:{name}" for name in NAMES.split()}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Worker]:
    async with working(GRAPHS) as worker:
        yield worker


@pytest_asyncio.fixture(loop_scope="module")
async def worker(shared: Worker) -> AsyncIterator[Worker]:
    """The shared one, with a look at the end whether anything was asked for after an answer."""
    shared.lines.clear()
    shared.late.clear()
    shared.fault = None
    yield shared
    await shared.control.ask("ping", {})
    assert shared.late == []


# With `values` alone LangGraph executes a single node in the run's own task, else in a task of its own; with
# `events` the graph itself is executed in another task.
every_way = pytest.mark.parametrize("modes", [["values"], ["values", "custom"], ["values", "events"]])


async def stopped_at(
    worker: Worker, graph: str, line: str, grace_ms: int = 5000, **body: Any
) -> tuple[Attempt, Any]:
    attempt = worker.run(graph, {"done": []}, **body)
    await worker.line(line)
    attempt.stop(grace_ms=grace_ms)
    return attempt, await attempt.end()


async def test_a_streaming_model_is_stopped_and_what_it_said_was_told(worker: Worker) -> None:
    attempt = worker.run(
        "streaming", {"messages": [{"role": "user", "content": "hi"}]}, stream_modes=["messages-tuple"]
    )
    while "upon " not in [said[0]["content"] for said in attempt.said("messages")]:
        attempt._changed.clear()
        await attempt._changed.wait()
    attempt.stop()
    end = await attempt.end()
    assert end["outcome"] == "stopped"
    assert end["head"]["next"] == ["model"]
    said = [event[3] for event in attempt.events if len(event) > 3 and event[3]]
    assert "".join(text for _, _, _, text in said) == "Once upon "
    assert {node for _, node, _, _ in said} == {"model"}


async def test_tools_are_stopped_and_their_call_stays_unanswered(worker: Worker) -> None:
    attempt = worker.run("tooling", {"messages": [{"role": "user", "content": "hi"}]})
    await worker.line("tool began")
    attempt.stop()
    end = await attempt.end()
    assert end["outcome"] == "stopped"
    assert end["head"]["next"] == ["tools"]
    assert end["head"]["values"]["messages"][-1]["tool_calls"][0]["id"] == "call-1"


@every_way
async def test_a_sync_node_is_left_behind_and_counted(worker: Worker, modes: list[str]) -> None:
    before = (await worker.control.ask("ping", {}))["leaked_threads"]
    attempt, end = await stopped_at(worker, "sync_node", "sync node began", stream_modes=modes)
    assert (end["outcome"], end["leaked_threads"]) == ("stopped", 1)
    assert end["head"]["values"] == {"done": ["one"]}
    assert (await worker.control.ask("ping", {}))["leaked_threads"] == before + 1


async def test_what_a_node_left_behind_asks_for_is_refused(worker: Worker) -> None:
    before = (await worker.control.ask("ping", {}))["leaked_threads"]
    attempt, end = await stopped_at(worker, "late", "late node began")
    assert (end["outcome"], end["leaked_threads"]) == ("stopped", 1)
    await worker.run("opening", {"done": []}).end()
    await worker.line("late node was refused: Fenced", attempt.run_id)
    assert (("notes",), "late") not in worker.shelf.items
    async with asyncio.timeout(20):
        while (await worker.control.ask("ping", {}))["leaked_threads"] > before:
            await asyncio.sleep(0.05)


async def test_a_sync_node_that_computes_is_broken_after_the_grace_period(worker: Worker) -> None:
    before = (await worker.control.ask("ping", {}))["busy_threads"]
    attempt, end = await stopped_at(worker, "computing_thread", "sync loop began", grace_ms=100)
    assert (end["outcome"], end["leaked_threads"]) == ("stopped", 1)
    async with asyncio.timeout(20):
        while (await worker.control.ask("ping", {}))["busy_threads"] > before:
            await asyncio.sleep(0.05)


@every_way
@pytest.mark.parametrize(("graph", "line"), [("blocking", "loop blocked"), ("computing", "loop busy")])
async def test_what_occupies_the_loop_is_broken_and_its_neighbour_says_the_same(
    worker: Worker, graph: str, line: str, modes: list[str]
) -> None:
    alone = worker.run("counting", {"done": []})
    undisturbed = await alone.end()
    neighbour = worker.run("counting", {"done": []})
    await neighbour.until("custom", 5)
    attempt = worker.run(graph, {"done": []}, stream_modes=modes)
    await worker.line(line)
    ping = asyncio.create_task(worker.control.ask("ping", {}))
    assert (await asyncio.wait_for(ping, 5))["runs"] == 2
    attempt.stop(grace_ms=300)
    end = await attempt.end()
    assert end["outcome"] == "stopped"
    assert end["head"]["values"] == {"done": ["one"]}
    assert not attempt.stuck.is_set()
    assert (await neighbour.end())["head"]["values"] == undisturbed["head"]["values"]
    assert neighbour.said("custom") == alone.said("custom")


@every_way
async def test_the_signal_spares_a_neighbour_that_occupies_the_loop(worker: Worker, modes: list[str]) -> None:
    attempt = worker.run("untidy", {"done": []})
    await worker.line("never tidy")
    neighbour = worker.run("holding", {"done": []}, stream_modes=modes)
    await worker.line("holding the loop")
    attempt.stop(grace_ms=0)
    assert (await neighbour.end())["outcome"] == "success"
    assert (await attempt.end())["outcome"] == "stopped"


@every_way
async def test_a_node_that_swallows_the_cancel_is_the_last_one(worker: Worker, modes: list[str]) -> None:
    attempt, end = await stopped_at(worker, "swallowing", "swallowing", stream_modes=modes)
    assert end["outcome"] == "stopped"
    assert "two" not in end["head"]["values"]["done"]
    assert (await worker.state(attempt))["values"] == end["head"]["values"]


@every_way
async def test_a_node_may_tidy_up(worker: Worker, modes: list[str]) -> None:
    attempt, end = await stopped_at(worker, "tidying", "tidying", stream_modes=modes)
    assert end["outcome"] == "stopped"
    assert "tidied up" in [line["message"] for line in worker.lines]


@every_way
async def test_tidying_up_for_ever_ends_with_the_grace_period(worker: Worker, modes: list[str]) -> None:
    attempt, end = await stopped_at(worker, "untidy", "never tidy", grace_ms=200, stream_modes=modes)
    assert end["outcome"] == "stopped"
    assert not attempt.stuck.is_set()


@every_way
async def test_an_error_that_the_stop_caused_is_no_failure(worker: Worker, modes: list[str]) -> None:
    attempt, end = await stopped_at(worker, "converting", "converting", stream_modes=modes)
    assert (end["outcome"], end["error"]) == ("stopped", None)


async def test_a_cancel_by_nobody_is_tried_again(worker: Worker) -> None:
    end = await worker.run("cancelled_factory", {"done": []}).end()
    assert end["outcome"] == "retry"


async def test_a_factory_is_stopped_too(worker: Worker) -> None:
    attempt, end = await stopped_at(worker, "slow_factory", "factory began")
    assert end["outcome"] == "stopped"
    assert end["head"] is None


async def test_what_a_finished_neighbour_node_wrote_is_kept(worker: Worker) -> None:
    attempt = worker.run("parallel", {"done": []}, stream_modes=["updates"])
    await worker.line("slow began")
    await attempt.until("updates", {"quick": {"done": ["quick"]}})
    attempt.stop()
    end = await attempt.end()
    assert end["outcome"] == "stopped"
    assert end["head"]["next"] == ["slow"]
    written = [rows for (thread, _, _), rows in worker.shelf.writes.items() if thread == attempt.thread_id]
    assert "done" in [channel for rows in written for _, _, _, channel, *_ in rows]
    assert (await worker.state(attempt))["next"] == ["slow"]


async def test_a_second_stop_changes_nothing(worker: Worker) -> None:
    attempt = worker.run("tidying", {"done": []})
    await worker.line("tidying")
    for kind in ("interrupt", "rollback", "interrupt"):
        attempt.stop(kind)
    end = await attempt.end()
    assert end["outcome"] == "stopped"
    assert "tidied up" in [line["message"] for line in worker.lines]
    attempt.stop()
    assert (await worker.run("counting", {"done": []}).end())["outcome"] == "success"


async def test_a_stop_before_anything_happened(worker: Worker) -> None:
    attempt = worker.run("counting", {"done": []})
    attempt.stop()
    end = await attempt.end()
    assert end["outcome"] == "stopped"
    assert attempt.said("custom") == []


async def test_a_drain_ends_at_the_boundary_of_a_superstep(worker: Worker) -> None:
    attempt = worker.run("draining", {"done": []})
    await attempt.until("custom", "ready")
    attempt.stop("drain")
    await worker.run("releasing", {"done": []}).end()
    end = await attempt.end()
    assert end["outcome"] == "drained"
    assert end["head"]["values"] == {"done": ["until_released"]}
    assert end["head"]["next"] == ["two"]
    resumed = await worker.run("draining", thread_id=attempt.thread_id).end()
    assert resumed["head"]["values"] == {"done": ["until_released", "two"]}


async def test_a_drain_may_be_followed_by_a_stop(worker: Worker) -> None:
    attempt = worker.run("draining", {"done": []})
    await attempt.until("custom", "ready")
    attempt.stop("drain")
    attempt.stop("lease_lost")
    assert (await attempt.end())["outcome"] == "stopped"


async def test_a_fenced_attempt_stops_by_itself(worker: Worker) -> None:
    async def refuse(attempt: Attempt | None, method: str, body: Any) -> None:
        if method == "put_checkpoint":
            raise Fenced("somebody else holds the thread")

    worker.fault = refuse
    attempt = worker.run("tidying", {"done": []})
    end = await attempt.end()
    assert end["outcome"] == "stopped"


async def test_slow_storage_is_waited_for_and_nothing_is_written_after_the_answer(worker: Worker) -> None:
    slow = asyncio.Event()
    held = asyncio.Event()

    async def hold(attempt: Attempt | None, method: str, body: Any) -> None:
        if method.startswith("put"):
            held.set()
            await slow.wait()

    attempt = worker.run("tidying", {"done": []})
    await worker.line("tidying")
    worker.fault = hold
    attempt.stop()
    await worker.line("tidied up")
    await held.wait()
    for _ in range(50):
        await worker.state(attempt)
    assert not attempt.answer.done(), "the answer comes after the last write"
    slow.set()
    assert (await attempt.end())["outcome"] == "stopped"


async def test_what_a_stopped_node_gave_to_the_store_is_waited_for(worker: Worker) -> None:
    slow = asyncio.Event()
    held = asyncio.Event()

    async def hold(attempt: Attempt | None, method: str, body: Any) -> None:
        if method == "store":
            held.set()
            await slow.wait()

    worker.fault = hold
    attempt = worker.run("storing", {"done": []}, durability="sync")
    await held.wait()
    attempt.stop()
    # Much longer than an answer would take.
    for _ in range(50):
        assert (await worker.state(attempt))["next"] == ["remember"]
    assert not attempt.answer.done(), "the answer comes after the last write"
    slow.set()
    assert (await attempt.end())["outcome"] == "stopped"
    assert (("notes",), "one") in worker.shelf.items


@every_way
async def test_stops_at_any_moment_lose_no_finished_step(worker: Worker, modes: list[str]) -> None:
    for number in range(40):
        durability = ("async", "sync", "exit")[number % 3]
        attempt = worker.run("walking", {"done": []}, durability=durability, stream_modes=modes)
        await worker.line(f"step {number % 20}", attempt.run_id)
        for _ in range(number // 4):
            await asyncio.sleep(0)
        attempt.stop()
        end = await attempt.end()
        assert end["outcome"] in ("stopped", "success"), end
        values = (await worker.state(attempt))["values"]
        assert end["head"]["values"] == values
        printed = [line["message"] for line in worker.lines if line["run_id"] == attempt.run_id]
        # At most the step that was under way is missing.
        assert len(printed) - 1 <= len(values["done"]) <= len(printed), (durability, printed)
        if end["outcome"] == "stopped":
            end = await worker.run("walking", thread_id=attempt.thread_id).end()
        assert end["head"]["values"] == {"done": [str(step) for step in range(20)]}


async def test_a_run_that_nothing_stops_is_called_stuck() -> None:
    async with working({"hopeless": GRAPHS["hopeless"]}) as worker:
        attempt = worker.run("hopeless", {"done": []})
        await worker.line("ignoring")
        attempt.stop(grace_ms=100)
        await asyncio.wait_for(attempt.stuck.wait(), 20)
        assert not attempt.answer.done()


@pytest.mark.parametrize("which", ["control", "data"])
async def test_the_end_of_either_socket_ends_the_process(which: str) -> None:
    async with working({"blocking": GRAPHS["blocking"], "tidying": GRAPHS["tidying"]}) as worker:
        busy = "blocking" if which == "control" else "tidying"
        worker.run(busy, {"done": []})
        await worker.line("loop blocked" if which == "control" else "tidying")
        getattr(worker, which)._transport.close()
        await asyncio.wait_for(worker.process.wait(), 20)


async def test_the_end_of_the_sockets_ends_what_user_code_started() -> None:
    async with working({"parenting": "./stubborn.py:parenting"}) as worker:
        attempt = worker.run("parenting", {"done": []})
        while not (begun := [line for line in worker.lines if line["message"].startswith("child ")]):
            worker._line.clear()
            await worker._line.wait()
        child = int(begun[0]["message"].split()[1])
        targets = {os.readlink(f"/proc/{child}/fd/{fd}") for fd in os.listdir(f"/proc/{child}/fd")}
        assert not any(target.startswith("socket:") for target in targets), "children have no part in this"
        assert not attempt.answer.done()
    async with asyncio.timeout(20):
        # Gone, or waiting for init to notice.
        while os.path.exists(f"/proc/{child}/exe") and os.readlink(f"/proc/{child}/exe"):
            await asyncio.sleep(0.05)
