"""Streams: modes, framing byte by byte, ids, replay, heartbeats, ends."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from support.sse import Frame, Parser, events, frames, read_events
from support.talk import (
    UNKNOWN_ID,
    contents,
    human,
    listed,
    run_status,
    said,
    until,
)

EVENT_ID = re.compile(r"\d+-\d+")
HEARTBEAT_SECONDS = 5


async def stream(
    http: httpx.AsyncClient, thread: str, graph: str, state: Any, **more: Any
) -> list[Frame]:
    body = {"assistant_id": graph, "input": state, **more}
    return await read_events(http, "POST", f"/threads/{thread}/runs/stream", json=body)


def named(frames: list[Frame], name: str) -> list[Any]:
    return [frame.data for frame in frames if frame.event == name]


def spoken(values: dict[str, Any]) -> list[str]:
    return [message["content"] for message in values["messages"]]


async def test_framing(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "slow", "input": human("line\nbreak", delay=0.02)}
    body |= {"stream_mode": ["values", "updates"], "stream_resumable": True}
    async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in response.headers
        got = [frame async for frame in frames(response)]
    assert len({tuple(frame.line_ends) for frame in got}) == 1, "one kind of line end"
    seen = [frame for frame in got if frame.fields and frame.event != "end"]
    for frame in seen:
        assert [name for name, _ in frame.fields] == ["event", "data", "id"]
        assert EVENT_ID.fullmatch(frame.id or "")
        assert isinstance(frame.data, dict)
    ids = [tuple(map(int, frame.id.split("-"))) for frame in seen]
    assert ids == sorted(set(ids)), "ids grow strictly"


async def test_the_first_event_is_metadata(http: httpx.AsyncClient, thread: str) -> None:
    got = await stream(http, thread, "echo", human("a"))
    [run] = (await http.get(f"/threads/{thread}/runs")).json()
    assert got[0].event == "metadata"
    assert got[0].data == {"run_id": run["run_id"], "attempt": 1}
    assert {frame.event for frame in got[1:]} == {"values"}
    assert all(frame.id is None for frame in got), "ids come with resumable streams only"


async def test_values(http: httpx.AsyncClient, thread: str) -> None:
    got = named(await stream(http, thread, "slow", human("a", delay=0.02)), "values")
    whole = ["a", "one", "two", "three"]
    assert [spoken(values) for values in got] == [whole[:n] for n in range(1, 5)]
    assert got[-1]["delay"] == 0.02
    human_message, ai_message = got[-1]["messages"][:2]
    assert human_message["type"] == "human" and human_message["id"]
    assert set(ai_message) >= {
        *"content additional_kwargs response_metadata type name id".split(),
        *"tool_calls invalid_tool_calls usage_metadata".split(),
    }


async def test_updates(http: httpx.AsyncClient, thread: str) -> None:
    got = await stream(http, thread, "slow", human("a", delay=0.02), stream_mode="updates")
    updates = named(got, "updates")
    assert [list(update) for update in updates] == [["one"], ["two"], ["three"]]
    assert spoken(updates[0]["one"]) == ["one"]


async def test_order_of_modes_in_a_superstep(http: httpx.AsyncClient, thread: str) -> None:
    modes = ["values", "updates", "tasks"]
    got = await stream(http, thread, "echo", human("a"), stream_mode=modes)
    order = [frame.event for frame in got]
    assert order == ["metadata", "values", "tasks", "updates", "tasks", "values"]
    start, end = named(got, "tasks")
    assert start["name"] == end["name"] == "echo" and start["id"] == end["id"]
    assert {"input", "triggers"} <= set(start)
    assert end["error"] is None and end["interrupts"] == [] and "result" in end


async def test_messages_tuple(http: httpx.AsyncClient, thread: str) -> None:
    state = human("a", count=10, rate=200)
    got = await stream(http, thread, "tokens", state, stream_mode="messages-tuple")
    pairs = named(got, "messages")
    chunks = [chunk for chunk, _ in pairs if chunk["type"] == "AIMessageChunk"]
    assert len([chunk for chunk in chunks if chunk["content"]]) == 10
    assert len({chunk["id"] for chunk in chunks}) == 1
    [answer] = (await contents_of(http, thread))[1:]
    assert "".join(chunk["content"] for chunk in chunks) == answer["content"]
    assert chunks[0]["id"] == answer["id"], "streamed and stored message share their id"
    assert chunks[-1].get("chunk_position") == "last"
    metadata = pairs[0][1]
    assert metadata["langgraph_node"] == "model"
    assert {"langgraph_step", "run_id", "thread_id"} <= set(metadata)


async def contents_of(http: httpx.AsyncClient, thread: str) -> list[dict[str, Any]]:
    return (await http.get(f"/threads/{thread}/state")).json()["values"]["messages"]


async def test_messages(http: httpx.AsyncClient, thread: str) -> None:
    state = human("a", count=5, rate=200)
    got = await stream(http, thread, "tokens", state, stream_mode="messages")
    names = [frame.event for frame in got[1:]]
    assert names[0] == "messages/metadata"
    assert set(names[1:]) == {"messages/partial"}, "streamed messages get partials only"
    partial = [data[0] for data in named(got, "messages/partial")]
    texts = [message["content"] for message in partial]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert {message["type"] for message in partial} == {"ai"}
    [answer] = (await contents_of(http, thread))[1:]
    assert texts[-1] == answer["content"]
    [told] = named(got, "messages/metadata")
    assert told[answer["id"]]["metadata"]["langgraph_node"] == "model"


async def test_messages_that_come_whole(http: httpx.AsyncClient, thread: str) -> None:
    got = await stream(http, thread, "echo", human("a"), stream_mode="messages")
    complete = [data[0]["content"] for data in named(got, "messages/complete")]
    assert complete[-1] == "echo: a"
    assert named(got, "messages/partial") == []


async def test_both_message_modes_give_the_tuple_form(http: httpx.AsyncClient, thread: str) -> None:
    modes = ["messages", "messages-tuple"]
    state = human("a", count=3, rate=200)
    got = await stream(http, thread, "tokens", state, stream_mode=modes)
    assert {frame.event for frame in got} == {"metadata", "messages"}


async def test_custom(http: httpx.AsyncClient, thread: str) -> None:
    got = await stream(http, thread, "custom", human("a"), stream_mode="custom")
    assert named(got, "custom") == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_checkpoints_and_debug(http: httpx.AsyncClient, thread: str) -> None:
    modes = ["checkpoints", "debug"]
    got = await stream(http, thread, "echo", human("a"), stream_mode=modes)
    checkpoints = named(got, "checkpoints")
    assert len(checkpoints) == 3
    assert [checkpoint["metadata"]["step"] for checkpoint in checkpoints] == [-1, 0, 1]
    last = checkpoints[-1]
    assert set(last) >= {"config", "parent_config", "values", "metadata", "next", "tasks"}
    assert last["next"] == [] and spoken(last["values"]) == ["a", "echo: a"]
    debug = named(got, "debug")
    kinds = [item["type"] for item in debug]
    assert kinds == ["checkpoint", "checkpoint", "task", "task_result", "checkpoint"]
    assert all({"step", "timestamp", "payload"} <= set(item) for item in debug)


async def test_parallel_branches(http: httpx.AsyncClient, thread: str) -> None:
    state = human("a", delay=0.1)
    got = await stream(http, thread, "fork", state, stream_mode=["updates", "values"])
    assert [list(update) for update in named(got, "updates")] == [["left"], ["right"], ["join"]]
    assert [spoken(values) for values in named(got, "values")] == [
        ["a"],
        ["a", "left", "right"],
        ["a", "left", "right", "join"],
    ]


async def test_subgraphs(http: httpx.AsyncClient, thread: str) -> None:
    state = human("a", delay=0.02)
    got = await stream(http, thread, "nested", state, stream_mode="updates", stream_subgraphs=True)
    names = [frame.event for frame in got[1:]]
    assert [name.split("|")[0] for name in names] == ["updates"] * len(names)
    inner = [frame for frame in got if frame.event.startswith("updates|child:")]
    assert [list(frame.data) for frame in inner] == [["inner_one"], ["inner_two"]]
    assert [list(update) for update in named(got, "updates")] == [["child"], ["after"]]
    plain = await stream(http, thread, "nested", state, stream_mode="updates")
    assert {frame.event for frame in plain} == {"metadata", "updates"}


async def test_a_failure(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    got = await stream(http, thread, "fail", human("a"))
    assert got[-1].event == "error"
    assert got[-1].data == {"error": "NodeError", "message": "kaboom"}
    assert list((await listed(client, thread)).values()) == ["error"]


async def test_a_pause(http: httpx.AsyncClient, thread: str) -> None:
    modes = ["updates", "values"]
    got = await stream(http, thread, "pause", human("a"), stream_mode=modes)
    assert [frame.event for frame in got[-2:]] == ["updates", "values"]
    [asked] = got[-2].data["__interrupt__"]
    assert asked["value"] == {"question": "ok?"} and asked["id"]
    [again] = got[-1].data["__interrupt__"]
    assert again["id"] == asked["id"]


async def test_the_status_is_there_before_the_stream_closes(
    client: LangGraphClient, server: Any
) -> None:
    async def play(graph: str, wanted: str) -> None:
        thread = (await client.threads.create())["thread_id"]
        async with server.http() as http:
            got = await stream(http, thread, graph, human("a", delay=0.01))
            run = got[0].data["run_id"]
            assert await run_status(client, thread, run) == wanted
            assert (await client.threads.get(thread))["status"] != "busy"

    cases = [("echo", "success"), ("slow", "success"), ("fail", "error"), ("pause", "success")]
    await asyncio.gather(*(play(*case) for case in cases for _ in range(5)))


async def resumable(client: LangGraphClient, thread: str, **more: Any) -> tuple[str, list[Any]]:
    """A finished resumable run and what its stream carried."""
    parts = [
        part
        async for part in client.runs.stream(
            thread,
            "slow",
            input=human("a", delay=0.05),
            stream_mode=["values", "updates"],
            stream_resumable=True,
            **more,
        )
    ]
    return parts[0].data["run_id"], [part for part in parts if part.event != "end"]


@pytest.mark.parametrize("start", ["-1", "-", "0", "0-0"])
async def test_replay_of_everything(client: LangGraphClient, thread: str, start: str) -> None:
    run, original = await resumable(client, thread)
    again = [part async for part in client.runs.join_stream(thread, run, last_event_id=start)]
    assert [part for part in again if part.event != "end"] == original


async def test_replay_from_every_event(client: LangGraphClient, thread: str) -> None:
    run, original = await resumable(client, thread)
    for position, part in enumerate(original):
        again = client.runs.join_stream(thread, run, last_event_id=part.id)
        rest = [part async for part in again if part.event != "end"]
        assert rest == original[position + 1 :]


async def test_replay_runs_into_live_events(client: LangGraphClient, thread: str) -> None:
    """No gap and no double where the past meets the present."""
    run = (
        await client.runs.create(
            thread,
            "tokens",
            input=human("a", count=150, rate=100),
            stream_mode="messages-tuple",
            stream_resumable=True,
        )
    )["run_id"]

    async def join(after: float) -> list[Any]:
        await asyncio.sleep(after)
        joined = client.runs.join_stream(thread, run, last_event_id="-1")
        return [part async for part in joined if part.event != "end"]

    streams = await asyncio.gather(*(join(n / 10) for n in range(12)))
    assert len(streams[0]) > 150
    assert all(parts == streams[0] for parts in streams)


async def test_a_broken_stream_is_resumed(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    body = {"assistant_id": "tokens", "input": human("a", count=60, rate=60)}
    body |= {"stream_mode": "messages-tuple", "stream_resumable": True}
    got: list[Frame] = []
    async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as response:
        address = response.headers["location"]
        async for frame in events(response):
            got.append(frame)
            if len(got) == 10:
                break
    while True:
        last = {"last-event-id": got[-1].id or ""}
        async with http.stream("GET", address, headers=last) as response:
            more = []
            async for frame in events(response):
                more.append(frame)
                if len(more) == 15:
                    break
        got += more
        if len(more) < 15:
            break
    run = got[0].data["run_id"]
    whole = [
        part
        async for part in client.runs.join_stream(thread, run, last_event_id="-1")
        if part.event != "end"
    ]
    assert [(frame.id, frame.data) for frame in got] == [(part.id, part.data) for part in whole]


async def test_joiners_see_the_same_live_events(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    run = await client.runs.create(
        thread, "slow", input=human("a", delay=0.1), after_seconds=1, stream_mode="updates"
    )
    url = f"/threads/{thread}/runs/{run['run_id']}/stream"
    all_got = await asyncio.gather(*(read_events(http, "GET", url) for _ in range(5)))
    for got in all_got:
        assert [frame.event for frame in got] == ["metadata"] + ["updates"] * 3
        assert [frame.data for frame in got] == [frame.data for frame in all_got[0]]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("stream_mode=updates", {"updates"}),
        ("stream_mode=values&stream_mode=updates", {"values", "updates"}),
        ('stream_mode=["values","updates"]', {"values", "updates"}),
        ("stream_mode=custom", set()),
    ],
)
async def test_joiners_choose_modes(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str, query: str, wanted: set[str]
) -> None:
    run, _ = await resumable(client, thread)
    url = f"/threads/{thread}/runs/{run}/stream?{query}"
    got = await read_events(http, "GET", url, headers={"last-event-id": "-1"})
    assert {frame.event for frame in got} - {"metadata"} == wanted


async def test_errors_are_replayed(http: httpx.AsyncClient, thread: str) -> None:
    original = await stream(http, thread, "fail", human("a"), stream_resumable=True)
    url = f"/threads/{thread}/runs/{original[0].data['run_id']}/stream"
    for query in ("", "?stream_mode=updates"):
        got = await read_events(http, "GET", url + query, headers={"last-event-id": "-1"})
        assert got[-1].event == "error" and got[-1].data["message"] == "kaboom"


async def test_join_of_a_finished_run_ends_at_once(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    run = await client.runs.create(thread, "echo", input=human("a"))
    await client.runs.join(thread, run["run_id"])
    began = time.monotonic()
    got = await read_events(http, "GET", f"/threads/{thread}/runs/{run['run_id']}/stream")
    assert got == [] and time.monotonic() - began < 2


async def test_join_of_an_unknown_run(http: httpx.AsyncClient, thread: str) -> None:
    got = await read_events(http, "GET", f"/threads/{thread}/runs/{UNKNOWN_ID}/stream")
    assert [(frame.event, frame.data) for frame in got] == [
        ("error", {"error": "HTTPException", "message": "404: Run not found"})
    ]


async def test_join_of_a_queued_run(client: LangGraphClient, thread: str) -> None:
    await client.runs.create(thread, "slow", input=human("a", delay=0.2))
    queued = await client.runs.create(thread, "echo", input=human("b"))
    parts = [part async for part in client.runs.join_stream(thread, queued["run_id"])]
    assert parts[0].data["run_id"] == queued["run_id"]
    last = [part.data for part in parts if part.event == "values"][-1]
    assert last["messages"][-1]["content"] == "echo: b"


async def test_joining_changes_nothing(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    run = await client.runs.create(thread, "slow", input=human("a", delay=0.3))
    async with http.stream("GET", f"/threads/{thread}/runs/{run['run_id']}/stream") as response:
        await anext(aiter(frames(response)))
    await client.runs.join(thread, run["run_id"])
    assert await contents(client, thread) == ["a", "one", "two", "three"]


async def test_join_stream_with_cancel_on_disconnect(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    run = await client.runs.create(thread, "slow", input=human("a", delay=4))
    url = f"/threads/{thread}/runs/{run['run_id']}/stream"
    await said(client, thread, "a")
    request = http.build_request("GET", url, params={"cancel_on_disconnect": "true"})
    response = await http.send(request, stream=True)
    await response.aclose()

    async def cancelled() -> bool:
        return await run_status(client, thread, run["run_id"]) == "interrupted"

    await until(cancelled, 8)


async def timed_stream(http: httpx.AsyncClient, url: str, body: Any) -> tuple[list[float], str]:
    """When heartbeats came, counted from the request; and what came after them."""
    began = time.monotonic()
    beats = []
    parser = Parser()
    async with http.stream("POST", url, json=body) as response:
        async for chunk in response.aiter_raw():
            for frame in parser.feed(chunk):
                if frame.comments:
                    assert frame.comments == ["heartbeat"]
                    beats.append(time.monotonic() - began)
                if frame.fields:
                    return beats, frame.event
    return beats, ""


async def timed_wait(http: httpx.AsyncClient, url: str, body: Any) -> tuple[list[float], bytes]:
    began = time.monotonic()
    beats, text = [], b""
    async with http.stream("POST", url, json=body) as response:
        assert response.status_code == 200
        async for chunk in response.aiter_raw():
            if not chunk.strip():
                beats.append(time.monotonic() - began)
            text += chunk
    return beats, text


async def test_heartbeats(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    """Every five seconds of silence, from the start, while the run is still queued."""
    first = (await client.threads.create())["thread_id"]
    second = (await client.threads.create())["thread_id"]
    body = {"assistant_id": "echo", "input": human("a"), "after_seconds": 11.5}
    (beats, then), (newlines, text) = await asyncio.gather(
        timed_stream(http, f"/threads/{first}/runs/stream", body),
        timed_wait(http, f"/threads/{second}/runs/wait", body),
    )
    assert then == "metadata"
    for times in (beats, newlines):
        assert len(times) == 2
        for number, at in enumerate(times, 1):
            assert abs(at - number * HEARTBEAT_SECONDS) < 1.5, times
    assert text.startswith(b"\n\n{") and b"echo: a" in text
