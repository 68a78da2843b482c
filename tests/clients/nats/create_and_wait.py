"""Creates a run over NATS and waits for its output."""

import asyncio
import json
import os

import nats

API = os.environ.get("RUNLOOM_NATS_PREFIX", "runloom") + ".c0.api"


async def call(nc, operation: str, fields: dict, timeout: float = 5):
    """Calls an operation of the service `runloom`."""
    reply = await nc.request(f"{API}.{operation}", json.dumps(fields).encode(), timeout=timeout)
    if code := (reply.headers or {}).get("Nats-Service-Error-Code"):
        raise RuntimeError(f"{code}: {json.loads(reply.data)['detail']}")
    return json.loads(reply.data) if reply.data else None


async def main() -> None:
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    thread = await call(nc, "threads.create", {})
    create = {
        "thread_id": thread["thread_id"],
        "assistant_id": os.environ.get("GRAPH", "agent"),
        "input": {"messages": [{"role": "user", "content": "Hello"}]},
    }
    run = await call(nc, "runs.create", create)
    # We wait a little longer than the server, which answers 504 when its time is up.
    output = await call(nc, "runs.wait", {"run_id": run["run_id"], "timeout": 60}, timeout=65)
    print(output["messages"][-1]["content"])
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main())
