"""What leaves the process: frames from any thread, and the events of runs."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from runloom_executor import outbox
from runloom_executor.frames import FrameReader
from runloom_executor.outbox import AT_ONCE, GATHERED, Outbox
from runloom_executor.peer import Peer


async def test_what_a_full_socket_does_not_take_comes_later_and_whole() -> None:
    near, far = socket.socketpair()
    peer = await Peer.open(near)
    body = b"x" * 100_000

    def say(call: int) -> None:
        for number in range(50):
            peer.item(call, str(number), body)

    speakers = [threading.Thread(target=say, args=(call,)) for call in (1, 2, 3)]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        await asyncio.to_thread(speaker.join)
    # Nobody has read so far, so nearly all of it waits. What comes now comes last.
    peer.item(4, "last", body)
    heard: dict[int, list[str]] = {}
    reader = FrameReader()
    far.setblocking(False)
    while 4 not in heard:
        piece = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(far, 1 << 16), 10)
        for _, call, name, said in reader.feed(piece):
            assert said == body
            heard.setdefault(call, []).append(str(name))
    assert heard == {**{call: [str(number) for number in range(50)] for call in (1, 2, 3)}, 4: ["last"]}
    # The socket takes frames at once again.
    peer.item(5, "later", b"")
    piece = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(far, 1 << 16), 10)
    assert [name for _, _, name, _ in reader.feed(piece)] == ["later"]


async def test_a_few_events_are_sent_at_once_and_a_flood_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(outbox, "monotonic", lambda: now)
    frames: list[list[list[Any]]] = []
    came = asyncio.Event()

    def send(frame: list[list[Any]]) -> None:
        frames.append(frame)
        came.set()

    events: list[list[Any]] = [["custom", [], b"%d" % number, None] for number in range(AT_ONCE + 100)]
    box = Outbox(asyncio.get_running_loop(), send, 1 << 20)
    for event in events[:AT_ONCE]:
        box.put([event])
    assert frames == [[event] for event in events[:AT_ONCE]]
    for event in events[AT_ONCE:]:
        box.put([event])
    assert len(frames) == AT_ONCE
    now += GATHERED
    came.clear()
    await asyncio.wait_for(came.wait(), 10)
    assert [len(frame) for frame in frames[AT_ONCE:]] == [64, 36]
    assert [event for frame in frames for event in frame] == events


async def test_what_is_gathered_is_sent_before_an_answer() -> None:
    frames: list[list[list[Any]]] = []
    box = Outbox(asyncio.get_running_loop(), frames.append, 1 << 20)
    events: list[list[Any]] = [["custom", [], b"%d" % number, None] for number in range(50)]
    for event in events:
        box.put([event])
    box.flush()
    assert [event for frame in frames for event in frame] == events
    box.flush()
    assert all(frames), "nothing is sent twice, and no empty frames"
