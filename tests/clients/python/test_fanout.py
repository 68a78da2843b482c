"""Many clients on one run, and one that does not read."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest
from support.crowd import Listener, get, resident_mib
from support.server import ServerProcess
from support.talk import human, new_thread

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]

CLIENTS = 500
EVENTS = 250
RATE = 50
MEMORY_MIB = 100
# How long after the first client any other may hear of the same event.
LATE_P99_SECONDS = 0.25
LATE_MAX_SECONDS = 1


async def listen(process: ServerProcess, path: str, **headers: str) -> Listener:
    loop = asyncio.get_running_loop()
    request = get(f"127.0.0.1:{process.port}", path, **headers)
    _, listener = await loop.create_connection(lambda: Listener(request), "127.0.0.1", process.port)
    return listener


async def all_closed(listeners: list[Listener], seconds: float) -> None:
    await asyncio.wait_for(asyncio.gather(*(one.closed.wait() for one in listeners)), seconds)


async def test_five_hundred_clients_on_one_run(launch: Callable[..., ServerProcess]) -> None:
    process = launch(memory=True)
    client = process.server.client()
    thread = await new_thread(client)
    run = await client.runs.create(
        thread,
        "tokens",
        input=human("a", count=EVENTS, rate=RATE),
        stream_mode="messages-tuple",
        stream_resumable=True,
        after_seconds=3,
    )
    path = f"/threads/{thread}/runs/{run['run_id']}/stream"
    crowd = await asyncio.gather(
        *(listen(process, path, last_event_id="-1") for _ in range(CLIENTS))
    )
    await client.runs.join(thread, run["run_id"])
    await all_closed(crowd, 15)

    heard = [listener.events() for listener in crowd]
    ids = [[frame.id for _, frame in events] for events in heard]
    assert len(ids[0]) > EVENTS
    assert ids[0] == sorted(set(ids[0]), key=lambda id: tuple(map(int, id.split("-"))))
    assert all(other == ids[0] for other in ids), "all get every event, in order"
    texts = {
        "".join(frame.data[0]["content"] for _, frame in events if frame.event == "messages")
        for events in heard
    }
    [answer] = texts
    stored = (await client.threads.get_state(thread))["values"]["messages"][-1]["content"]
    assert answer == stored

    late = sorted(
        at - first
        for at_once in zip(*([at for at, _ in events] for events in heard), strict=True)
        for first in [min(at_once)]
        for at in at_once
    )
    assert late[int(len(late) * 0.99)] < LATE_P99_SECONDS
    assert late[-1] < LATE_MAX_SECONDS
    times = [at for at, _ in heard[0]][1:]
    assert times[-1] - times[0] < EVENTS / RATE + 2, "the stream keeps its pace"
    assert resident_mib(process.pid) < MEMORY_MIB


async def test_a_client_that_stops_reading_harms_nobody(
    launch: Callable[..., ServerProcess],
) -> None:
    """Growing snapshots, tens of megabytes: more than any socket buffer holds for it."""
    process = launch(memory=True)
    client = process.server.client()
    thread = await new_thread(client)
    count, rate = 2000, 400
    run = await client.runs.create(
        thread,
        "tokens",
        input=human("a", count=count, rate=rate),
        stream_mode="messages",
        stream_resumable=True,
        after_seconds=1.5,
    )
    path = f"/threads/{thread}/runs/{run['run_id']}/stream"
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", process.port))
    stalled.sendall(get(f"127.0.0.1:{process.port}", path, last_event_id="-1"))
    crowd = await asyncio.gather(*(listen(process, path, last_event_id="-1") for _ in range(5)))

    began = time.monotonic()
    await client.runs.join(thread, run["run_id"])
    await all_closed(crowd, 15)
    assert time.monotonic() - began < count / rate + 10

    heard = [[(frame.id, frame.event) for _, frame in one.events()] for one in crowd]
    assert all(other == heard[0] for other in heard)
    partials = [event for _, event in heard[0] if event == "messages/partial"]
    assert len(partials) >= count
    assert resident_mib(process.pid) < MEMORY_MIB
    # It is served afterwards like anybody else: the server still answers, and quickly.
    began = time.monotonic()
    await client.runs.wait(None, "echo", input=human("b"))
    assert time.monotonic() - began < 2

    # What reached it before it was cut loose is whole and in order, with an id to resume from.
    stalled.settimeout(10)
    own = Listener(b"")
    while data := await asyncio.to_thread(stalled.recv, 1 << 16):
        own.chunks.append((time.monotonic(), data))
    stalled.close()
    got = [frame.id for _, frame in own.events()]
    whole = [id for id, _ in heard[0]]
    assert got and got == whole[: len(got)]
    rest = await listen(process, path, last_event_id=str(got[-1]))
    await all_closed([rest], 15)
    resumed = [frame.id for _, frame in rest.events()]
    assert resumed == whole[len(got) :], "no gap and no double"
