"""Python graphs that misbehave, and processes that are killed, each on a server of its own."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from langgraph_sdk.client import LangGraphClient
from support.overheard import Overheard
from support.processes import alive, everything_below, executors
from support.server import ROOT, ServerProcess
from support.talk import (
    contents,
    human,
    listed,
    new_thread,
    reaches,
    run_status,
    said,
    thread_rests,
    until,
)

Launch = Callable[..., ServerProcess]
TROUBLE = ROOT / "tests/graphs/trouble/langgraph.json"
GRACE = 1
#: What a busy machine may add to what is promised.
SLACK = 4
STEPS = 40


@pytest.fixture
def trouble(launch: Launch) -> ServerProcess:
    flags = ["--stop-grace", str(GRACE), "--lease", "3", "--executor-processes", "1"]
    return launch(*flags, project=TROUBLE)


async def begun(client: LangGraphClient, graph: str, **state: Any) -> Overheard:
    """A run whose first node is done: it is in the one that misbehaves."""
    thread, input = await new_thread(client), human("a", **state)
    # Its process may be too busy to be asked for the state.
    run = Overheard(client, thread, graph, input, modes=("tasks",), durability="sync")
    await run.hears(lambda run: run.begun() - {"first"} != set())
    return run


async def stopped(client: LangGraphClient, run: Overheard) -> float:
    """Stops it; how long that took, in seconds."""
    asked = time.monotonic()
    await client.runs.cancel(run.thread, run.run_id, wait=True)
    took = time.monotonic() - asked
    await run.ended()
    assert await run_status(client, run.thread, run.run_id) == "interrupted"
    return took


async def neighbours(client: LangGraphClient, count: int) -> list[tuple[str, str]]:
    """Runs that do nothing but go on."""
    runs = []
    for _ in range(count):
        thread = await new_thread(client)
        run = await client.runs.create(
            thread,
            "steady",
            input=human("a", delay=0.1, steps=STEPS),
            config={"recursion_limit": STEPS + 5},
        )
        await said(client, thread, "step 2")
        runs.append((thread, run["run_id"]))
    return runs


async def undisturbed(client: LangGraphClient, runs: list[tuple[str, str]]) -> None:
    """They end as if nothing had happened: each step once, one human message."""
    for thread, run in runs:
        await reaches(client, thread, run, "success", "error", seconds=40)
        assert await run_status(client, thread, run) == "success"
        steps = [f"step {number}" for number in range(1, STEPS + 1)]
        assert await contents(client, thread) == ["a", *steps]


@pytest.mark.parametrize("graph", ["sleeps", "computes", "blocks", "computes_in_thread"])
async def test_a_node_that_cannot_be_cancelled_is_stopped(
    trouble: ServerProcess, graph: str
) -> None:
    client = trouble.server.client()
    near = await neighbours(client, 2)
    run = await begun(client, graph)
    assert await stopped(client, run) < GRACE + 2 + SLACK
    assert await contents(client, run.thread) == ["a", "first"]
    # The thread takes another message at once.
    await client.runs.wait(run.thread, "steady", input=human("b", delay=0, steps=2))
    assert (await contents(client, run.thread))[:3] == ["a", "first", "b"]
    await undisturbed(client, near)
    await client.aclose()


@pytest.mark.parametrize("graph", ["sleeps", "computes"])
async def test_the_process_of_a_broken_run_goes_on(trouble: ServerProcess, graph: str) -> None:
    """Neighbours are left in the process in which they were: a signal ends the one node."""
    client = trouble.server.client()
    near = await neighbours(client, 2)
    before = executors(trouble.pid)
    await stopped(client, await begun(client, graph))
    await undisturbed(client, near)
    assert all(alive(process) for process in before), "the neighbours had to move"
    await client.aclose()


async def test_a_node_that_only_a_kill_ends(trouble: ServerProcess) -> None:
    client = trouble.server.client()
    near = await neighbours(client, 3)
    before = executors(trouble.pid)
    run = await begun(client, "deaf")
    assert await stopped(client, run) < GRACE + 2 + SLACK
    await undisturbed(client, near)
    assert await contents(client, run.thread) == ["a", "first"]
    assert not all(alive(process) for process in before)
    await client.aclose()


async def test_a_node_that_swallows_the_stop(trouble: ServerProcess) -> None:
    """What it writes is kept; nothing after it runs."""
    client = trouble.server.client()
    run = await begun(client, "swallows")
    await stopped(client, run)
    spoken = await contents(client, run.thread)
    assert spoken[:2] == ["a", "first"] and "last" not in spoken
    await client.aclose()


async def test_a_node_may_clean_up(trouble: ServerProcess) -> None:
    """It is not cut short within the grace."""
    client = trouble.server.client()
    run = await begun(client, "cleans_up", delay=0.4)
    assert await stopped(client, run) > 0.3
    await until(lambda: _logged(trouble, "cleaned up"))
    await client.aclose()


async def _logged(server: ServerProcess, text: str) -> bool:
    assert server.log is not None
    return text in server.log.read_text()


async def test_the_executor_is_killed(trouble: ServerProcess) -> None:
    """Every run goes on where it was, with one human message."""
    client = trouble.server.client()
    near = await neighbours(client, 5)
    for process in executors(trouble.pid):
        process.kill()
    await undisturbed(client, near)
    for thread, run in near:
        assert await listed(client, thread) == {run: "success"}
    await client.aclose()


async def test_the_executor_kills_itself(trouble: ServerProcess, tmp_path: Path) -> None:
    client = trouble.server.client()
    thread = await new_thread(client)
    flag = str(tmp_path / "died")
    run = await client.runs.create(thread, "dies", input=human(flag))
    await reaches(client, thread, run["run_id"], "success", seconds=30)
    assert await contents(client, thread) == [flag, "lived"]
    await client.aclose()


async def test_a_killed_server_leaves_no_process(trouble: ServerProcess) -> None:
    """Neither executors nor what their nodes have started."""
    client = trouble.server.client()
    thread = await new_thread(client)
    await client.runs.create(thread, "spawns", input=human("a", delay=60))
    blocked = await begun(client, "sleeps")

    async def spawned() -> list[psutil.Process] | None:
        below = everything_below(trouble.pid)
        return below if len(below) >= 2 else None

    below = await until(spawned)
    trouble.kill()
    killed = time.monotonic()
    while any(alive(process) for process in below):
        assert time.monotonic() - killed < 1 + SLACK, [p.cmdline() for p in below if alive(p)]
        await asyncio.sleep(0.05)
    blocked.task.cancel()
    await client.aclose()


async def test_a_stopped_server_leaves_no_process(trouble: ServerProcess) -> None:
    below = everything_below(trouble.pid)
    assert below
    trouble.stop()
    assert not any(alive(process) for process in below)


async def test_runs_outlive_their_server(trouble: ServerProcess) -> None:
    client = trouble.server.client()
    near = await neighbours(client, 3)
    trouble.kill()
    trouble.start()
    await undisturbed(client, near)
    await client.aclose()


async def test_a_drain_ends_at_a_step_and_costs_no_attempt(trouble: ServerProcess) -> None:
    client = trouble.server.client()
    near = await neighbours(client, 3)
    assert trouble.interrupt() == 0
    trouble.start()
    await undisturbed(client, near)
    await client.aclose()


async def test_broken_graphs_do_not_stop_the_others(trouble: ServerProcess) -> None:
    client = trouble.server.client()
    thread = await new_thread(client)
    for graph, why in [
        ("missing", "a_package_that_nobody_has"),
        ("nameless", "nothing_has_this_name"),
    ]:
        run = await client.runs.create(thread, graph, input=human("a"))
        values = await client.runs.join(thread, run["run_id"])
        assert await run_status(client, thread, run["run_id"]) == "error"
        assert why in str(values), values
        assert trouble.log is not None
        assert why in trouble.log.read_text() + "".join(trouble.lines), "said at the start"
    values = await client.runs.wait(thread, "steady", input=human("b", delay=0, steps=1))
    assert values["messages"]
    await client.aclose()


async def test_changed_code_is_served(launch: Launch, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(TROUBLE.parent, project, ignore=shutil.ignore_patterns("__pycache__"))
    server = launch(project=project / "langgraph.json")
    client = server.server.client()

    async def answers() -> str:
        values = await client.runs.wait(
            None, "steady", input=human("a", delay=0, steps=1), raise_error=False
        )
        return values["messages"][-1]["content"] if "messages" in values else str(values)

    assert await answers() == "step 1"
    code = (project / "graphs.py").read_text()
    (project / "graphs.py").write_text(code.replace('f"step {', 'f"stride {'))

    async def changed() -> bool:
        return await answers() == "stride 1"

    await until(changed, seconds=30)
    # A mistake is said, and mended by the next change.
    (project / "graphs.py").write_text(code + "\nthis is no Python\n")
    await until(lambda: _logged(server, "SyntaxError"), seconds=30)
    (project / "graphs.py").write_text(code.replace('f"step {', 'f"stroke {'))

    async def mended() -> bool:
        return await answers() == "stroke 1"

    await until(mended, seconds=30)
    await client.aclose()


async def test_a_long_stop_does_not_hold_up_the_thread_of_others(
    trouble: ServerProcess,
) -> None:
    """Four runs block at once, in threads; all end, and new ones begin."""
    client = trouble.server.client()
    runs = [await begun(client, "blocks") for _ in range(4)]
    await asyncio.gather(*(stopped(client, run) for run in runs))
    for run in runs:
        assert await thread_rests(client, run.thread) == "interrupted"
    values = await client.runs.wait(None, "steady", input=human("b", delay=0, steps=3))
    assert len(values["messages"]) == 4
    await client.aclose()
