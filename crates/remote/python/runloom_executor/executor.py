"""The loop that executes graphs, as the control side sees it: runs and questions under way."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any, Coroutine, Protocol

from . import current, questions
from .current import CurrentRun
from .errors import Failed, ProtocolError, Unavailable, message_of
from .graphs import Graphs
from .line import Line
from .outbox import Outbox
from .peer import Peer
from .request import RunRequest
from .run import Run
from .threads import TrackingPool

_log = logging.getLogger("runloom")


class Answers(Protocol):
    """Where answers go. Callable from any thread."""

    def answered(self, owner: CurrentRun, body: Any) -> None:
        """The run or question is over."""

    def refused(self, owner: CurrentRun, error: ProtocolError) -> None:
        """The run or question is over, and there is no answer but an error."""

    def fenced(self, owner: CurrentRun) -> None:
        """The run learned that it no longer holds its thread, and was asked to stop."""


class Executor:
    """Every method is called on the loop that executes graphs."""

    def __init__(self, graphs: Graphs, data: Peer, pool: TrackingPool, store: bool, answers: Answers) -> None:
        """`store` is whether graphs get the worker's store."""
        self._graphs = graphs
        self._data = data
        self._pool = pool
        self._store = store
        self._answers = answers
        self._runs: dict[int, Run] = {}
        self._questions: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def run(self, owner: CurrentRun, body: dict[str, Any], outbox: Outbox) -> None:
        """Begins an attempt of a run."""
        try:
            request = RunRequest(body)
            self._graphs.facts(request.graph_id)
        except ProtocolError as error:
            owner.close()
            self._answers.refused(owner, error)
            return
        run = Run(owner, request, outbox, self._graphs, self._data, self._pool, self._store)
        run.on_fenced = lambda: self._answers.fenced(owner)
        self._runs[owner.call] = run
        run.start(lambda: self._see(owner, run))

    def stop(self, call: int, kind: str) -> None:
        """Asks a run to stop, or calls off a question. Nothing happens if it is over."""
        if run := self._runs.get(call):
            run.stop(kind)
        elif question := self._questions.get(call):
            question.cancel()

    def credit(self, call: int, count: int) -> None:
        """Lets a run send more."""
        if run := self._runs.get(call):
            run.outbox.add_credit(count)

    def cancel_all(self, call: int) -> None:
        """Cancels whatever goes on for a run or a question, once more."""
        if run := self._runs.get(call):
            run.cancel_all()
        elif question := self._questions.get(call):
            question.cancel()

    def ask(self, owner: CurrentRun, method: str, body: dict[str, Any]) -> None:
        """Begins to answer a question."""
        question = self._keep(self._answer(owner, method, body), current.context_of(owner))
        self._questions[owner.call] = question
        question.add_done_callback(lambda question: self._asked(owner, question))

    def _asked(self, owner: CurrentRun, question: asyncio.Task[None]) -> None:
        del self._questions[owner.call]
        if question.cancelled():  # before it began
            owner.close()
            self._answers.refused(owner, Unavailable("the question was called off"))

    def _see(self, owner: CurrentRun, run: Run) -> None:
        self._keep(self._see_through(owner, run))

    async def _see_through(self, owner: CurrentRun, run: Run) -> None:
        try:
            self._answers.answered(owner, await run.see_through())
        except BaseException as error:  # a mistake of this package: the worker must not wait for ever
            _log.exception("run %s could not be brought to its end", owner.run_id)
            owner.close()
            self._answers.refused(owner, Failed(f"{type(error).__name__}: {message_of(error)}"))
        finally:
            del self._runs[owner.call]

    async def _answer(self, owner: CurrentRun, method: str, body: dict[str, Any]) -> None:
        try:
            line = Line(self._data, owner.call)
            self._answers.answered(owner, await questions.answer(method, self._graphs, line, body))
        except ProtocolError as error:
            self._answers.refused(owner, error)
        except BaseException as error:  # user code may raise anything, and somebody waits for an answer
            self._answers.refused(owner, Failed(f"{type(error).__name__}: {message_of(error)}"))
        finally:
            owner.close()

    def _keep(
        self, work: Coroutine[Any, Any, None], context: contextvars.Context | None = None
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, context=context)
        # A task that nobody refers to may vanish.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
