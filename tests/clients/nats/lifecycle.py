"""Reacts to what happens to runs; goes on where it was after a break."""

import asyncio
import json
import os

import nats
from nats.errors import TimeoutError

PREFIX = os.environ.get("RUNLOOM_NATS_PREFIX", "runloom")
STREAM = PREFIX.upper().replace(".", "_") + "_RUN_c0"


async def main() -> None:
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    js = nc.jetstream()
    # `>` is everything; `….run.error.>` would be failures only.
    listener = await js.pull_subscribe(f"{PREFIX}.c0.run.>", durable="example", stream=STREAM)
    newest: dict[str, int] = {}
    while True:
        try:
            messages = await listener.fetch(100, timeout=5)
        except TimeoutError:
            continue
        for message in messages:
            event = json.loads(message.data)
            # Delivered at least once, along a thread in the order of ids: repetitions are left out.
            if event["id"] > newest.get(event["thread_id"], 0):
                newest[event["thread_id"]] = event["id"]
                print(event["id"], event["run_id"], event["status"], flush=True)
            await message.ack()


if __name__ == "__main__":
    asyncio.run(main())
