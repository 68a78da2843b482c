"""Which run the code is working for that is executing right now.

Set in the run's own task and inherited by everything that it starts: tasks, and threads of the executor's
pool. So a line of a log, a busy thread and an interrupted node can be told whose they are.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class CurrentRun:
    """A run, or a question, under way."""

    call: int
    """The number of the request on the control socket."""
    run_id: str | None
    """None while a question is answered."""


run: ContextVar[CurrentRun | None] = ContextVar("runloom_run", default=None)
"""The run that the current code works for, None for what belongs to nobody."""
