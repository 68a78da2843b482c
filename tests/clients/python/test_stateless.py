"""Runs without a thread: a temporary one is made and cleaned away."""

from __future__ import annotations

import asyncio
import uuid

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from support.talk import human, is_gone, until


async def test_wait(client: LangGraphClient) -> None:
    values = await client.runs.wait(None, "echo", input=human("a"))
    assert [m["content"] for m in values["messages"]] == ["a", "echo: a"]


async def test_stream_and_clean_up(client: LangGraphClient) -> None:
    parts = [part async for part in client.runs.stream(None, "echo", input=human("a"))]
    assert parts[0].event == "metadata" and parts[0].data["run_id"]
    assert parts[-1].event in ("values", "end")
    values = [part.data for part in parts if part.event == "values"]
    assert [m["content"] for m in values[-1]["messages"]] == ["a", "echo: a"]


async def test_background_run_is_temporary(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "slow", input=human("a", delay=0.1))
    assert run["kwargs"]["temporary"] is True
    assert run["thread_id"]

    async def probe() -> bool:
        return await is_gone(client, run["thread_id"])

    await until(probe)


async def test_keep(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "echo", input=human("a"), on_completion="keep")
    assert run["kwargs"]["temporary"] is False
    await client.runs.join(run["thread_id"], run["run_id"])
    state = await client.threads.get_state(run["thread_id"])
    assert [m["content"] for m in state["values"]["messages"]] == ["a", "echo: a"]


async def test_addresses(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "echo", "input": human("a"), "on_completion": "keep"}
    created = await http.post("/runs", json=body)
    assert created.headers["content-location"] == f"/runs/{created.json()['run_id']}"
    streamed = await http.post("/runs/stream", json=body)
    place = streamed.headers["content-location"]
    assert place.startswith("/runs/")
    assert streamed.headers["location"].endswith(f"{place}/stream")
    waited = await http.post("/runs/wait", json=body)
    # What follows the last /runs/ is the id, for every client.
    assert uuid.UUID(waited.headers["content-location"].rpartition("/runs/")[2])
    assert waited.headers["location"].endswith("/join")


async def test_a_dropped_stateless_stream_can_be_rejoined(http: httpx.AsyncClient) -> None:
    """The advertised address must lead somewhere."""
    body = {
        "assistant_id": "slow",
        "input": human("a", delay=0.3),
        "stream_resumable": True,
        "stream_mode": "updates",
    }
    async with http.stream("POST", "/runs/stream", json=body) as response:
        address = response.headers["location"]
        async for _ in response.aiter_raw():
            break
    again = await http.get(address, headers={"last-event-id": "-1"})
    assert again.status_code == 200
    assert '"three"' in again.text


async def test_batch(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    wanted = ["echo", "slow", "echo"]
    runs = await client.runs.create_batch(
        [
            {"assistant_id": graph, "input": human("a", delay=0.05), "on_completion": "keep"}
            for graph in wanted
        ]
    )
    assert [run["kwargs"]["config"]["configurable"]["graph_id"] for run in runs] == wanted
    assert len({run["thread_id"] for run in runs}) == 3
    for run in runs:
        await client.runs.join(run["thread_id"], run["run_id"])
        assert (await client.threads.get(run["thread_id"]))["status"] == "idle"
    assert (await http.post("/runs/batch", json=[])).status_code == 422
    bad = [{"assistant_id": "echo", "input": {}}, {"assistant_id": "no such graph"}]
    assert (await http.post("/runs/batch", json=bad)).status_code in (404, 422)


async def test_resume_needs_a_thread(http: httpx.AsyncClient) -> None:
    for form in ("/runs", "/runs/stream", "/runs/wait"):
        body = {"assistant_id": "pause", "command": {"resume": "yes"}}
        answer = await http.post(form, json=body)
        assert answer.status_code == 400
        assert answer.json() == {"detail": "You must provide a thread_id when resuming."}


async def test_a_failure(client: LangGraphClient) -> None:
    with pytest.raises(Exception, match="kaboom"):
        await client.runs.wait(None, "fail", input=human("a"))
    parts = [part async for part in client.runs.stream(None, "fail", input=human("a"))]
    errors = [part.data for part in parts if part.event == "error"]
    assert errors == [{"error": "NodeError", "message": "kaboom"}]


async def test_many_at_once(client: LangGraphClient) -> None:
    answers = await asyncio.gather(
        *(client.runs.wait(None, "echo", input=human(f"m{i}")) for i in range(20))
    )
    assert [a["messages"][-1]["content"] for a in answers] == [f"echo: m{i}" for i in range(20)]
