"""The second rung of stopping: for runs that do not end although they were asked to.

Everything here happens beside the loop that executes graphs, which may be the very thing that is blocked.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from types import FrameType
from typing import Callable

from . import current
from .current import CurrentRun
from .threads import TrackingPool

BLOCKED = 0.1
"""For so many seconds the loop must not have turned before a signal breaks what blocks it."""
PATIENCE = 0.8
"""So many seconds after the grace period a run is called stuck: the worker kills the process soon after."""
_PAUSE = 0.05

_SHARED = frozenset(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    for name in ("frames.py", "line.py", "logs.py", "outbox.py", "outlet.py", "peer.py", "threads.py")
)
_FRAMES = 12


class Pulse:
    """How long the loop that executes graphs takes to get to something new."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked_at: float | None = None
        self._last = 0.0

    def ask(self) -> None:
        """Asks the loop to answer as soon as it can, if it is not asked already."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            self._loop.call_soon_threadsafe(self._answer)

    def lag(self) -> float:
        """Seconds for which the loop has owed an answer; what the last one took if it owes none."""
        asked_at = self._asked_at
        return self._last if asked_at is None else time.monotonic() - asked_at

    def _answer(self) -> None:
        asked_at = self._asked_at
        if asked_at is not None:
            self._last = time.monotonic() - asked_at
            self._asked_at = None


def install_signal() -> None:
    """Makes SIGUSR1 cancel the run that occupies the main thread, if it is one that is to be broken."""
    signal.signal(signal.SIGUSR1, _break_here)


def _break_here(_signal: int, frame: FrameType | None) -> None:
    owner = current.run.get()
    if owner is None or not owner.breaking or owner.ended or _in_shared_code(frame):
        return
    raise asyncio.CancelledError("stop: the run occupied the loop")


def _in_shared_code(frame: FrameType | None) -> bool:
    # In the middle of a frame on a socket, or of a line of a log: what is written there belongs to all runs.
    for _ in range(_FRAMES):
        if frame is None:
            return False
        if frame.f_code.co_filename in _SHARED:
            return True
        frame = frame.f_back
    return False


async def break_run(
    owner: CurrentRun,
    pulse: Pulse,
    pool: TrackingPool,
    cancel_all: Callable[[], None],
) -> bool:
    """Does what can be done about a run whose grace period is over. Returns whether its code ended.

    What blocks the loop is broken by a signal; what waits although it was cancelled is cancelled once more;
    threads that compute get an exception, even where the run itself is over by now.
    """
    pool.break_those_of(owner)
    main = threading.main_thread().ident
    owner.breaking = True
    asked = False
    try:
        until = time.monotonic() + PATIENCE
        while not owner.ended and time.monotonic() < until:
            pulse.ask()
            await asyncio.sleep(_PAUSE)
            if owner.ended:
                break
            if pulse.lag() > BLOCKED and main is not None:
                signal.pthread_kill(main, signal.SIGUSR1)
            elif not asked:
                asked = True
                cancel_all()
            pool.break_those_of(owner)
    finally:
        owner.breaking = False
    return owner.ended
