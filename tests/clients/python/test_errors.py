"""Bad input: the right status and body, and nothing written."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from support.server import Server
from support.talk import UNKNOWN_ID, contents, human, listed

RUN = {"assistant_id": "echo", "input": human("a")}
NO_RUN_BODY = "Invalid JSON in request body"
NO_ASSISTANT = "Thread or assistant not found."
NO_THREAD = f"Thread with ID {UNKNOWN_ID} not found"
NOT_A_THREAD = "Invalid thread ID: must be a UUID"

# Name, what is wrong in the body, status, exact detail where clients or people rely on it.
BAD_RUNS: list[tuple[str, Any, int, str | None]] = [
    ("an array", [], 422, None),
    ("a string", "run", 422, None),
    ("no assistant", {"input": {}}, 422, None),
    ("unknown graph", {**RUN, "assistant_id": "no such graph"}, 422, None),
    ("unknown assistant", {**RUN, "assistant_id": UNKNOWN_ID}, 404, NO_ASSISTANT),
    ("assistant of a wrong type", {**RUN, "assistant_id": 7}, 422, None),
    ("unknown strategy", {**RUN, "multitask_strategy": "queue"}, 422, None),
    ("unknown stream mode", {**RUN, "stream_mode": "all"}, 422, None),
    ("unknown stream mode in a list", {**RUN, "stream_mode": ["values", "all"]}, 422, None),
    ("bad checkpoint id", {**RUN, "checkpoint_id": "x"}, 422, "Invalid checkpoint ID"),
    ("metadata no object", {**RUN, "metadata": "x"}, 422, None),
    ("config no object", {**RUN, "config": []}, 422, None),
    ("bad recursion limit", {**RUN, "config": {"recursion_limit": "x"}}, 422, None),
    ("unknown durability", {**RUN, "durability": "never"}, 422, None),
    ("delay no number", {**RUN, "after_seconds": "soon"}, 422, None),
    ("breakpoints of a wrong type", {**RUN, "interrupt_before": 3}, 422, None),
    ("command no object", {"assistant_id": "echo", "command": "x"}, 422, None),
    ("unknown if_not_exists", {**RUN, "if_not_exists": "maybe"}, 422, None),
    ("unknown on_disconnect", {**RUN, "on_disconnect": "cry"}, 422, None),
    ("empty webhook", {**RUN, "webhook": ""}, 422, None),
    ("NUL in a key", {**RUN, "config": {"configurable": {"a\0": 1}}}, 422, None),
    (
        "configurable and context",
        {**RUN, "config": {"configurable": {"a": 1}}, "context": {"b": 1}},
        400,
        None,
    ),
]


def check_error(answer: httpx.Response, status: int, detail: str | None) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"detail"} and isinstance(body["detail"], str) and body["detail"]
    if detail is not None:
        assert body["detail"] == detail


@pytest.mark.parametrize("form", ["", "/stream", "/wait"], ids=["create", "stream", "wait"])
@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [case[1:] for case in BAD_RUNS],
    ids=[case[0] for case in BAD_RUNS],
)
async def test_bad_run_bodies(
    client: LangGraphClient,
    http: httpx.AsyncClient,
    thread: str,
    form: str,
    body: Any,
    status: int,
    detail: str | None,
) -> None:
    before = await client.threads.get(thread)
    if form == "" and isinstance(body, dict) and "on_disconnect" in body:
        pytest.skip("a plain create ignores it")
    answer = await http.post(f"/threads/{thread}/runs{form}", json=body)
    check_error(answer, status, detail)
    assert await listed(client, thread) == {}
    assert await client.threads.get(thread) == before, "nothing is written"


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b'{"assistant_id": "echo"'])
@pytest.mark.parametrize("form", ["", "/stream", "/wait"], ids=["create", "stream", "wait"])
async def test_bodies_that_are_no_json(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str, form: str, content: bytes
) -> None:
    answer = await http.post(
        f"/threads/{thread}/runs{form}",
        content=content,
        headers={"content-type": "application/json"},
    )
    check_error(answer, 422, NO_RUN_BODY)
    assert await listed(client, thread) == {}


async def test_the_content_type_does_not_matter(http: httpx.AsyncClient, thread: str) -> None:
    answer = await http.post(
        f"/threads/{thread}/runs/wait",
        content=json.dumps(RUN),
        headers={"content-type": "text/plain"},
    )
    assert answer.status_code == 200 and "echo: a" in answer.text


async def test_unknown_fields_and_queries_are_ignored(http: httpx.AsyncClient, thread: str) -> None:
    body = {**RUN, "strict_resume": True, "wibble": {"deep": []}, "on_completion": "keep"}
    answer = await http.post(f"/threads/{thread}/runs/wait?wobble=1", json=body)
    assert answer.status_code == 200 and "echo: a" in answer.text
    made = await http.post("/threads", json={"wibble": 1})
    assert made.status_code == 200


THREADS: list[tuple[str, str, str, Any, int, str | None]] = [
    ("get, no UUID", "GET", "/threads/x", None, 422, NOT_A_THREAD),
    ("get, unknown", "GET", f"/threads/{UNKNOWN_ID}", None, 404, NO_THREAD),
    ("patch, unknown", "PATCH", f"/threads/{UNKNOWN_ID}", {"metadata": {}}, 404, None),
    ("delete, unknown", "DELETE", f"/threads/{UNKNOWN_ID}", None, 404, NO_THREAD),
    ("state, unknown", "GET", f"/threads/{UNKNOWN_ID}/state", None, 404, NO_THREAD),
    ("update, unknown", "POST", f"/threads/{UNKNOWN_ID}/state", {"values": {}}, 404, NO_THREAD),
    ("history, unknown", "POST", f"/threads/{UNKNOWN_ID}/history", {}, 404, NO_THREAD),
    ("create run, unknown", "POST", f"/threads/{UNKNOWN_ID}/runs", RUN, 404, NO_ASSISTANT),
    ("stream run, unknown", "POST", f"/threads/{UNKNOWN_ID}/runs/stream", RUN, 404, NO_ASSISTANT),
    ("wait run, unknown", "POST", f"/threads/{UNKNOWN_ID}/runs/wait", RUN, 404, NO_ASSISTANT),
    ("create run, no UUID", "POST", "/threads/x/runs", RUN, 422, None),
    ("runs, unknown", "GET", f"/threads/{UNKNOWN_ID}/runs", None, 404, NO_THREAD),
    ("create, no UUID", "POST", "/threads", {"thread_id": "x"}, 422, NOT_A_THREAD),
    ("create, bad if_exists", "POST", "/threads", {"if_exists": "x"}, 422, None),
    ("create, bad metadata", "POST", "/threads", {"metadata": []}, 422, None),
    ("search, bad sort", "POST", "/threads/search", {"sort_by": "x"}, 422, None),
    ("search, limit 0", "POST", "/threads/search", {"limit": 0}, 422, None),
    ("search, limit 1001", "POST", "/threads/search", {"limit": 1001}, 422, None),
    ("search, bad status", "POST", "/threads/search", {"status": "x"}, 422, None),
    ("search, bad select", "POST", "/threads/search", {"select": ["x"]}, 422, None),
    ("unknown route", "GET", "/nowhere", None, 404, "Not Found"),
    ("wrong method", "PUT", "/threads", None, 405, "Method Not Allowed"),
    ("assistant, unknown", "GET", f"/assistants/{UNKNOWN_ID}", None, 404, None),
    ("assistant, no graph", "POST", "/assistants", {}, 422, None),
    ("assistant, unknown graph", "POST", "/assistants", {"graph_id": "x"}, 404, None),
    ("assistant, xray 0", "GET", "/assistants/echo/graph?xray=0", None, 422, None),
]


@pytest.mark.parametrize(
    ("method", "url", "body", "status", "detail"),
    [case[1:] for case in THREADS],
    ids=[case[0] for case in THREADS],
)
async def test_bad_addresses_and_bodies(
    http: httpx.AsyncClient, method: str, url: str, body: Any, status: int, detail: str | None
) -> None:
    check_error(await http.request(method, url, json=body), status, detail)


@pytest.mark.parametrize(
    ("method", "tail", "status", "detail"),
    [
        ("GET", "runs/x", 422, "Invalid run ID: must be a UUID"),
        ("GET", f"runs/{UNKNOWN_ID}", 404, "Not Found"),
        ("DELETE", f"runs/{UNKNOWN_ID}", 404, "Run not found"),
        ("GET", "runs/x/stream", 422, None),
        ("GET", "runs/x/join", 422, None),
        ("GET", "runs?limit=x", 400, None),
        ("GET", "runs?select=x", 422, None),
        ("POST", f"runs/{UNKNOWN_ID}/cancel", 404, "No runs found to cancel."),
        ("POST", "state", 422, "Invalid JSON in request body"),
        ("POST", "history", 422, "Invalid JSON in request body"),
    ],
)
async def test_bad_addresses_below_a_thread(
    http: httpx.AsyncClient, thread: str, method: str, tail: str, status: int, detail: str | None
) -> None:
    check_error(await http.request(method, f"/threads/{thread}/{tail}"), status, detail)


@pytest.mark.parametrize("body", [{"limit": 0}, {"limit": "x"}, {"limit": 1001}])
async def test_bad_history_limits(http: httpx.AsyncClient, thread: str, body: Any) -> None:
    check_error(await http.post(f"/threads/{thread}/history", json=body), 422, None)


async def test_an_unknown_status_lists_nothing(http: httpx.AsyncClient, thread: str) -> None:
    await http.post(f"/threads/{thread}/runs/wait", json=RUN)
    answer = await http.get(f"/threads/{thread}/runs", params={"status": "x"})
    assert answer.status_code == 200 and answer.json() == []


async def test_a_thread_that_exists(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    made = await client.threads.create()
    answer = await http.post("/threads", json={"thread_id": made["thread_id"]})
    check_error(answer, 409, f"Thread with ID {made['thread_id']} already exists")


async def test_an_oversized_body_is_refused_unread(server: Server) -> None:
    """The length alone is enough: nobody has to send 400 MB to be told."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /threads HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: 400000000\r\n\r\n{"
    )
    await writer.drain()
    status = await asyncio.wait_for(reader.readline(), 10)
    assert b" 413 " in status
    writer.close()


