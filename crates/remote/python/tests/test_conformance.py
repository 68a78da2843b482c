"""LangGraph's own conformance tests of checkpointers, on the one that asks its worker for everything."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from shelf import Host

from runloom_executor.line import Line
from runloom_executor.peer import Peer
from runloom_executor.saver import HostSaver

pytest.importorskip("langgraph.checkpoint.conformance")
from langgraph.checkpoint.conformance.initializer import RegisteredCheckpointer  # noqa: E402
from langgraph.checkpoint.conformance.validate import validate  # noqa: E402

pytestmark = pytest.mark.asyncio


class ManyThreads(BaseCheckpointSaver):
    """One saver for all threads and runs, as the tests expect it: each has a `HostSaver` of its own."""

    def __init__(self, opener: Any) -> None:
        super().__init__()
        self._open = opener

    async def aget_tuple(self, config: Any) -> Any:
        return await (await self._saver(config)).aget_tuple(config)

    async def alist(self, config: Any, **selection: Any) -> AsyncIterator[Any]:
        async for found in (await self._saver(config)).alist(config, **selection):
            yield found

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        saver = await self._saver(config, write=True, run=metadata.get("run_id"))
        return await saver.aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        await (await self._saver(config, write=True)).aput_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await (await self._open(None)).adelete_thread(thread_id)

    async def adelete_for_runs(self, run_ids: Any) -> None:
        await (await self._open(None)).adelete_for_runs(run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await (await self._open(None)).acopy_thread(source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
        await (await self._open(None)).aprune(thread_ids, strategy=strategy)

    async def _saver(self, config: Any, *, write: bool = False, run: str | None = None) -> HostSaver:
        return await self._open(config["configurable"]["thread_id"], write=write, run=run)


async def check(factory: Any, name: str) -> None:
    failures: list[str] = []

    async def make() -> AsyncIterator[Any]:
        async with factory() as saver:
            yield saver

    report = await validate(RegisteredCheckpointer(name, make))
    for capability, result in report.results.items():
        failures += [f"{capability}: {failure}" for failure in result.failures]
        assert result.detected and result.tests_passed, f"{capability} was not tested"
    assert not failures, "\n".join(failures)


async def test_in_memory() -> None:
    class Opened:
        async def __aenter__(self) -> BaseCheckpointSaver:
            self.host = Host()
            await self.host.__aenter__()
            self.count = 0
            return ManyThreads(self.open)

        async def __aexit__(self, *_: Any) -> None:
            await self.host.__aexit__()

        async def open(self, thread: str | None, *, write: bool = False, run: str | None = None) -> HostSaver:
            self.count += 1
            self.host.calls[self.count] = (thread or "", run)
            return HostSaver(Line(self.host.peer, self.count), thread or "")

    await check(Opened, "memory")


@pytest.mark.timeout(300)
@pytest.mark.skipif("RUNLOOM_CONFORMANCE_FD" not in os.environ, reason="started by the worker's own tests")
async def test_on_a_database() -> None:
    """The other end of the socket is a real database, which is told with `open` which thread a call is for;
    call 0 is for what concerns several."""

    class Opened:
        async def __aenter__(self) -> BaseCheckpointSaver:
            return ManyThreads(self.open)

        async def __aexit__(self, *_: Any) -> None:
            pass

        async def open(self, thread: str | None, *, write: bool = False, run: str | None = None) -> HostSaver:
            asked = {"call": 0, "thread_id": thread, "write": write, "run_id": run}
            call = 0 if thread is None else await peer.ask("open", asked)
            return HostSaver(Line(peer, call), thread or "")

    with socket.socket(fileno=os.dup(int(os.environ["RUNLOOM_CONFORMANCE_FD"]))) as sock:
        peer = await Peer.open(sock)
        await asyncio.wait_for(check(Opened, "database"), 300)
