"""One graph, given in the ways in which projects give theirs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from twins.common import State, says


def _build(who: str) -> StateGraph:
    async def speak(state: State) -> dict:
        return says(who)

    return StateGraph(State).add_node("speak", speak).add_edge(START, "speak")


builder = _build("builder")


def without_arguments() -> Any:
    """A function of nothing."""
    return _build("function").compile()


def of_config(config: RunnableConfig) -> Any:
    """A function of the run's configuration."""
    return _build(f"colour {config['configurable'].get('colour', 'none')}").compile()


async def coroutine() -> Any:
    """A coroutine."""
    await asyncio.sleep(0)
    return _build("coroutine")


@contextlib.contextmanager
def context_manager() -> Iterator[Any]:
    """Something that is opened and closed around each use."""
    yield _build("context").compile()


@contextlib.asynccontextmanager
async def async_context_manager(config: RunnableConfig) -> AsyncIterator[Any]:
    """The same, awaited, and told the configuration."""
    await asyncio.sleep(0)
    yield _build("async context").compile()