async def test_input_and_command(client: LangGraphClient, thread: str) -> None:
    """The command wins; the input is dropped."""
    await client.runs.wait(thread, "pause", input=human("a"))
    await client.runs.wait(thread, "pause", input=human("dropped"), command={"resume": "yes"})
    assert await contents(client, thread) == ["a", "got yes"]


async def test_resume_where_nothing_waits(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "echo", input=human("a"))
    before = await client.threads.get_state(thread)
    run = await client.runs.create(thread, "echo", command={"resume": "yes"})
    await client.runs.join(thread, run["run_id"])
    assert (await listed(client, thread))[run["run_id"]] == "success"
    after = await client.threads.get_state(thread)
    assert after["values"] == before["values"] and after["next"] == []
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_a_checkpoint_of_another_thread(client: LangGraphClient, thread: str) -> None:
    other = (await client.threads.create())["thread_id"]
    await client.runs.wait(other, "echo", input=human("secret"))
    foreign = (await client.threads.get_state(other))["checkpoint"]
    values = await client.runs.wait(
        thread, "echo", input=None, checkpoint_id=foreign["checkpoint_id"], raise_error=False
    )
    assert values["__error__"]["error"] == "EmptyInputError"
    with pytest.raises(httpx.HTTPStatusError) as refused:
        await client.runs.wait(thread, "echo", input=human("mine"), checkpoint=foreign)
    assert refused.value.response.status_code == 422
    assert [run["status"] for run in await client.runs.list(thread)] == ["error"]
    assert "secret" not in json.dumps(await client.threads.get_state(thread))
    state = await client.threads.get_state(thread, checkpoint_id=foreign["checkpoint_id"])
    assert state["values"] == {}
    assert await contents(client, other) == ["secret", "echo: secret"]


