"""The socket on which the worker asks, served by a thread and a loop of its own.

So a ping is answered and a stop is heard whatever user code does on the loop that executes graphs.
"""

from __future__ import annotations

import asyncio
import queue
import resource
import socket
import sys
import threading
from dataclasses import dataclass
from typing import Any, Callable

from .current import CurrentRun
from .errors import Invalid, ProtocolError, Unavailable, Unsupported
from .executor import Executor
from .outbox import Outbox
from .parent import end
from .peer import Peer
from .questions import QUESTIONS
from .stopping import Pulse, break_run
from .threads import TrackingPool
from .traces import trace_id_of

GRACE = 5.0
"""The grace period, in seconds, of a run that stops because it was fenced."""

STOPS = ("interrupt", "rollback", "timeout", "drain", "lease_lost")


@dataclass
class _Active:
    owner: CurrentRun
    outbox: Outbox | None = None


class Control:
    """Made in the main thread; `answered`, `refused` and `fenced` may be called from any thread."""

    def __init__(self, sock: socket.socket, graph_loop: asyncio.AbstractEventLoop) -> None:
        self.hellos: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
        """`hello` requests, to be answered with `reply` or `fail`."""
        self._graph_loop = graph_loop
        self._pool: TrackingPool | None = None
        self._pulse = Pulse(graph_loop)
        self._executor: Executor | None = None
        self._active: dict[int, _Active] = {}
        self._breaking: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._peer: Peer
        self._sock = sock
        self._silent_for = 0

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._serve, name="runloom-control", daemon=True).start()

    def take_runs(self, executor: Executor, pool: TrackingPool) -> None:
        """From now on runs and questions go to this executor, whose sync nodes work in this pool."""
        self._pool = pool
        self._executor = executor

    def end_in_silence(self, seconds: int) -> None:
        """From now on the process ends if the worker says nothing for so many seconds."""
        self._loop.call_soon_threadsafe(self._tick, seconds)

    # From any thread.

    def reply(self, call: int, body: Any) -> None:
        """Answers a request."""
        self._over(call, lambda: self._peer.reply(call, body))

    def fail(self, call: int, error: ProtocolError) -> None:
        """Answers a request with an error."""
        self._over(call, lambda: self._peer.fail(call, error))

    def answered(self, owner: CurrentRun, body: Any) -> None:
        """The run or question is over."""
        self.reply(owner.call, body)

    def refused(self, owner: CurrentRun, error: ProtocolError) -> None:
        """The run or question is over with an error."""
        self.fail(owner.call, error)

    def fenced(self, owner: CurrentRun) -> None:
        """The run was asked to stop because it no longer holds its thread."""
        self._loop.call_soon_threadsafe(self._after_grace, owner, GRACE)

    # In the thread.

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()

    async def _listen(self) -> None:
        # Without the worker there is nobody to work for, and nobody who could end what runs here.
        self._peer = await Peer.open(self._sock, self._on_request, self._on_item, on_end=end)

    def _tick(self, most: int) -> None:
        # Turns of the loop are counted, not time: what was said while this process could not listen has
        # still to be heard.
        self._silent_for += 1
        if self._silent_for > most:
            end()
        self._loop.call_later(1.0, self._tick, most)

    def _on_request(self, _peer: Peer, call: int, method: str, body: Any) -> None:
        self._silent_for = 0
        if not isinstance(body, dict):
            self.fail(call, Invalid(f"the body of {method} is no map"))
        elif method == "ping":
            self.reply(call, self._ping())
        elif method == "hello":
            self._hello(call, body)
        elif method == "run":
            self._run(call, body)
        elif method in QUESTIONS:
            self._question(call, method, body)
        else:
            self.fail(call, Unsupported(f"unknown method {method!r}"))

    def _hello(self, call: int, body: dict[str, Any]) -> None:
        if self._executor is not None:
            self.fail(call, Invalid("hello was said before"))
        else:
            self.hellos.put((call, body))

    def _run(self, call: int, body: dict[str, Any]) -> None:
        if self._executor is None:
            self.fail(call, Unavailable("the graphs are not loaded yet"))
            return
        credit = body.get("credit")
        if not isinstance(credit, int):
            self.fail(call, Invalid("credit is no number of bytes"))
            return
        owner = CurrentRun(call, body.get("run_id"), body.get("thread_id"), trace_id_of(body.get("trace")))
        outbox = Outbox(
            self._loop,
            lambda events: self._peer.item(call, "events", events),
            credit,
            lambda node: self._peer.item(call, "node", node),
        )
        self._active[call] = _Active(owner, outbox)
        self._graph_loop.call_soon_threadsafe(self._executor.run, owner, body, outbox)

    def _question(self, call: int, method: str, body: dict[str, Any]) -> None:
        if self._executor is None:
            self.fail(call, Unavailable("the graphs are not loaded yet"))
            return
        owner = CurrentRun(call, None)
        self._active[call] = _Active(owner)
        self._graph_loop.call_soon_threadsafe(self._executor.ask, owner, method, body)

    def _on_item(self, call: int, name: str, body: Any) -> None:
        active = self._active.get(call)
        if active is None or self._executor is None:
            return
        if name == "credit" and isinstance(body, int):
            self._graph_loop.call_soon_threadsafe(self._executor.credit, call, body)
        elif name == "stop" and isinstance(body, dict) and body.get("kind") in STOPS:
            kind = body["kind"]
            self._graph_loop.call_soon_threadsafe(self._executor.stop, call, kind)
            if kind != "drain":
                self._after_grace(active.owner, (body.get("grace_ms") or 0) / 1000)

    def _after_grace(self, owner: CurrentRun, seconds: float) -> None:
        def begin() -> None:
            task = self._loop.create_task(self._break(owner))
            self._breaking.add(task)
            task.add_done_callback(self._breaking.discard)

        self._loop.call_later(seconds, begin)

    async def _break(self, owner: CurrentRun) -> None:
        executor, pool = self._executor, self._pool
        assert executor is not None and pool is not None

        def cancel_all() -> None:
            self._graph_loop.call_soon_threadsafe(executor.cancel_all, owner.call)

        ended = await break_run(owner, self._pulse, pool, cancel_all)
        if not ended and owner.call in self._active:
            self._peer.item(owner.call, "stuck", {})

    def _ping(self) -> dict[str, Any]:
        lag = self._pulse.lag()
        self._pulse.ask()
        return {
            "lag_ms": int(lag * 1000),
            # A copy: other threads take away from it what they answer.
            "runs": sum(1 for active in list(self._active.values()) if active.outbox is not None),
            "busy_threads": self._pool.busy() if self._pool else 0,
            "leaked_threads": self._pool.leaked() if self._pool else 0,
            "oldest_leak_s": self._pool.oldest_leak() if self._pool else 0.0,
            "rss_bytes": _resident_bytes(),
        }

    def _over(self, call: int, answer: Callable[[], None]) -> None:
        active = self._active.pop(call, None)
        if active is not None and active.outbox is not None:
            # The answer is the last that is said about a run.
            active.outbox.flush()
        try:
            answer()
        except Exception as error:  # an answer that does not fit into a frame
            self._peer.fail(call, ProtocolError(f"{type(error).__name__}: {error}"))


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        # The highest it ever was, in KiB; only macOS counts in bytes.
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
