"""Events on their way from the loop that executes graphs to the worker."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable

MOST_EVENTS = 64
MOST_BYTES = 64 * 1024
"""How much one frame carries: it is full when either is reached."""


class Outbox:
    """The events of one run. They are put in on one loop and sent from another one, as they come.

    Nothing lingers: what is there when the other loop looks is sent, in frames of a bounded size.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, send: Callable[[list[list[Any]]], None], credit: int
    ) -> None:
        """`send` sends one frame of events and is called on `loop`; `credit` is in bytes of event data."""
        self._loop = loop
        self._send = send
        self._guard = threading.Lock()
        self._waiting: list[list[Any]] = []
        self._flushing = False
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
            if self._flushing:
                return
            self._flushing = True
        self._loop.call_soon_threadsafe(self.flush)

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

    # On the loop that speaks with the worker.

    def flush(self) -> None:
        """Sends what is there."""
        with self._guard:
            events, self._waiting = self._waiting, []
            self._flushing = False
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
