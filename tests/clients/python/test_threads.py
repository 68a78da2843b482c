"""Threads: create, read, change, delete, search, count, copy."""

from __future__ import annotations

import asyncio
import re
import uuid
from datetime import datetime, timedelta

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError
from support.talk import contents, human, listed, new_thread, said

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


async def test_the_thread_object(client: LangGraphClient) -> None:
    thread = await client.threads.create(metadata={"colour": "blue"})
    assert uuid.UUID(thread["thread_id"]).version == 7
    for key in ("created_at", "updated_at", "state_updated_at"):
        assert TIMESTAMP.fullmatch(thread[key]), key
    assert thread["metadata"] == {"colour": "blue"}
    assert thread["status"] == "idle"
    assert thread["config"] == {}
    assert thread["values"] is None
    assert not thread.get("interrupts")
    assert "error" not in thread or thread["error"] is None
    assert await client.threads.get(thread["thread_id"]) == thread


async def test_after_a_run(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "echo", input=human("a"))
    during = await client.threads.get(thread)
    assert during["metadata"]["graph_id"] == "echo"
    assert during["metadata"]["assistant_id"] == run["assistant_id"]
    await client.runs.join(thread, run["run_id"])
    after = await client.threads.get(thread)
    assert after["status"] == "idle"
    assert [m["content"] for m in after["values"]["messages"]] == ["a", "echo: a"]
    assert after["updated_at"] > after["created_at"]


async def test_a_time_to_live(client: LangGraphClient) -> None:
    thread = await client.threads.create(ttl={"ttl": 30, "strategy": "keep_latest"})
    assert "ttl" not in await client.threads.get(thread["thread_id"])
    read = await client.threads.get(thread["thread_id"], include=["ttl"])
    expires = datetime.fromisoformat(read["ttl"].pop("expires_at"))
    assert read["ttl"] == {"strategy": "keep_latest", "ttl_minutes": 30}
    assert expires - datetime.fromisoformat(thread["created_at"]) == timedelta(minutes=30)
    await client.threads.update(thread["thread_id"], metadata={}, ttl=5)
    read = await client.threads.get(thread["thread_id"], include=["ttl"])
    assert (read["ttl"]["strategy"], read["ttl"]["ttl_minutes"]) == ("delete", 5)
    plain = await client.threads.create()
    assert "ttl" not in await client.threads.get(plain["thread_id"], include=["ttl"])
    with pytest.raises(UnprocessableEntityError):
        await client.threads.create(ttl=-1)


async def test_history_is_pruned_on_request(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "echo", input=human("a"))
    before = await client.threads.get_history(thread)
    assert len(before) > 1
    pruned = await client.threads.prune([thread, str(uuid.uuid4())], strategy="keep_latest")
    assert pruned["pruned_count"] == 1
    assert [state["values"] for state in await client.threads.get_history(thread)] == [
        before[0]["values"]
    ]


async def test_create_with_an_id(client: LangGraphClient) -> None:
    wanted = str(uuid.uuid4())
    first = await client.threads.create(thread_id=wanted, metadata={"n": 1})
    assert first["thread_id"] == wanted
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=wanted)
    again = await client.threads.create(thread_id=wanted, metadata={"n": 2}, if_exists="do_nothing")
    assert again == first


