"""Runs: their objects, forms, lists, delays, waits and joins."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from datetime import datetime
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError
from support.talk import UNKNOWN_ID, contents, human, listed, run_status, said

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
SYSTEM_ASSISTANTS = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
# What the published clients do to learn a run's id.
CONTENT_LOCATION = re.compile(r"(/threads/(?P<thread_id>.+))?/runs/(?P<run_id>.+)")


async def test_the_run_object(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(
        thread,
        "echo",
        input=human("a"),
        metadata={"m": 1},
        config={"tags": ["t"], "configurable": {"colour": "blue"}, "recursion_limit": 9},
        stream_mode="updates",
    )
    assert uuid.UUID(run["run_id"]).version == 7
    assert run["thread_id"] == thread
    assistant = uuid.uuid5(SYSTEM_ASSISTANTS, "echo")
    assert run["assistant_id"] == str(assistant)
    assert run["status"] == "pending"
    assert run["multitask_strategy"] == "enqueue"
    assert TIMESTAMP.fullmatch(run["created_at"]) and TIMESTAMP.fullmatch(run["updated_at"])
    assert run["metadata"] == {
        "created_by": "system",
        "graph_id": "echo",
        "assistant_id": str(assistant),
        "m": 1,
    }
    kwargs = run["kwargs"]
    assert kwargs["input"] == human("a")
    assert kwargs["command"] is None
    assert kwargs["stream_mode"] == ["updates"]
    assert kwargs["interrupt_before"] is None and kwargs["interrupt_after"] is None
    assert kwargs["webhook"] is None and kwargs["feedback_keys"] is None
    assert kwargs["temporary"] is False and kwargs["subgraphs"] is False
    assert kwargs["resumable"] is False and kwargs["durability"] == "async"
    assert kwargs["config"]["tags"] == ["t"] and kwargs["config"]["recursion_limit"] == 9
    configurable = kwargs["config"]["configurable"]
    assert configurable["colour"] == "blue"
    assert configurable["run_id"] == run["run_id"]
    assert configurable["thread_id"] == thread
    assert configurable["graph_id"] == "echo"
    assert configurable["assistant_id"] == str(assistant)
    assert kwargs["context"] == {"colour": "blue"}, "configurable is mirrored to context"


async def test_context_is_mirrored_to_configurable(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "echo", input=human("a"), context={"colour": "blue"})
    assert run["kwargs"]["context"] == {"colour": "blue"}
    assert run["kwargs"]["config"]["configurable"]["colour"] == "blue"


async def test_configuration_reaches_the_graph(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(
        thread,
        "config",
        input=human("a"),
        config={"configurable": {"colour": "blue", "langgraph_auth_user_id": "forged"}},
    )
    shown = json.loads(values["messages"][-1]["content"])
    assert shown["colour"] == "blue"
    assert shown["thread_id"] == thread and shown["graph_id"] == "config"
    assert "forged" not in shown.values()


async def test_reserved_keys_are_dropped(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(
        thread,
        "echo",
        input=human("a"),
        metadata={"thread_id": "forged", "run_id": "forged", "mine": 1},
        config={"configurable": {"langgraph_auth_user_id": "forged", "__after_seconds__": 99}},
    )
    assert "forged" not in json.dumps(run)
    assert run["metadata"]["mine"] == 1
    values = await client.runs.join(thread, run["run_id"])
    assert values["messages"][-1]["content"] == "echo: a"


async def test_the_assistant_by_its_id(client: LangGraphClient, thread: str) -> None:
    [assistant] = await client.assistants.search(graph_id="echo", metadata={"created_by": "system"})
    values = await client.runs.wait(thread, assistant["assistant_id"], input=human("a"))
    assert values["messages"][-1]["content"] == "echo: a"


async def test_created_background_run_tells_its_address(
    http: httpx.AsyncClient, thread: str
) -> None:
    body = {"assistant_id": "echo", "input": human("a")}
    answer = await http.post(f"/threads/{thread}/runs", json=body)
    assert answer.status_code == 200
    run = answer.json()["run_id"]
    assert answer.headers["content-location"] == f"/threads/{thread}/runs/{run}"
    assert "location" not in answer.headers
    joined = await http.get(f"/threads/{thread}/runs/{run}/join")
    assert joined.headers["location"] == f"/threads/{thread}/runs/{run}/join"
    assert joined.headers["content-location"] == f"/threads/{thread}/runs/{run}"
    streamed = await http.get(f"/threads/{thread}/runs/{run}/stream")
    assert streamed.headers["location"] == f"/threads/{thread}/runs/{run}/stream"
    assert streamed.headers["content-location"] == f"/threads/{thread}/runs/{run}"


@pytest.mark.parametrize(("form", "then"), [("stream", "stream"), ("wait", "join")])
async def test_streams_and_waits_tell_their_address(
    http: httpx.AsyncClient, thread: str, form: str, then: str
) -> None:
    body = {"assistant_id": "echo", "input": human("a")}
    answer = await http.post(f"/threads/{thread}/runs/{form}", json=body)
    found = CONTENT_LOCATION.fullmatch(answer.headers["content-location"])
    assert found and found["thread_id"] == thread
    assert uuid.UUID(found["run_id"])
    assert answer.headers["location"] == f"/threads/{thread}/runs/{found['run_id']}/{then}"


async def test_on_run_created(client: LangGraphClient, thread: str) -> None:
    told: list[Any] = []
    stream = client.runs.stream(thread, "echo", input=human("a"), on_run_created=told.append)
    parts = [part async for part in stream]
    assert told == [{"run_id": parts[0].data["run_id"], "thread_id": thread}]
    assert list(await listed(client, thread)) == [told[0]["run_id"]]


async def test_get_and_list(client: LangGraphClient, thread: str) -> None:
    made = []
    for i in range(4):
        run = await client.runs.create(thread, "echo", input=human(f"m{i}"))
        await client.runs.join(thread, run["run_id"])
        made.append(run["run_id"])
    newest_first = made[::-1]
    runs = await client.runs.list(thread)
    assert [run["run_id"] for run in runs] == newest_first
    assert await client.runs.get(thread, made[0]) == runs[-1]
    page = await client.runs.list(thread, limit=2, offset=1)
    assert [run["run_id"] for run in page] == newest_first[1:3]
    assert await client.runs.list(thread, status="error") == []
    assert len(await client.runs.list(thread, status="success")) == 4
    assert len(await client.runs.list(thread, limit=1000)) == 4


async def test_default_page_of_the_list(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "echo", "input": human("a"), "after_seconds": 600}
    for _ in range(12):
        await http.post(f"/threads/{thread}/runs", json=body)
    assert len((await http.get(f"/threads/{thread}/runs")).json()) == 10
    await http.delete(f"/threads/{thread}")


async def test_list_selects_keys(client: LangGraphClient, thread: str) -> None:
    """What the React queue asks for."""
    run = await client.runs.create(thread, "echo", input=human("a"), after_seconds=600)
    keys = ["run_id", "kwargs", "created_at", "multitask_strategy"]
    [found] = await client.runs.list(thread, limit=1000, status="pending", select=keys)
    assert sorted(found) == sorted(keys)
    assert found["run_id"] == run["run_id"] and found["kwargs"]["input"] == human("a")
    await client.runs.cancel(thread, run["run_id"])


async def test_after_seconds(client: LangGraphClient, thread: str) -> None:
    asked = time.time()
    run = await client.runs.create(thread, "echo", input=human("a"), after_seconds=1.5)
    created = datetime.fromisoformat(run["created_at"]).timestamp()
    assert asked + 1 < created < time.time() + 2
    assert (await client.threads.get(thread))["status"] == "busy"
    await client.runs.join(thread, run["run_id"])
    assert time.time() - asked >= 1.5
    assert await contents(client, thread) == ["a", "echo: a"]


async def test_wait_gives_the_last_values(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(thread, "slow", input=human("a", delay=0.05))
    assert [m["content"] for m in values["messages"]] == ["a", "one", "two", "three"]
    assert values["delay"] == 0.05


async def test_wait_ignores_the_stream_modes_asked(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "echo", "input": human("a"), "stream_mode": "updates"}
    answer = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert [m["content"] for m in answer.json()["messages"]] == ["a", "echo: a"]


async def test_the_status_is_there_when_wait_returns(client: LangGraphClient) -> None:
    async def play() -> None:
        thread = (await client.threads.create())["thread_id"]
        await client.runs.wait(thread, "echo", input=human("a"))
        assert list((await listed(client, thread)).values()) == ["success"]
        found = await client.threads.get(thread)
        assert found["status"] == "idle"
        assert [m["content"] for m in found["values"]["messages"]] == ["a", "echo: a"]

    await asyncio.gather(*(play() for _ in range(10)))


async def test_join_before_during_and_after(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "slow", input=human("a", delay=0.2))
    early = asyncio.create_task(client.runs.join(thread, run["run_id"]))
    await said(client, thread, "one")
    during = await client.runs.join(thread, run["run_id"])
    after = await client.runs.join(thread, run["run_id"])
    assert await early == during == after
    assert [m["content"] for m in after["messages"]] == ["a", "one", "two", "three"]


async def test_join_of_an_older_run_gives_its_own_values(
    client: LangGraphClient, thread: str
) -> None:
    run = await client.runs.create(thread, "echo", input=human("a"))
    first = await client.runs.join(thread, run["run_id"])
    await client.runs.wait(thread, "echo", input=human("b"))
    again = await client.runs.join(thread, run["run_id"])
    assert again == first


async def test_join_of_a_pending_run(client: LangGraphClient, thread: str) -> None:
    await client.runs.create(thread, "slow", input=human("a", delay=0.2))
    queued = await client.runs.create(thread, "echo", input=human("b"))
    values = await client.runs.join(thread, queued["run_id"])
    assert values["messages"][-1]["content"] == "echo: b"


async def test_a_failed_run(client: LangGraphClient, thread: str) -> None:
    failure = {"error": "NodeError", "message": "kaboom"}
    values = await client.runs.wait(thread, "fail", input=human("a"), raise_error=False)
    assert values["__error__"] == failure
    [run] = await listed(client, thread)
    assert await run_status(client, thread, run) == "error"
    found = await client.threads.get(thread)
    assert found["status"] == "error" and found["error"] == failure
    with pytest.raises(Exception, match="kaboom"):
        await client.runs.wait(thread, "fail", input=human("a"))
    assert (await client.runs.join(thread, run))["__error__"] == failure
    await client.runs.wait(thread, "echo", input=human("b"))
    healed = await client.threads.get(thread)
    assert healed["status"] == "idle" and not healed.get("error")


async def test_a_panic_fails_its_run_and_nothing_else(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    neighbour = (await other_client.threads.create())["thread_id"]
    beside = asyncio.create_task(
        other_client.runs.wait(neighbour, "slow", input=human("a", delay=0.3))
    )
    values = await client.runs.wait(thread, "panic", input=human("a"), raise_error=False)
    assert "panic" in json.dumps(values["__error__"]).lower()
    assert (await client.threads.get(thread))["status"] == "error"
    assert (await beside)["messages"][-1]["content"] == "three"
    after = await client.runs.wait(thread, "echo", input=human("b"))
    assert after["messages"][-1]["content"] == "echo: b"


async def test_recursion_limit(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(
        thread, "loop", input=human("a"), config={"recursion_limit": 5}, raise_error=False
    )
    assert values["__error__"]["error"] == "GraphRecursionError"
    assert "5" in values["__error__"]["message"]


async def test_no_input_on_an_empty_thread(client: LangGraphClient, thread: str) -> None:
    values = await client.runs.wait(thread, "echo", input=None, raise_error=False)
    assert values["__error__"]["error"] == "EmptyInputError"
    assert list((await listed(client, thread)).values()) == ["error"]


async def test_delete_of_a_finished_run(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "echo", input=human("a"))
    await client.runs.join(thread, run["run_id"])
    await client.runs.delete(thread, run["run_id"])
    assert await run_status(client, thread, run["run_id"]) == "gone"
    assert await listed(client, thread) == {}
    with pytest.raises(NotFoundError):
        await client.runs.delete(thread, run["run_id"])


async def test_join_of_an_unknown_run(http: httpx.AsyncClient, thread: str) -> None:
    answer = await http.get(f"/threads/{thread}/runs/{UNKNOWN_ID}/join")
    assert answer.status_code == 200
    assert answer.json() == {
        "__error__": {"error": "HTTPException", "message": "404: Run not found"}
    }


async def test_if_not_exists(client: LangGraphClient) -> None:
    wanted = str(uuid.uuid4())
    with pytest.raises(NotFoundError):
        await client.runs.create(wanted, "echo", input=human("a"))
    run = await client.runs.create(
        wanted, "echo", input=human("a"), if_not_exists="create", metadata={"mine": 1}
    )
    assert run["thread_id"] == wanted
    await client.runs.join(wanted, run["run_id"])
    made = await client.threads.get(wanted)
    assert made["metadata"]["mine"] == 1 and made["metadata"]["graph_id"] == "echo"


async def test_runs_of_other_threads_are_not_found_here(
    client: LangGraphClient, thread: str
) -> None:
    other = (await client.threads.create())["thread_id"]
    run = await client.runs.create(other, "echo", input=human("a"))
    assert await run_status(client, thread, run["run_id"]) == "gone"
    with pytest.raises(NotFoundError):
        await client.runs.cancel(thread, run["run_id"])
    await client.runs.join(other, run["run_id"])
