"""Questions that are called off, whatever the factories of their graphs do about it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from worker import working

from runloom_executor.current import CurrentRun
from runloom_executor.errors import ProtocolError
from runloom_executor.executor import Answers, Executor

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("graph", ["slow_reading", "blocked_reading", "deaf_reading"])
async def test_a_question_that_is_called_off_ends(graph: str) -> None:
    async with working({graph: f"./stubborn.py:{graph}"}) as worker:
        call = worker.control._next_call
        body = {"graph_id": graph, "thread_id": "t", "ns": "", "subgraphs": False}
        answer = worker.control.send("state", body)
        await worker.line("reading")
        worker.control.item(call, "stop", {"kind": "interrupt", "grace_ms": 100})
        with pytest.raises(ProtocolError, match="CancelledError"):
            await asyncio.wait_for(answer, 20)


class Refusals:
    def __init__(self) -> None:
        self.all: list[tuple[CurrentRun, ProtocolError]] = []
        self.one = asyncio.Event()

    def answered(self, owner: CurrentRun, body: Any) -> None:
        raise AssertionError(f"an answer to {owner}: {body}")

    def refused(self, owner: CurrentRun, error: ProtocolError) -> None:
        self.all.append((owner, error))
        self.one.set()


async def test_a_question_that_is_called_off_before_it_began_is_over() -> None:
    refusals, nothing = Refusals(), cast(Any, None)
    executor = Executor(nothing, nothing, nothing, False, cast(Answers, refusals))
    owner = CurrentRun(7, None)
    executor.ask(owner, "state", {})
    executor.stop(7, "interrupt")
    await asyncio.wait_for(refusals.one.wait(), 20)
    [(refused, error)] = refusals.all
    assert refused is owner and owner.over
    assert error.type == "Unavailable"
