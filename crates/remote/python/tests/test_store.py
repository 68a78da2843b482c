"""The long-term memory as graphs use it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from conversation import Scene
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from shelf import Host

from runloom_executor.errors import Fenced
from runloom_executor.store import HostStore

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def host() -> Any:
    async with Host() as host:
        yield host


@pytest.fixture
def store(host: Host) -> HostStore:
    return HostStore(Scene(host).line())


async def test_an_item_comes_back(store: HostStore) -> None:
    assert await store.aget(("users", "ann"), "likes") is None
    await store.aput(("users", "ann"), "likes", {"food": ["soup"], "count": 3}, ttl=5)
    item = await store.aget(("users", "ann"), "likes", refresh_ttl=True)
    assert item is not None
    assert (item.namespace, item.key) == (("users", "ann"), "likes")
    assert item.value == {"food": ["soup"], "count": 3}
    assert isinstance(item.created_at, datetime) and item.created_at.utcoffset() == timedelta(0)
    await store.adelete(("users", "ann"), "likes")
    assert await store.aget(("users", "ann"), "likes") is None


async def test_search_by_prefix_and_filter(store: HostStore) -> None:
    for number in range(4):
        await store.aput(("docs", f"n{number % 2}"), f"k{number}", {"number": number})
    await store.aput(("other",), "k", {"number": 9})
    found = await store.asearch(("docs",), limit=10)
    assert [item.key for item in found] == ["k3", "k2", "k1", "k0"]
    assert all(item.score is None for item in found)
    greatest = await store.asearch(("docs",), filter={"number": {"$gt": 1}}, limit=1)
    assert [item.key for item in greatest] == ["k3"]
    assert [item.key for item in await store.asearch(("docs", "n0"), offset=1)] == ["k0"]


async def test_semantic_search_is_refused(store: HostStore) -> None:
    with pytest.raises(NotImplementedError, match="semantic search"):
        await store.asearch(("docs",), query="what do they like?")


async def test_namespaces(store: HostStore) -> None:
    for namespace in (("a", "x", "1"), ("a", "y", "1"), ("b", "x", "2")):
        await store.aput(namespace, "k", {})
    assert await store.alist_namespaces(prefix=("a",)) == [("a", "x", "1"), ("a", "y", "1")]
    assert await store.alist_namespaces(suffix=("1",), limit=1, offset=1) == [("a", "y", "1")]
    assert await store.alist_namespaces(prefix=("*", "x"), max_depth=2) == [("a", "x"), ("b", "x")]
    twice = tuple(MatchCondition("prefix", (name,)) for name in "ab")
    with pytest.raises(NotImplementedError, match="one prefix"):
        await store.abatch([ListNamespacesOp(match_conditions=twice)])


async def test_a_batch_is_one_request_in_order(host: Host, store: HostStore) -> None:
    ops = [
        PutOp(("a",), "k", {"v": 1}),
        GetOp(("a",), "k"),
        PutOp(("a",), "k", None),
        GetOp(("a",), "k"),
        SearchOp(("a",)),
    ]
    answers = await store.abatch(ops)
    assert [method for method, _ in host.asked] == ["store"]
    assert answers[0] is None and answers[1].value == {"v": 1} and answers[2:] == [None, None, []]
    with pytest.raises(NotImplementedError):
        await store.abatch([PutOp(("a",), "k", {"v": 2}), SearchOp(("a",), query="x")])
    assert await store.aget(("a",), "k") is None, "a wrong operation keeps the others from being done"


async def test_a_closed_store_refuses(store: HostStore) -> None:
    store.line.close()
    with pytest.raises(Fenced):
        await store.aput(("a",), "k", {})
