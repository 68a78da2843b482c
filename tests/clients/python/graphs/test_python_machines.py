"""Python graphs on several machines, of which some die; skipped where there is no Postgres and NATS."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph_sdk.client import LangGraphClient
from support.machines import Machines, Role
from support.overheard import Overheard
from support.processes import alive, everything_below
from support.server import ROOT
from support.talk import contents, human, new_thread, reaches, run_status, said

pytestmark = pytest.mark.skipif(
    "RUNLOOM_TEST_DATABASE_URL" not in os.environ or "RUNLOOM_BIN" not in os.environ,
    reason="needs a binary and the servers of scripts/services.sh",
)
TROUBLE = ROOT / "tests/graphs/trouble/langgraph.json"
STEPS = 30
WHOLE = ["a", *(f"step {number}" for number in range(1, STEPS + 1))]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    machines = Machines(TROUBLE, tmp_path, "--stop-grace", "1")
    yield machines
    machines.stop()


async def going(client: LangGraphClient, count: int) -> list[tuple[str, str]]:
    """Runs that do nothing but go on, spread over the workers."""
    runs = []
    for _ in range(count):
        thread = await new_thread(client)
        run = await client.runs.create(
            thread,
            "steady",
            input=human("a", delay=0.2, steps=STEPS),
            config={"recursion_limit": STEPS + 5},
        )
        runs.append((thread, run["run_id"]))
    for thread, _ in runs:
        await said(client, thread, "step 2")
    return runs


async def all_end_whole(client: LangGraphClient, runs: list[tuple[str, str]]) -> None:
    for thread, run in runs:
        await reaches(client, thread, run, "success", "error", seconds=40)
        assert await run_status(client, thread, run) == "success"
        assert await contents(client, thread) == WHOLE, "each step once"


async def test_a_killed_workers_runs_go_on_elsewhere(machines: Machines) -> None:
    client = machines.server.client()
    runs = await going(client, 6)
    dead = machines.workers[0]
    below = everything_below(dead.pid)
    dead.end(signal.SIGKILL)
    await all_end_whole(client, runs)
    assert below and not any(alive(process) for process in below)
    await client.aclose()


async def test_a_drained_worker_hands_its_runs_over(machines: Machines) -> None:
    """A rolling restart: no step twice, no attempt lost."""
    client = machines.server.client()
    runs = await going(client, 4)
    for worker in list(machines.workers):
        machines.add_worker()
        assert worker.end(signal.SIGTERM) == 0
    await all_end_whole(client, runs)
    await client.aclose()


async def test_a_stop_reaches_the_worker_whose_node_blocks(machines: Machines) -> None:
    client = machines.server.client()
    runs = await going(client, 2)
    for graph in ("sleeps", "computes", "deaf"):
        thread = await new_thread(client)
        run = Overheard(client, thread, graph, human("a"), modes=("tasks",), durability="sync")
        await run.hears(lambda run: run.begun() - {"first"} != set())
        turn = await client.runs.create(
            thread,
            "steady",
            input=human("b", delay=0, steps=3),
            multitask_strategy="interrupt",
        )
        await client.runs.join(thread, turn["run_id"])
        await run.ended()
        assert await run_status(client, thread, run.run_id) == "interrupted"
        assert await contents(client, thread) == ["a", "first", "b", "step 2", "step 3"]
    await all_end_whole(client, runs)
    await client.aclose()


async def test_a_frozen_worker_writes_nothing_when_it_wakes(machines: Machines) -> None:
    client = machines.server.client()
    runs = await going(client, 4)
    frozen: Role = machines.workers[0]
    frozen.process.send_signal(signal.SIGSTOP)
    await all_end_whole(client, runs)
    frozen.process.send_signal(signal.SIGCONT)
    thread = await new_thread(client)
    run = await client.runs.create(thread, "steady", input=human("a", delay=0, steps=2))
    await client.runs.join(thread, run["run_id"])
    for other, _ in runs:
        assert await contents(client, other) == WHOLE
    await client.aclose()
