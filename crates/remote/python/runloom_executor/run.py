"""One attempt of one run, from the request to its answer. Lives on the loop that executes graphs."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from contextlib import aclosing, asynccontextmanager
from typing import Any, AsyncGenerator, AsyncIterator, Callable

from langgraph.pregel import Pregel

from . import current, logs, traces
from .current import CurrentRun
from .errors import Fenced, Unavailable
from .events import EventMapper
from .factories import EXECUTE
from .graphs import Graphs, error_of
from .line import Line
from .outbox import Outbox
from .peer import Peer
from .request import RunRequest
from .saver import HostSaver
from .state import head as read_head
from .store import HostStore
from .threads import TrackingPool

try:
    from langgraph.errors import GraphDrained
except ImportError:  # before 1.2

    class GraphDrained(Exception):  # type: ignore[no-redef]
        """Raised here where the run ends at a boundary because it was asked to drain."""


try:
    from langgraph.runtime import RunControl
except ImportError:  # before 1.2
    RunControl = None  # type: ignore[assignment,misc]

DRAIN = "drain"

_MOST_POSTPONED = 100
"""How many turns of the loop a cancel may wait for a moment at which nothing is about to be written."""

_KNOWN = frozenset(inspect.signature(Pregel.astream).parameters)
_WRITERS = tuple(
    os.path.join(*place)
    for place in (
        ("langgraph", "pregel", "_loop.py"),
        ("langgraph", "pregel", "_executor.py"),
        ("runloom_executor", "saver.py"),
    )
)

_log = logging.getLogger("runloom")

HAS_DRAIN = RunControl is not None and "control" in _KNOWN
HAS_CONTEXT = "context" in _KNOWN
HAS_DURABILITY = "durability" in _KNOWN


class Run:
    """An attempt under way. Every method is called on the loop that executes graphs."""

    def __init__(
        self,
        owner: CurrentRun,
        request: RunRequest,
        outbox: Outbox,
        graphs: Graphs,
        data: Peer,
        pool: TrackingPool,
        store: bool,
    ) -> None:
        self.owner = owner
        self.request = request
        self.outbox = outbox
        self._graphs = graphs
        self._pool = pool
        self._stop: str | None = None
        self._cancelled = False
        self._postponed = 0
        self._control = RunControl() if HAS_DRAIN else None
        self.on_fenced: Callable[[], None] = lambda: None
        self._line = Line(data, owner.call, self._fenced)
        resume = not request.has_input
        self._saver = HostSaver(self._line, request.thread_id, resume=resume, latest=request.latest)
        self._store = HostStore(self._line) if store else None
        self._graph: Pregel | None = None
        self._head: dict[str, Any] | None = None
        self._work: asyncio.Task[None] | None = None

    def start(self, ended: Callable[[], None]) -> None:
        """Begins the work. `ended` is called after its end; the run is to be seen through then."""
        self._work = asyncio.get_running_loop().create_task(
            self._execute(),
            name=f"run {self.request.run_id}",
            context=current.context_of(self.owner),
        )
        self._work.add_done_callback(lambda _: ended())

    def stop(self, kind: str) -> None:
        """Asks the run to end: a drain at the next boundary of a superstep, everything else at once.

        What came first holds, except that anything may follow a drain.
        """
        if self._stop not in (None, DRAIN):
            return
        self._stop = kind
        if self._control is not None:
            self._control.request_drain(kind)
        if kind != DRAIN:
            self._cancel_once()

    def cancel_all(self) -> None:
        """Cancels whatever still goes on for the run, also what tidies up after the first cancel."""
        for task in list(self.owner.tasks):
            if not _is_writing(task):
                task.cancel()

    async def see_through(self) -> dict[str, Any]:
        """Waits until everything that the work wrote is acknowledged; the answer to `run`."""
        self.owner.ended = True
        # A cancel that arrives while LangGraph waits for its checkpoints leaves them to themselves.
        while writing := [task for task in list(self.owner.tasks) if _is_writing(task)]:
            await asyncio.wait(writing)
        await self._line.settle(calm=self._left_nothing())
        outcome, error = self._outcome()
        if outcome != "retry" and not self._line.fenced:
            await self._read_head()
        self._line.close()
        self.owner.close()
        logs.finish(self.request.run_id)
        return {
            "outcome": outcome,
            "error": None if error is None else error_of(error),
            "head": self._head,
            "leaked_threads": self._pool.working_for(self.owner),
        }

    # The work.

    async def _execute(self) -> None:
        traces.attach(self.request.trace)
        try:
            if self.request.only_input:
                await self._apply_input()
            else:
                await self._stream()
        except asyncio.CancelledError as cancelled:
            # LangGraph hands over its own tidying up when a cancel hits it there.
            for unwinding in cancelled.args:
                if isinstance(unwinding, asyncio.Future):
                    await asyncio.wait([unwinding])
            raise

    async def _apply_input(self) -> None:
        request = self.request
        if not request.has_input:
            return
        if head := await self._own_head():
            if head.metadata.get("source") != "input":
                return
            # It was accepted, but the graph's channels do not have it yet: they get it one superstep later.
            request.continue_from_head()
        async with self._open() as graph:
            arguments = request.arguments(graph, _KNOWN)
            arguments |= {"interrupt_before": "*", "interrupt_after": None}
            if HAS_DURABILITY:
                arguments["durability"] = "sync"
            stream = graph.astream(request.input, request.config, stream_mode=["checkpoints"], **arguments)
            async for _ in stream:
                pass

    async def _stream(self) -> None:
        request = self.request
        if request.attempt > 1 and await self._own_head():
            request.continue_from_head()
        async with self._open() as graph:
            facts = self._graphs.facts(request.graph_id)
            tell = self.outbox.tell_node if (request.trace or {}).get("nodes") else None
            mapper = EventMapper(request.stream_modes, request.subgraphs, facts, tell)
            config = request.config
            graph = mapper.listening(graph, config)
            arguments = request.arguments(graph, _KNOWN)
            if self._control is not None:
                arguments["control"] = self._control
            if mapper.wants_events:
                arguments["version"] = "v2"
            begin = graph.astream_events if mapper.wants_events else graph.astream
            arguments |= {"stream_mode": mapper.stream_modes(), "subgraphs": request.subgraphs}
            stream = begin(request.input, config, **arguments)
            async with aclosing(stream):
                async for said in stream:
                    self.outbox.put(mapper.map_event(said) if mapper.wants_events else mapper.map(said))
                    self._end_at_boundary(said)
                    await self._credit(stream)
            self.outbox.put(mapper.finish())
            self._head = mapper.head()

    async def _credit(self, stream: AsyncGenerator[Any, None]) -> None:
        """Goes on only while the worker takes events off its hands. Who is stopped need not wait for that."""
        if self.outbox.has_credit or self._cancelled:
            return
        try:
            await self.outbox.credit()
        except asyncio.CancelledError as cancelled:
            # As if it had been hit inside: the graph has to unwind as it always does.
            await stream.athrow(cancelled)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Pregel]:
        """The graph, which is remembered: its state is read when the work is over."""
        request = self.request
        opened = self._graphs.open(
            request.graph_id,
            access=EXECUTE,
            config=request.config,
            checkpointer=self._saver,
            store=self._store,
            context=request.context,
        )
        async with opened as graph:
            self._graph = graph
            yield graph

    def _end_at_boundary(self, said: Any) -> None:
        """Drains a graph whose LangGraph does not know how to: a checkpoint of the root is said before its
        tasks are started, so that is where to leave."""
        if self._stop is None or self._control is not None:
            return
        if isinstance(said, dict):
            said = said["data"].get("chunk") if not said.get("parent_ids") else None
        if isinstance(said, tuple):
            ns, mode, chunk = said if len(said) == 3 else ((), *said)
            if not ns and mode == "checkpoints" and chunk["next"]:
                raise GraphDrained(self._stop)

    async def _own_head(self) -> Any:
        """The thread's last checkpoint, if it was written by this very run."""
        head = await self._saver.aget_tuple(
            {"configurable": {"thread_id": self.request.thread_id, "checkpoint_ns": ""}}
        )
        if head is None or head.metadata.get("run_id") != self.request.run_id:
            return None
        return head

    # The end.

    def _outcome(self) -> tuple[str, BaseException | None]:
        assert self._work is not None
        stopped = self._stop not in (None, DRAIN)
        if self._work.cancelled():
            # Cancelled by nobody who may: something around the graph broke, so it may be tried again.
            return ("stopped", None) if stopped else ("retry", asyncio.CancelledError("without a stop"))
        error = self._work.exception()
        if error is None:
            if self.request.only_input:
                return "stopped", None
            return ("success" if self._head is not None else "paused"), None
        if isinstance(error, GraphDrained):
            return ("stopped" if stopped else "drained"), None
        if stopped or self._line.fenced or _comes_from(error, Fenced):
            return "stopped", None
        if _comes_from(error, Unavailable):
            return "retry", error
        return "failed", error

    def _left_nothing(self) -> bool:
        """Whether the work came to its end in order, and no task of the run goes on: then LangGraph has waited
        for all that it wrote."""
        work = self._work
        assert work is not None
        orderly = not work.cancelled() and work.exception() is None
        return orderly and all(task.done() for task in list(self.owner.tasks))

    async def _read_head(self) -> None:
        """Finds out where the thread is left, if the stream did not tell: what tasks of an unfinished
        superstep wrote is part of the state."""
        if self._head is None and self._graph is not None:
            try:
                self._head = await read_head(self._graph, self.request.thread_id)
            except Exception as error:  # the worker has the checkpoint; only its reading is missing
                _log.warning("the state after run %s cannot be told: %r", self.request.run_id, error)

    # Stopping.

    def _fenced(self) -> None:
        self.stop("lease_lost")
        self.on_fenced()

    def _cancel_once(self) -> None:
        if self._cancelled or self._work is None:
            return
        if self._is_about_to_write() and self._postponed < _MOST_POSTPONED:
            # Cancelling would take a finished superstep back before it was ever asked for.
            self._postponed += 1
            asyncio.get_running_loop().call_soon(self._cancel_once)
            return
        self._cancelled = True
        self._work.cancel(f"stop: {self._stop}")

    def _is_about_to_write(self) -> bool:
        """Whether a task of the run has not begun yet. With durability `sync` it may be the write of a
        checkpoint that the run waits for, and a cancel reaches it, too."""
        return any(
            inspect.iscoroutine(work := task.get_coro())
            and inspect.getcoroutinestate(work) == inspect.CORO_CREATED
            for task in list(self.owner.tasks)
            if task is not self._work and not task.done()
        )


def _is_writing(task: asyncio.Task[Any]) -> bool:
    """Whether a task is LangGraph's and about to store something: checkpoints wait there for earlier ones."""
    code = getattr(task.get_coro(), "cr_code", None)
    return not task.done() and code is not None and code.co_filename.endswith(_WRITERS)


def _comes_from(error: BaseException, kind: type[BaseException]) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kind):
            return True
        if isinstance(seen, BaseExceptionGroup) and any(_comes_from(each, kind) for each in seen.exceptions):
            return True
        seen = seen.__cause__
    return False
