"""Cancelling runs: one, several, waiting for the end or not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError
from support.talk import (
    UNKNOWN_ID,
    contents,
    human,
    listed,
    new_thread,
    reaches,
    run_status,
    said,
    thread_rests,
)


async def slow_run(client: LangGraphClient, thread: str, delay: float = 5) -> str:
    """A run that has begun and is inside its first node."""
    run = await client.runs.create(thread, "slow", input=human("a", delay=delay))
    await said(client, thread, "a")
    return run["run_id"]


async def test_interrupt_keeps_the_run_and_its_state(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    run = await slow_run(client, thread)
    answer = await http.post(f"/threads/{thread}/runs/{run}/cancel")
    assert answer.status_code == 202 and answer.content in (b"", b"null", b"{}")
    await reaches(client, thread, run, "interrupted", seconds=3)
    assert await thread_rests(client, thread) == "interrupted"
    state = await client.threads.get_state(thread)
    assert state["next"] == ["one"]
    stored = await client.runs.get(thread, run)
    assert stored["cancel_reason"] and stored["superseded_by"] is None


async def test_a_cancelled_thread_continues_with_null_input(
    client: LangGraphClient, thread: str
) -> None:
    run = await client.runs.create(thread, "slow", input=human("a", delay=2))
    await said(client, thread, "one")
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert (await client.threads.get_state(thread))["next"] == ["two"]
    await client.runs.wait(thread, "slow", input=None)
    assert await contents(client, thread) == ["a", "one", "two", "three"]
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_waiting_cancel_answers_when_the_code_has_stopped(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    run = await slow_run(client, thread)
    answer = await http.post(f"/threads/{thread}/runs/{run}/cancel", params={"wait": "1"})
    assert answer.status_code == 200
    assert await run_status(client, thread, run) == "interrupted"
    assert [message["content"] for message in answer.json()["messages"]] == ["a"]
    assert (await client.threads.get(thread))["status"] == "interrupted"


@pytest.mark.parametrize("spelling", ["1", "true", "yes"])
async def test_every_spelling_of_wait(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str, spelling: str
) -> None:
    run = await slow_run(client, thread)
    url = f"/threads/{thread}/runs/{run}/cancel"
    answer = await http.post(url, params={"wait": spelling, "action": "interrupt"})
    assert answer.status_code == 200
    assert await run_status(client, thread, run) == "interrupted"


async def test_waiting_cancel_of_a_node_that_ignores_it(
    client: LangGraphClient, thread: str
) -> None:
    """The answer comes only when the code has stopped or can no longer write."""
    run = await client.runs.create(thread, "stubborn", input=human("a", delay=1.5))
    await said(client, thread, "a")
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert await run_status(client, thread, run["run_id"]) == "interrupted"
    before = await client.threads.get_state(thread)
    await asyncio.sleep(2)
    assert await client.threads.get_state(thread) == before


async def test_cancel_during_a_retrys_back_off(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "retry", input=human("a"))
    await said(client, thread, "a")
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert time.monotonic() - began < 5
    assert await run_status(client, thread, run["run_id"]) == "interrupted"


async def test_rollback_removes_the_run_and_its_state(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "echo", input=human("kept"))
    before = await client.threads.get_state(thread)
    run = await client.runs.create(thread, "slow", input=human("gone", delay=5))
    await said(client, thread, "gone")
    await client.runs.cancel(thread, run["run_id"], wait=True, action="rollback")
    assert await run_status(client, thread, run["run_id"]) == "gone"
    assert await client.threads.get_state(thread) == before
    assert (await client.threads.get(thread))["status"] == "idle"
    assert list((await listed(client, thread)).values()) == ["success"]


async def test_rollback_without_waiting(client: LangGraphClient, thread: str) -> None:
    run = await slow_run(client, thread)
    await client.runs.cancel(thread, run, action="rollback")
    await reaches(client, thread, run, "gone", seconds=3)
    assert await thread_rests(client, thread) == "idle"
    assert await contents(client, thread) == []


async def test_cancel_of_a_pending_run(client: LangGraphClient, thread: str) -> None:
    running = await slow_run(client, thread, delay=0.6)
    waiting = await client.runs.create(thread, "echo", input=human("never"))
    last = await client.runs.create(thread, "echo", input=human("b"))
    await client.runs.cancel(thread, waiting["run_id"], wait=True)
    assert await run_status(client, thread, waiting["run_id"]) == "interrupted"
    assert (await client.threads.get(thread))["status"] == "busy"
    await client.runs.join(thread, last["run_id"])
    assert await run_status(client, thread, running) == "success"
    # Whoever takes his message from the queue does not want it said.
    assert await contents(client, thread) == ["a", "one", "two", "three", "b", "echo: b"]


async def test_cancel_of_a_finished_run(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    run = await client.runs.create(thread, "echo", input=human("a"))
    await client.runs.join(thread, run["run_id"])
    answer = await http.post(f"/threads/{thread}/runs/{run['run_id']}/cancel")
    assert answer.status_code == 404 and answer.json()["detail"]
    assert await run_status(client, thread, run["run_id"]) == "success"


async def test_cancel_of_an_unknown_run(http: httpx.AsyncClient, thread: str) -> None:
    answer = await http.post(f"/threads/{thread}/runs/{UNKNOWN_ID}/cancel")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "No runs found to cancel."}
    answer = await http.post(f"/threads/{thread}/runs/nonsense/cancel")
    assert answer.status_code == 422


async def test_cancel_by_ids(client: LangGraphClient, thread: str) -> None:
    done = await client.runs.create(thread, "echo", input=human("x"))
    await client.runs.join(thread, done["run_id"])
    running = await slow_run(client, thread)
    waiting = await client.runs.create(thread, "echo", input=human("b"))
    ids = [done["run_id"], running, waiting["run_id"]]
    await client.runs.cancel_many(thread_id=thread, run_ids=ids)
    await reaches(client, thread, running, "interrupted", seconds=3)
    await reaches(client, thread, waiting["run_id"], "interrupted", seconds=3)
    assert await run_status(client, thread, done["run_id"]) == "success"
    assert await thread_rests(client, thread) != "busy"


async def test_cancel_by_ids_with_rollback(client: LangGraphClient, thread: str) -> None:
    running = await slow_run(client, thread)
    waiting = await client.runs.create(thread, "echo", input=human("b"))
    await client.runs.cancel_many(
        thread_id=thread, run_ids=[running, waiting["run_id"]], action="rollback"
    )
    await reaches(client, thread, running, "gone", seconds=3)
    await reaches(client, thread, waiting["run_id"], "gone", seconds=3)
    assert await thread_rests(client, thread) == "idle"


async def test_cancel_many_refusals(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    with pytest.raises(NotFoundError):
        await client.runs.cancel_many(thread_id=thread, run_ids=[UNKNOWN_ID])
    bodies: list[dict[str, Any]] = [
        {},
        {"status": "all", "thread_id": thread, "run_ids": [UNKNOWN_ID]},
        {"status": "sleeping"},
        {"thread_id": thread},
    ]
    for body in bodies:
        answer = await http.post("/runs/cancel", json=body)
        assert answer.status_code == 422, body


async def test_clients_of_a_cancelled_run(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    """Streams end without an error after the status is there; joins give the last values."""

    async def stream() -> tuple[list[Any], str]:
        parts = [
            part async for part in client.runs.stream(thread, "slow", input=human("a", delay=3))
        ]
        [run] = await listed(client, thread)
        return parts, await run_status(client, thread, run)

    streaming = asyncio.create_task(stream())
    await said(other_client, thread, "one")
    [run] = await listed(other_client, thread)
    joining = asyncio.create_task(other_client.runs.join(thread, run))
    await asyncio.sleep(0.1)
    await other_client.runs.cancel(thread, run)
    parts, status = await asyncio.wait_for(streaming, 5)
    assert status == "interrupted", "the stream closed before the status was committed"
    assert "error" not in [part.event for part in parts]
    values = await asyncio.wait_for(joining, 5)
    assert [message["content"] for message in values["messages"]] == ["a", "one"]


async def test_cancel_by_status(launch: Any) -> None:
    """Touches every run of a server, so it has one of its own."""
    client = launch(memory=True).server.client()
    busy, idle = await new_thread(client), await new_thread(client)
    running = await slow_run(client, busy)
    pending = await client.runs.create(busy, "echo", input=human("b"))
    await client.runs.cancel_many(status="pending")
    assert await run_status(client, busy, pending["run_id"]) == "interrupted"
    assert await run_status(client, busy, running) == "running"
    other = await slow_run(client, idle)
    await client.runs.cancel_many(status="all")
    await reaches(client, busy, running, "interrupted", seconds=3)
    await reaches(client, idle, other, "interrupted", seconds=3)
    assert await contents(client, busy) == ["a"]
    with pytest.raises(NotFoundError):
        await client.runs.cancel_many(status="all")
    await client.aclose()


@pytest.mark.parametrize("form", ["stream", "wait", "join"])
async def test_cancel_on_disconnect(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str, form: str
) -> None:
    body = {"assistant_id": "slow", "input": human("a", delay=8)}
    if form == "join":
        run = await client.runs.create(thread, "slow", input=body["input"])
        url = f"/threads/{thread}/runs/{run['run_id']}/join"
        request = http.build_request("GET", url, params={"cancel_on_disconnect": "1"})
    else:
        url = f"/threads/{thread}/runs/{form}"
        request = http.build_request("POST", url, json={**body, "on_disconnect": "cancel"})
    # The server has the request when it begins to answer: who leaves before was never there.
    response = await http.send(request, stream=True)
    await said(client, thread, "a")
    await response.aclose()
    [run_id] = await listed(client, thread)
    await reaches(client, thread, run_id, "interrupted", seconds=7)
    stored = await client.runs.get(thread, run_id)
    assert stored["cancel_reason"]


async def test_a_run_outlives_its_client_by_default(client: LangGraphClient, thread: str) -> None:
    stream = client.runs.stream(thread, "slow", input=human("a", delay=0.2))
    async for part in stream:
        if part.event == "values":
            break
    await stream.aclose()
    assert await thread_rests(client, thread) == "idle"
    assert await contents(client, thread) == ["a", "one", "two", "three"]
