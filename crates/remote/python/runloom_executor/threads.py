"""The threads that sync nodes and tools run in, and whose work they are doing.

asyncio's own pool has a handful of threads, and nobody knows what they are busy with: a few sync nodes that
nobody could stop would starve every other run.
"""

from __future__ import annotations

import ctypes
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable

from . import current
from .current import CurrentRun


class Broken(BaseException):
    """Raised in a thread of a stopped run, wherever its Python code is."""


@dataclass
class _Work:
    owner: CurrentRun | None
    broken: bool = False


class TrackingPool(ThreadPoolExecutor):
    """A thread pool that knows for which run each of its threads works."""

    def __init__(self, max_threads: int) -> None:
        super().__init__(max_workers=max_threads, thread_name_prefix="runloom")
        self._guard = threading.Lock()
        self._busy: dict[int, _Work] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(self._work, current.run.get(), fn, args, kwargs)

    def busy(self) -> int:
        """How many threads work."""
        with self._guard:
            return len(self._busy)

    def leaked(self) -> int:
        """How many threads work for a run that is over."""
        return len(self._left_since())

    def oldest_leak(self) -> float:
        """For how many seconds the first of them has been left behind; 0 without any."""
        left_since = self._left_since()
        return time.monotonic() - min(left_since) if left_since else 0.0

    def _left_since(self) -> list[float]:
        with self._guard:
            owners = [work.owner for work in self._busy.values()]
        return [owner.over_since for owner in owners if owner is not None and owner.over_since is not None]

    def working_for(self, owner: CurrentRun) -> int:
        """How many threads work for this run."""
        with self._guard:
            return sum(1 for work in self._busy.values() if work.owner is owner)

    def break_those_of(self, owner: CurrentRun) -> None:
        """Raises `Broken` in every thread that works for this run, once each.

        It arrives when the thread executes Python code again: a blocking call is not disturbed.
        """
        with self._guard:
            for thread, work in self._busy.items():
                if work.owner is owner and not work.broken:
                    work.broken = True
                    _raise_in(thread, Broken)

    def _work(
        self, owner: CurrentRun | None, fn: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        thread = threading.get_ident()
        with self._guard:
            self._busy[thread] = _Work(owner)
        try:
            try:
                return fn(*args, **kwargs)
            finally:
                self._leave(thread)
        except Broken:
            # It may have arrived on the way out; it arrives only once.
            self._leave(thread)
            raise

    def _leave(self, thread: int) -> None:
        with self._guard:
            if self._busy.pop(thread, None) is not None:
                # One that has not arrived yet must not hit the thread's next work.
                _raise_in(thread, None)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    what = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)
