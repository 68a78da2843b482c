"""Events on their way from the loop that executes graphs to the worker."""

from __future__ import annotations

import asyncio
import threading
from time import monotonic
from typing import Any, Callable

MOST_EVENTS = 64
MOST_BYTES = 64 * 1024
"""How much one frame carries: it is full when either is reached."""

GATHERED = 0.001
"""For how many seconds the events of a flood are gathered before they are sent."""
AT_ONCE = 8
"""How many times in a row events are sent at once; then once for every `GATHERED` seconds that pass."""


class Outbox:
    """The events of one run. They are put in on one loop and sent as they come, in frames of a bounded size.

    A few are sent at once, by whoever puts them in: waking another thread for each would cost more than the
    event itself. Those of a flood are gathered for a moment and sent from another loop, whatever goes on in
    the one that they come from.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[list[list[Any]]], None],
        credit: int,
        tell_node: Callable[[list[Any]], None] = lambda node: None,
    ) -> None:
        """`send` sends one frame of events, from any thread. `loop` sends what is gathered; `credit` is in
        bytes of event data. `tell_node` tells the worker, from any thread, of a node that begins or ends."""
        self.tell_node = tell_node
        self._loop = loop
        self._send = send
        self._guard = threading.Lock()
        self._waiting: list[list[Any]] = []
        self._gathering = False
        self._at_once: float = AT_ONCE
        self._put_at = monotonic()
        self._credit = credit
        self._more = asyncio.Event()

    # On the loop that executes graphs.

    def put(self, events: list[list[Any]]) -> None:
        """Hands over events `[name, namespace, json, said]`."""
        if not events:
            return
        self._credit -= sum(len(event[2]) for event in events)
        with self._guard:
            self._waiting += events
            if self._gathering:
                return
            if self._may_send():
                self._send_all()
                return
            self._gathering = True
        self._loop.call_soon_threadsafe(self._loop.call_later, GATHERED, self.flush)

    def add_credit(self, count: int) -> None:
        """So many bytes were taken off the worker's hands."""
        self._credit += count
        if self._credit > 0:
            self._more.set()

    @property
    def has_credit(self) -> bool:
        """Whether another event may be sent, whatever its size."""
        return self._credit > 0

    async def credit(self) -> None:
        """Waits until there is credit."""
        while self._credit <= 0:
            self._more.clear()
            await self._more.wait()

    def _may_send(self) -> bool:
        now = monotonic()
        self._at_once = min(AT_ONCE, self._at_once + (now - self._put_at) / GATHERED)
        self._put_at = now
        if self._at_once < 1:
            return False
        self._at_once -= 1
        return True

    # From any thread.

    def flush(self) -> None:
        """Sends what is there."""
        with self._guard:
            self._gathering = False
            self._send_all()

    def _send_all(self) -> None:
        events, self._waiting = self._waiting, []
        frame: list[list[Any]] = []
        size = 0
        for event in events:
            if frame and (len(frame) == MOST_EVENTS or size + len(event[2]) > MOST_BYTES):
                self._send(frame)
                frame, size = [], 0
            frame.append(event)
            size += len(event[2])
        if frame:
            self._send(frame)
