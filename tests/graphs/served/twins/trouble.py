"""Graphs that do what graphs should not."""

from __future__ import annotations

import asyncio
import time

from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy

from twins.common import State, chain, signed


class NodeError(Exception):
    """What goes wrong in these nodes."""


class Panic(BaseException):
    """Something that no ordinary handler catches."""


async def _fail(state: State) -> dict:
    raise NodeError("kaboom")


async def _panic(state: State) -> dict:
    raise Panic("this node panics")


def _block(state: State) -> dict:
    time.sleep(state.get("delay", 1))
    return signed("stubborn")


async def _sour(state: State) -> dict:
    try:
        await asyncio.sleep(state.get("delay", 1))
    except asyncio.CancelledError:
        raise NodeError("sour") from None
    return signed("sweet")


fail = chain(fail=_fail)
panic = chain(panic=_panic)
stubborn = chain(block=_block)
sour = chain(sour=_sour)
retry = (
    StateGraph(State)
    .add_node(
        "work",
        _fail,
        retry_policy=RetryPolicy(
            initial_interval=30,
            backoff_factor=1,
            max_interval=30,
            max_attempts=3,
            jitter=False,
            retry_on=NodeError,
        ),
    )
    .add_edge(START, "work")
    .compile()
)
