"""Follows the events of a run: those that are kept, then those that come, none twice."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

import nats
from nats.js.errors import NotFoundError

PREFIX = os.environ.get("RUNLOOM_NATS_PREFIX", "runloom")
SHARDS = 16


def shard(run: str) -> int:
    """FNV-1a with 32 bits of the run's id."""
    value = 0x811C9DC5
    for byte in run.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value % SHARDS


def place(event_id: str) -> tuple[int, ...]:
    """Ids are ordered by both their numbers."""
    return tuple(int(part) for part in event_id.split("-"))


class Frames:
    """Joins frames that were too large for one message."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[int, bytes]] = {}

    def take(self, headers: dict | None, data: bytes) -> dict | None:
        if part := (headers or {}).get("Runloom-Part"):
            frame, number, count = part.split("/")
            parts = self.parts.setdefault(frame, {})
            parts[int(number)] = data
            if len(parts) < int(count):
                return None
            data = b"".join(parts[number] for number in range(int(count)))
            del self.parts[frame]
        return json.loads(data)


async def frames(nc, thread: str, run: str) -> AsyncIterator[dict]:
    """What is kept of a run, and then what comes. The end of one and the start of the other may overlap."""
    js, number, join = nc.jetstream(), shard(run), Frames()
    subject = f"{PREFIX}.c0.ev.{number}.{thread}.{run}"
    stream = f"{PREFIX.upper().replace('.', '_')}_EV_c0_{number}"
    live = await nc.subscribe(subject)  # first, so that nothing is missed between the two
    await nc.flush()
    sequence = 1
    while True:
        try:
            kept = await js.get_msg(stream, sequence, subject=subject, direct=True, next=True)
        except NotFoundError:
            break
        sequence = kept.seq + 1
        if frame := join.take(kept.headers, kept.data):
            yield frame
    async for message in live.messages:
        if frame := join.take(message.headers, message.data):
            yield frame


async def follow(nc, thread: str, run: str, after: str = "0-0") -> AsyncIterator[dict]:
    """The events after `after`, until the run is over."""
    last, epoch = place(after), 0
    async for frame in frames(nc, thread, run):
        if frame.get("end"):
            return
        if frame["epoch"] < epoch:
            continue  # of an attempt that was taken over
        epoch = frame["epoch"]
        for event in frame["events"]:
            if place(event["id"]) > last:
                last = place(event["id"])
                yield event


async def main(thread: str, run: str, after: str = "0-0") -> None:
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    async for event in follow(nc, thread, run, after):
        print(event["id"], event["event"], json.dumps(event["data"]), flush=True)
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
