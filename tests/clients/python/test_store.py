"""The store: long-term memory by namespace and key."""

from __future__ import annotations

import uuid

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient


@pytest.fixture
def namespace() -> list[str]:
    """A namespace of the test's own."""
    return ["tests", uuid.uuid4().hex]


async def test_put_get_delete(client: LangGraphClient, namespace: list[str]) -> None:
    await client.store.put_item(namespace, key="k", value={"a": 1})
    item = await client.store.get_item(namespace, key="k")
    assert item["namespace"] == namespace and item["key"] == "k" and item["value"] == {"a": 1}
    assert item["created_at"] and item["updated_at"]
    await client.store.put_item(namespace, key="k", value={"a": 2})
    changed = await client.store.get_item(namespace, key="k")
    assert changed["value"] == {"a": 2}
    assert changed["created_at"] == item["created_at"]
    assert changed["updated_at"] > item["updated_at"]
    await client.store.delete_item(namespace, key="k")
    assert await client.store.get_item(namespace, key="k") is None
    await client.store.delete_item(namespace, key="k")


async def test_search(client: LangGraphClient, namespace: list[str]) -> None:
    for n in range(5):
        await client.store.put_item(
            [*namespace, "even" if n % 2 == 0 else "odd"],
            key=f"k{n}",
            value={"n": n, "kind": "x" if n < 3 else "y"},
        )
    found = (await client.store.search_items(namespace))["items"]
    assert {item["key"] for item in found} == {f"k{n}" for n in range(5)}
    assert all("score" in item and item["score"] is None for item in found)
    found = (await client.store.search_items([*namespace, "even"]))["items"]
    assert {item["key"] for item in found} == {"k0", "k2", "k4"}
    filters = {
        "x": ({"kind": "x"}, {"k0", "k1", "k2"}),
        "eq": ({"n": {"$eq": 1}}, {"k1"}),
        "ne": ({"kind": {"$ne": "x"}}, {"k3", "k4"}),
        "range": ({"n": {"$gte": 1, "$lt": 3}}, {"k1", "k2"}),
        "gt": ({"n": {"$gt": 3}}, {"k4"}),
        "lte": ({"n": {"$lte": 0}}, {"k0"}),
    }
    for name, (wanted, keys) in filters.items():
        found = (await client.store.search_items(namespace, filter=wanted))["items"]
        assert {item["key"] for item in found} == keys, name
    pages = [
        (await client.store.search_items(namespace, limit=2, offset=offset))["items"]
        for offset in (0, 2, 4)
    ]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert len({item["key"] for page in pages for item in page}) == 5


async def test_a_prefix_ends_at_a_label(client: LangGraphClient, namespace: list[str]) -> None:
    await client.store.put_item([*namespace, "ab"], key="k", value={})
    assert (await client.store.search_items([*namespace, "a"]))["items"] == []


async def test_namespaces(client: LangGraphClient, namespace: list[str]) -> None:
    for tail in (["u", "1"], ["u", "2"], ["v", "1"]):
        await client.store.put_item([*namespace, *tail], key="k", value={})

    async def tails(**query: object) -> list[list[str]]:
        found = await client.store.list_namespaces(prefix=namespace, **query)
        return sorted(name[2:] for name in found["namespaces"])

    assert await tails() == [["u", "1"], ["u", "2"], ["v", "1"]]
    assert await tails(suffix=["1"]) == [["u", "1"], ["v", "1"]]
    assert await tails(max_depth=3) == [["u"], ["v"]]
    assert len(await tails(limit=2)) == 2


async def test_refusals(http: httpx.AsyncClient) -> None:
    for namespace in (["a.b"], [""]):
        body = {"namespace": namespace, "key": "k", "value": {}}
        answer = await http.put("/store/items", json=body)
        assert answer.status_code == 422 and answer.text, namespace
    answer = await http.put("/store/items", json={"namespace": [], "key": "k", "value": {}})
    assert answer.status_code in (400, 422)
    for body in ({"namespace": ["a"], "key": "k", "value": 3}, {"namespace": ["a"], "value": {}}):
        answer = await http.put("/store/items", json=body)
        assert answer.status_code == 422 and answer.json()["detail"]
    answer = await http.get("/store/items", params={"namespace": "a"})
    assert answer.status_code == 400 and answer.json() == {"error": "Key is required"}
