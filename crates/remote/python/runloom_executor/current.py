"""Which run the code is working for that is executing right now.

Set in the run's own task and inherited by everything that it starts: tasks, and threads of the executor's
pool. So a line of a log, a busy thread and an interrupted node can be told whose they are.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Coroutine


@dataclass(eq=False)
class CurrentRun:
    """A run, or a question, under way."""

    call: int
    """The number of the request on the control socket."""
    run_id: str | None
    """None while a question is answered."""
    thread_id: str | None = None
    trace_id: str | None = None
    """The trace that the run belongs to, if it belongs to one."""
    ended: bool = False
    """Its code has ended; what it wrote may still be on its way."""
    over_since: float | None = None
    """When it was answered (`time.monotonic`). What still works for it then is left behind."""
    breaking: bool = False
    """The signal is meant for this run."""
    tasks: weakref.WeakSet[asyncio.Task[Any]] = field(default_factory=weakref.WeakSet)
    """Every task that it started and that somebody still knows."""

    @property
    def over(self) -> bool:
        """Whether it was answered."""
        return self.over_since is not None

    def close(self) -> None:
        """Notes that it was answered."""
        self.ended = True
        self.over_since = time.monotonic()


run: ContextVar[CurrentRun | None] = ContextVar("runloom_run", default=None)
"""The run that the current code works for, None for what belongs to nobody."""


def context_of(owner: CurrentRun) -> contextvars.Context:
    """A context for code that works for this run or question."""
    context = contextvars.copy_context()
    context.run(run.set, owner)
    return context


def note_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Makes the loop note each new task with the run that starts it."""

    def make(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **details: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **details)
        context = details.get("context")
        owner = run.get() if context is None else context.get(run)
        if owner is not None:
            owner.tasks.add(task)
        return task

    loop.set_task_factory(make)
