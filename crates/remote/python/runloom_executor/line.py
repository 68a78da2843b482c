"""What one run, or one question, asks of the worker: every call of it goes over its line.

A line outlives nothing: it says when all that was asked is answered, and refuses what comes after its end,
such as writes of a thread that nobody could stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .errors import Fenced
from .peer import Peer, settle

T = TypeVar("T")


class Line:
    """The data socket as one run or question uses it. Made and ended on the loop of the peer."""

    def __init__(self, peer: Peer, call: int, on_fenced: Callable[[], None] | None = None) -> None:
        """`call` is the number of the run or question on the control socket. `on_fenced` is called once,
        at once and on the loop, when the worker says that the attempt no longer holds its thread."""
        self.call = call
        self.fenced = False
        self._peer = peer
        self._on_fenced = on_fenced
        self._open = 0
        self._quiet: asyncio.Future[None] | None = None
        self._closed = False

    async def ask(self, method: str, body: dict[str, Any]) -> Any:
        """Asks the worker; the answer or its error. Cancelling the caller takes nothing back: what was asked
        is carried out, and `settle` waits for it. Works on any loop."""
        if asyncio.get_running_loop() is self._peer.loop:
            return await self._send(method, body)
        elsewhere = asyncio.run_coroutine_threadsafe(self.ask(method, body), self._peer.loop)
        return await asyncio.wrap_future(elsewhere)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Does `work` on the loop for a caller in another thread, and waits for it there."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._peer.loop:
            work.close()
            raise RuntimeError(
                "checkpoints and the store cannot be used synchronously from async code: "
                "await the asynchronous method (ainvoke, aget_state, aput, …) instead"
            )
        return asyncio.run_coroutine_threadsafe(work, self._peer.loop).result()

    async def settle(self, calm: bool = False) -> None:
        """Waits until all that was asked is answered, whatever the answer is. It is `calm` where nobody is
        left who could ask."""
        while True:
            # LangGraph hands its last writes to tasks, from callbacks of other tasks: let them start.
            for _ in range(0 if calm else 3):
                await asyncio.sleep(0)
            if not self._open:
                return
            if self._quiet is None:
                self._quiet = self._peer.loop.create_future()
            # Others may wait for the same.
            await asyncio.shield(self._quiet)

    def close(self) -> None:
        """Refuses whatever is asked from now on."""
        self._closed = True

    def _send(self, method: str, body: dict[str, Any]) -> asyncio.Future[Any]:
        if self._closed:
            raise Fenced(f"the run is over: {method} comes too late")
        if self.fenced:
            raise Fenced(f"the attempt no longer holds its thread: {method} is refused")
        answer: asyncio.Future[Any] = self._peer.loop.create_future()

        def then(said: Any, error: Exception | None) -> None:
            self._answered(error)
            settle(answer, said, error)

        self._open += 1
        self._peer.post(method, {"call": self.call, **body}, then)
        return answer

    def _answered(self, error: Exception | None) -> None:
        self._open -= 1
        if self._quiet is not None and not self._open:
            self._quiet.set_result(None)
            self._quiet = None
        if self.fenced or not isinstance(error, Fenced):
            return
        self.fenced = True
        if self._on_fenced is not None:
            self._on_fenced()