async def test_create_the_same_at_once(client: LangGraphClient) -> None:
    wanted = str(uuid.uuid4())
    answers = await asyncio.gather(
        *(client.threads.create(thread_id=wanted) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(answer, dict) for answer in answers) == 1
    assert sum(isinstance(answer, ConflictError) for answer in answers) == 4
    answers = await asyncio.gather(
        *(client.threads.create(thread_id=wanted, if_exists="do_nothing") for _ in range(5))
    )
    assert {answer["thread_id"] for answer in answers} == {wanted}


async def test_patch_merges_metadata(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    thread = await client.threads.create(metadata={"a": 1, "b": {"x": 1}})
    changed = await client.threads.update(thread["thread_id"], metadata={"b": {"y": 2}, "c": 3})
    assert changed["metadata"] == {"a": 1, "b": {"y": 2}, "c": 3}, "the merge is shallow"
    assert await client.threads.get(thread["thread_id"]) == changed
    answer = await http.patch(
        f"/threads/{thread['thread_id']}",
        json={"metadata": {"d": 4}},
        headers={"prefer": "return=minimal"},
    )
    assert answer.status_code == 204 and answer.content == b""
    assert (await client.threads.get(thread["thread_id"]))["metadata"]["d"] == 4


async def test_patch_while_busy(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input=human("a", delay=0.6))
    await said(client, thread, "a")
    changed = await client.threads.update(thread, metadata={"note": "now"})
    assert changed["status"] == "busy" and changed["metadata"]["note"] == "now"
    await client.runs.join(thread, run["run_id"])
    assert (await client.threads.get(thread))["metadata"]["note"] == "now"


async def test_delete(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "echo", input=human("a"))
    await client.threads.delete(thread)
    for gone in (client.threads.get, client.threads.get_state, client.threads.delete):
        with pytest.raises(NotFoundError):
            await gone(thread)
    # The id may be used again, and knows nothing of before.
    await client.threads.create(thread_id=thread)
    assert await listed(client, thread) == {}
    assert await contents(client, thread) == []


async def test_search(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    mark = str(uuid.uuid4())
    made = [
        (await client.threads.create(metadata={"mark": mark, "n": n}))["thread_id"]
        for n in range(5)
    ]
    found = await client.threads.search(metadata={"mark": mark})
    assert [thread["thread_id"] for thread in found] == made[::-1], "newest change first"
    found = await client.threads.search(
        metadata={"mark": mark}, sort_by="created_at", sort_order="asc", limit=2, offset=1
    )
    assert [thread["thread_id"] for thread in found] == made[1:3]
    [one] = await client.threads.search(metadata={"mark": mark, "n": 3})
    assert one["thread_id"] == made[3]
    found = await client.threads.search(ids=made[:2], limit=10)
    assert {thread["thread_id"] for thread in found} == set(made[:2])
    [bare] = await client.threads.search(
        metadata={"mark": mark, "n": 4}, select=["thread_id", "status"]
    )
    assert bare == {"thread_id": made[4], "status": "idle"}
    assert await client.threads.count(metadata={"mark": mark}) == 5
    page = await http.post("/threads/search", json={"metadata": {"mark": mark}, "limit": 2})
    assert page.headers["x-pagination-next"] == "2"
    last = await http.post(
        "/threads/search", json={"metadata": {"mark": mark}, "limit": 2, "offset": 4}
    )
    assert len(last.json()) == 1 and "x-pagination-next" not in last.headers


async def test_search_by_status_and_values(client: LangGraphClient) -> None:
    mark = str(uuid.uuid4())
    meta = {"mark": mark}
    made = {}
    for graph in ("echo", "pause", "fail"):
        thread = await client.threads.create(metadata=meta)
        made[graph] = thread["thread_id"]
        await client.runs.wait(
            thread["thread_id"], graph, input=human(mark, delay=7), raise_error=False
        )
    slow = await client.threads.create(metadata=meta)
    run = await client.runs.create(slow["thread_id"], "slow", input=human("a", delay=5))
    wanted = {
        "idle": made["echo"],
        "interrupted": made["pause"],
        "error": made["fail"],
        "busy": slow["thread_id"],
    }
    for status, thread in wanted.items():
        found = await client.threads.search(metadata=meta, status=status)
        assert [t["thread_id"] for t in found] == [thread], status
    found = await client.threads.search(metadata=meta, values={"delay": 7})
    assert made["echo"] in [t["thread_id"] for t in found]
    assert slow["thread_id"] not in [t["thread_id"] for t in found]
    await client.runs.cancel(slow["thread_id"], run["run_id"])


async def test_extract(client: LangGraphClient) -> None:
    mark = str(uuid.uuid4())
    thread = await client.threads.create(metadata={"mark": mark})
    await client.runs.wait(thread["thread_id"], "echo", input=human("a"))
    [found] = await client.threads.search(
        metadata={"mark": mark}, extract={"last": "values.messages[-1].content"}
    )
    assert found["extracted"] == {"last": "echo: a"}


async def test_copy(client: LangGraphClient) -> None:
    thread = (await client.threads.create(metadata={"colour": "blue"}))["thread_id"]
    await client.runs.wait(thread, "echo", input=human("a"))
    before = await client.threads.get_history(thread, limit=100)
    copy = await client.threads.copy(thread)
    twin = (
        copy["thread_id"]
        if copy
        else (await client.threads.search(metadata={"colour": "blue"}, limit=1))[0]["thread_id"]
    )
    assert twin != thread
    assert (await client.threads.get(twin))["metadata"]["colour"] == "blue"
    assert await contents(client, twin) == ["a", "echo: a"]
    assert await listed(client, twin) == {}
    await client.runs.wait(twin, "echo", input=human("b"))
    assert await contents(client, twin) == ["a", "echo: a", "b", "echo: b"]
    assert await client.threads.get_history(thread, limit=100) == before


async def test_threads_do_not_wait_for_each_other(client: LangGraphClient) -> None:
    busy, other = await new_thread(client), await new_thread(client)
    run = await client.runs.create(busy, "slow", input=human("a", delay=2))
    values = await client.runs.wait(other, "echo", input=human("b"))
    assert values["messages"][-1]["content"] == "echo: b"
    assert (await client.threads.get(busy))["status"] == "busy"
    await client.runs.cancel(busy, run["run_id"], action="rollback")


async def test_health_and_info(http: httpx.AsyncClient) -> None:
    for url in ("/ok", "/", "/ok?check_db=1"):
        answer = await http.get(url)
        assert answer.status_code == 200 and answer.json()["ok"] is True
    info = (await http.get("/info")).json()
    assert info["version"]
    assert {"assistants", "crons"} <= set(info["flags"])
    document = (await http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.")
    assert "/threads/{thread_id}/runs" in document["paths"]
    page = await http.get("/docs")
    assert page.status_code == 200 and "text/html" in page.headers["content-type"]


async def test_browsers_may_call(http: httpx.AsyncClient, thread: str) -> None:
    origin = {"origin": "https://studio.example"}
    asked = {
        **origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-api-key",
    }
    allowed = await http.options("/threads", headers=asked)
    assert allowed.status_code in (200, 204)
    assert allowed.headers["access-control-allow-origin"] in ("*", origin["origin"])
    assert "x-api-key" in allowed.headers["access-control-allow-headers"].lower() + "x-api-key" * (
        allowed.headers["access-control-allow-headers"] == "*"
    )
    answer = await http.get(f"/threads/{thread}", headers=origin)
    exposed = answer.headers["access-control-expose-headers"].lower()
    for name in ("content-location", "location", "x-pagination-next", "x-pagination-total"):
        assert name in re.split(r",\s*", exposed), name