@pytest.mark.parametrize(
    "state",
    ["hello", 7, {"messages": [{"nonsense": 1}]}],
    ids=["a string", "a number", "no message"],
)
async def test_input_that_the_graph_refuses(
    client: LangGraphClient, thread: str, state: Any
) -> None:
    """Only the graph can tell: the run fails, the thread can go on."""
    values = await client.runs.wait(thread, "echo", input=state, raise_error=False)
    assert values["__error__"]["error"] and values["__error__"]["message"]
    assert (await client.threads.get(thread))["status"] == "error"
    assert await contents(client, thread) == []
    values = await client.runs.wait(thread, "echo", input=human("b"))
    assert [m["content"] for m in values["messages"]] == ["b", "echo: b"]


async def test_input_keys_unknown_to_the_graph_are_ignored(
    client: LangGraphClient, thread: str
) -> None:
    values = await client.runs.wait(thread, "echo", input=human("a", wibble=1))
    assert "wibble" not in values
    assert values["messages"][-1]["content"] == "echo: a"


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("ünïcødé 🌤", {"ünïcødé 🌤"}),
        ("line\r\nbreak\u2028x", {"line\r\nbreak\u2028x"}),
        # Databases that cannot hold a NUL may put the replacement character for it.
        ("a\0b", {"a\0b", "a\ufffdb"}),
    ],
    ids=["beyond ASCII", "line ends", "NUL"],
)
async def test_odd_text_survives(
    client: LangGraphClient, thread: str, text: str, spoken: set[str]
) -> None:
    """Texts that break databases, JSON writers and event streams."""
    parts = [part async for part in client.runs.stream(thread, "echo", input=human(text))]
    last = [part.data for part in parts if part.event == "values"][-1]
    question, answer = (message["content"] for message in last["messages"])
    assert question in spoken and answer == f"echo: {question}"
    assert await contents(client, thread) == [question, answer]


async def test_a_lone_surrogate_crashes_nothing(http: httpx.AsyncClient, thread: str) -> None:
    body = json.dumps({"assistant_id": "echo", "input": human("\ud83d")}).encode()
    answer = await http.post(f"/threads/{thread}/runs/wait", content=body)
    assert answer.status_code in (200, 422)
    after = await http.post(f"/threads/{thread}/runs/wait", json=RUN)
    assert after.status_code == 200 and "echo: a" in after.text
