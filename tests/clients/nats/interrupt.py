"""Interrupts a run by creating another one on its thread."""

import asyncio
import os

import nats
from create_and_wait import call


async def main() -> None:
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    thread = await call(nc, "threads.create", {})

    async def create(text: str) -> dict:
        create = {
            "thread_id": thread["thread_id"],
            "assistant_id": os.environ.get("GRAPH", "agent"),
            "input": {"messages": [{"role": "user", "content": text}]},
            "multitask_strategy": "interrupt",
        }
        return await call(nc, "runs.create", create)

    first = await create("Tell me a long story")
    second = await create("No, a short one")
    await call(nc, "runs.wait", {"run_id": second["run_id"], "timeout": 60}, timeout=65)
    for run in (first, second):
        run = await call(nc, "runs.get", {"run_id": run["run_id"]})
        print(run["run_id"], run["status"])
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main())
