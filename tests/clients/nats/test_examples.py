"""The examples of docs/nats.md, word for word, against gateway, worker, Postgres and NATS."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path

import httpx
import nats
import pytest
from conftest import ROOT, until
from create_and_wait import call
from follow_events import follow

HERE = Path(__file__).resolve().parent
EXAMPLES = ["create_and_wait.py", "interrupt.py", "follow_events.py", "lifecycle.py"]
OVER = {"success", "error", "timeout", "interrupted", "discarded"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_shows_what_is_tested(name: str) -> None:
    page = (ROOT / "docs/nats.md").read_text()
    assert f"```python\n{(HERE / name).read_text()}```" in page


def test_a_run_is_created_and_waited_for(example) -> None:
    assert example("create_and_wait.py") == ["echo: Hello"]


def test_a_run_is_interrupted_by_another(example) -> None:
    lines = example("interrupt.py", graph="slow")
    assert [line.split()[1] for line in lines] == ["interrupted", "success"]


async def new_run(nc, graph: str, **fields) -> tuple[str, str]:
    thread = (await call(nc, "threads.create", {}))["thread_id"]
    create = {"thread_id": thread, "assistant_id": graph, "input": {"messages": []}, **fields}
    return thread, (await call(nc, "runs.create", create))["run_id"]


async def test_the_events_of_a_run_are_followed_live_later_and_from_any_id(
    nats_server, runloom, example
) -> None:
    nc = await nats.connect(nats_server.url)
    thread, run = await new_run(nc, "slow", stream_mode=["updates"], stream_resumable=True)
    live = [event async for event in follow(nc, thread, run)]
    assert [event["event"] for event in live].count("updates") == 3
    assert [event async for event in follow(nc, thread, run)] == live
    for place, event in enumerate(live):
        lines = example("follow_events.py", thread, run, event["id"])
        assert [line.split()[0] for line in lines] == [later["id"] for later in live[place + 1 :]]
    await nc.close()


async def test_events_larger_than_a_message_are_joined(nats_server, runloom) -> None:
    nc = await nats.connect(nats_server.url)
    text = "x" * 300_000
    messages = [{"role": "user", "content": text}]
    thread = (await call(nc, "threads.create", {}))["thread_id"]
    run = None
    for _ in range(4):  # each echoes the last one, so the values grow beyond a message
        create = {"thread_id": thread, "assistant_id": "echo", "input": {"messages": messages}}
        create["stream_mode"] = ["values"]
        run = (await call(nc, "runs.create", create))["run_id"]
        await wait_until_over(nc, run)
    values = [event async for event in follow(nc, thread, run) if event["event"] == "values"]
    assert len(values[-1]["data"]["messages"]) == 8
    with pytest.raises(RuntimeError, match="413: The answer has"):
        await call(nc, "threads.state", {"thread_id": thread})
    await nc.close()


async def wait_until_over(nc, run: str) -> None:
    while (await call(nc, "runs.get", {"run_id": run}))["status"] in ("pending", "running"):
        await asyncio.sleep(0.05)


async def test_a_refusal_is_an_error_of_the_service(nats_server, runloom) -> None:
    nc = await nats.connect(nats_server.url)
    with pytest.raises(RuntimeError, match="404: Thread or assistant not found"):
        missing = "00000000-0000-4000-8000-000000000000"
        await call(nc, "runs.create", {"thread_id": missing, "assistant_id": "echo"})
    with pytest.raises(RuntimeError, match="422: Invalid thread ID"):
        await call(nc, "threads.get", {"thread_id": "x"})
    _, run = await new_run(nc, "slow")
    with pytest.raises(RuntimeError, match="504: The run is not over"):
        await call(nc, "runs.wait", {"run_id": run, "timeout": 0.1})
    await nc.close()


async def test_the_service_is_found(nats_server, runloom) -> None:
    nc = await nats.connect(nats_server.url)
    info = json.loads((await nc.request("$SRV.INFO.runloom", timeout=5)).data)
    names = {endpoint["name"] for endpoint in info["endpoints"]}
    assert {"runs-create", "runs-cancel", "runs-get", "runs-wait", "threads-state"} <= names
    await nc.close()


async def test_what_happens_to_runs_is_told_though_the_server_was_killed_in_between(
    nats_server, runloom, background
) -> None:
    """Runs are created over HTTP while NATS is down; a listener hears of all of them."""
    lines = background("lifecycle.py")
    nc = await nats.connect(nats_server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    runs = [await new_run(nc, "echo") for _ in range(5)]
    until("the first events", lambda: len(lines()) >= 5)
    nats_server.kill()
    async with httpx.AsyncClient(base_url=runloom.url, timeout=30) as http:
        for _ in range(5):
            thread = (await http.post("/threads", json={})).json()["thread_id"]
            create = {"assistant_id": "echo", "input": {"messages": []}}
            answer = await http.post(f"/threads/{thread}/runs", json=create)
            runs.append((thread, answer.raise_for_status().json()["run_id"]))
        waited = [http.get(f"/threads/{thread}/runs/{run}/join") for thread, run in runs]
        assert all(answer.status_code == 200 for answer in await asyncio.gather(*waited))
    nats_server.start()
    wanted = {run for _, run in runs}

    def stages() -> dict[str, list[str]]:
        told = defaultdict(list)
        for line in lines():
            number, run, status = line.split()
            if run in wanted:
                told[run].append((int(number), status))
        assert all(told == sorted(told) for told in told.values())
        return {run: [status for _, status in told] for run, told in told.items()}

    def complete() -> bool:
        told = stages()
        return set(told) == wanted and all(said[-1] in OVER for said in told.values())

    until("the end of every run", complete)
    for said in stages().values():
        assert said == ["pending", "running", "success"]
    await nc.close()
