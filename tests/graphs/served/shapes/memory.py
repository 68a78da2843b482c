"""A graph that remembers, in the store, what it was asked on any thread."""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from twins.common import State, asked, chain, says


async def remember(state: State, config: RunnableConfig, *, store: BaseStore) -> dict:
    space = ("asked", config["configurable"]["who"])
    text = asked(state)
    before = await store.asearch(space, limit=100)
    await store.aput(space, f"{len(before):03}", {"text": text})
    one = await store.aget(space, "000")
    assert one is not None
    return says(f"{len(before) + 1}, first: {one.value['text']}")


def remember_in_a_thread(state: State, config: RunnableConfig, *, store: BaseStore) -> dict:
    """The same store, from code that knows no event loop."""
    space = ("asked", config["configurable"]["who"])
    return says(f"sync: {len(store.search(space, limit=100))}")


graph = chain(remember=remember, look=remember_in_a_thread)
