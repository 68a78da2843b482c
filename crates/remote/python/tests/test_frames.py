"""Frames and requests over a socket."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

import pytest

from runloom_executor.errors import Fenced, ProtocolError, Unavailable, Unsupported
from runloom_executor.frames import ITEM, LARGEST, REPLY, REQUEST, BrokenFrame, FrameReader, pack
from runloom_executor.peer import Peer

pytestmark = pytest.mark.asyncio

FRAMES = [
    (REQUEST, 1, "run", {"input": b"{}", "credit": 5, "nothing": None}),
    (REPLY, 7, None, [b"x" * 100_000, "text"]),
    (ITEM, 1, "events", [["values", ["a", "b"], b"{}", None]]),
    (REPLY, 8, None, None),
]


def read(pieces: list[bytes]) -> list[Any]:
    reader = FrameReader()
    return [frame for piece in pieces for frame in reader.feed(piece)]


async def test_frames_arrive_however_the_stream_is_cut() -> None:
    stream = b"".join(pack(*frame) for frame in FRAMES)
    chance = random.Random(7)
    assert read([stream]) == FRAMES
    assert read([stream[at : at + 1] for at in range(len(stream))]) == FRAMES
    for _ in range(50):
        cuts = sorted(chance.randrange(len(stream)) for _ in range(6))
        pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)])]
        assert read(pieces) == FRAMES


@pytest.mark.parametrize(
    "bytes",
    [
        (LARGEST + 1).to_bytes(4, "little"),
        (1).to_bytes(4, "little") + b"\xc1",
        (1).to_bytes(4, "little") + b"\x01",
        (2).to_bytes(4, "little") + b"\x91\x01",
        (5).to_bytes(4, "little") + b"\x94\xa1x\x01\xc0\xc0",
    ],
    ids=["too large", "not msgpack", "no list", "too short", "kind is no number"],
)
async def test_what_is_no_frame_is_refused(bytes: bytes) -> None:
    with pytest.raises(BrokenFrame):
        read([bytes])


async def pair(**handlers: Any) -> tuple[Peer, Peer]:
    near, far = socket.socketpair()
    return await Peer.open(near), await Peer.open(far, **handlers)


async def test_requests_are_answered_in_any_order_and_with_errors() -> None:
    calls: dict[str, int] = {}

    def on_request(peer: Peer, call: int, method: str, body: Any) -> None:
        calls[method] = call
        if method == "second":
            peer.reply(call, "two")
            peer.reply(calls["first"], "one")
        elif method == "fenced":
            peer.fail(call, Fenced("gone"))
        elif method == "odd":
            peer.fail(call, ProtocolError("never heard of", "Odd"))

    near, _ = await pair(on_request=on_request)
    first = near.send("first", {})
    assert await near.ask("second", {}) == "two"
    assert await first == "one"
    with pytest.raises(Fenced, match="gone"):
        await near.ask("fenced", {})
    with pytest.raises(ProtocolError) as odd:
        await near.ask("odd", {})
    assert odd.value.type == "Odd"


async def test_who_takes_no_requests_says_so() -> None:
    near, _ = await pair()
    with pytest.raises(Unsupported):
        await near.ask("anything", {})


async def test_the_end_answers_what_was_asked() -> None:
    ended = asyncio.Event()
    near, far = await pair(on_request=lambda *_: None, on_end=ended.set)
    waiting = near.send("never", {})
    far._transport.abort()  # type: ignore[union-attr]
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await near.ask("later", {})
    await ended.wait()


async def test_what_cannot_be_sent_is_the_fault_of_its_caller() -> None:
    near, _ = await pair(on_request=lambda peer, call, *_: peer.reply(call, "fine"))
    with pytest.raises(TypeError):
        await near.ask("method", object())
    assert await near.ask("method", {}) == "fine"


async def test_a_broken_frame_ends_the_conversation() -> None:
    ended = asyncio.Event()
    near, far = socket.socketpair()
    await Peer.open(far, on_end=ended.set)
    near.send(b"\xff\xff\xff\xff")
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_cancelled_caller_takes_nothing_back() -> None:
    heard = asyncio.Event()
    near, _ = await pair(on_request=lambda *_: heard.set())
    asking = asyncio.create_task(near.ask("write", {}))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait_for(heard.wait(), 10)
