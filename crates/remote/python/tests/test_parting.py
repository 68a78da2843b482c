"""The end of a process that is not needed any more, as the worker asks for it."""

from __future__ import annotations

import asyncio

import pytest
from worker import working

GRAPHS = {"forking": "./parting.py:forking"}


async def test_a_process_that_is_asked_to_end_does_what_was_registered_for_that() -> None:
    async with working(GRAPHS) as worker:
        worker.process.terminate()
        await worker.line("goodbye")
        await asyncio.wait_for(worker.process.wait(), 20)


async def test_a_forked_child_that_is_asked_to_end_does_not_end_the_process() -> None:
    async with working(GRAPHS) as worker:
        end = await worker.run("forking", {"done": []}).end()
        assert end["head"]["values"] == {"done": ["ended by 15"]}
        await worker.control.ask("ping", {})
        end = await worker.run("forking", {"done": []}).end()
        assert end["outcome"] == "success"
        assert all(line["message"] != "goodbye" for line in worker.lines)


async def test_a_process_ends_if_its_worker_says_nothing_any_more() -> None:
    async with working(GRAPHS, silence_s=1) as worker:
        for _ in range(8):
            await worker.control.ask("ping", {})
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(worker.process.wait(), 0.4)
        await asyncio.wait_for(worker.process.wait(), 20)
