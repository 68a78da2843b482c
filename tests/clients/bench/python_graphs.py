"""What it costs to run a Python graph on Runloom, beside the same graph in a process of its own.

Everything is measured in this session, by turns, with one client: `make python-bench`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "python"), str(HERE.parent / "python" / "graphs")]
os.environ.setdefault("RUNLOOM_TEST_CONFIG", "tests/graphs/served/langgraph.json")

import httpx  # noqa: E402
from in_process import load  # noqa: E402
from support.server import ServerProcess  # noqa: E402
from support.talk import human  # noqa: E402

RUNS = int(os.environ.get("BENCH_RUNS", "300"))
STREAMS = int(os.environ.get("BENCH_STREAMS", "5"))
TOKENS = 2000
STOPS = int(os.environ.get("BENCH_STOPS", "60"))
AS_FAST_AS_POSSIBLE = 1e9
WARM = 10


class Served:
    """Graphs behind a server, asked over one connection without a client library's own work."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=60)

    async def thread(self) -> str:
        return (await self.http.post("/threads", json={})).raise_for_status().json()["thread_id"]

    async def invoke(self, graph: str, state: Any) -> float:
        path, body = f"/threads/{await self.thread()}/runs/wait", {"assistant_id": graph}
        began = time.perf_counter()
        (await self.http.post(path, json={**body, "input": state})).raise_for_status()
        return time.perf_counter() - began

    async def stream(self, graph: str, state: Any) -> tuple[int, float]:
        """Tokens heard, and the time from the first to the last."""
        body = {"assistant_id": graph, "input": state, "stream_mode": ["messages-tuple"]}
        path, count, first, rest = f"/threads/{await self.thread()}/runs/stream", 0, 0.0, b""
        async with self.http.stream("POST", path, json=body) as answer:
            async for data in answer.aiter_raw():
                *lines, rest = (rest + data).split(b"\n")
                count += sum(line.startswith(b"event: messages") for line in lines)
                first = first or (time.perf_counter() if count else 0)
        return count, time.perf_counter() - first

    async def stop(self, graph: str, state: Any) -> float:
        """From the request to stop a run that talks to the answer that it has stopped."""
        thread = await self.thread()
        body = {"assistant_id": graph, "input": state, "stream_mode": ["messages-tuple"]}
        path = f"/threads/{thread}/runs"
        async with self.http.stream("POST", f"{path}/stream", json=body) as answer:
            run = answer.headers["content-location"].rsplit("/", 1)[1]
            heard = b""
            async for data in answer.aiter_raw():
                heard += data
                if heard.count(b"event: messages") >= 3:
                    break
            began = time.perf_counter()
            stopped = await self.http.post(f"{path}/{run}/cancel", params={"wait": "1"})
            took = time.perf_counter() - began
        stopped.raise_for_status()
        return took


class Direct:
    """The same graphs in this process, with LangGraph's checkpointer in memory."""

    def __init__(self) -> None:
        self.graphs: dict[str, Any] = {}

    def graph(self, name: str) -> Any:
        if name not in self.graphs:
            self.graphs[name] = load(name)
        return self.graphs[name]

    def config(self) -> Any:
        return {"configurable": {"thread_id": str(uuid.uuid4())}}

    async def invoke(self, graph: str, state: Any) -> float:
        loaded, config = self.graph(graph), self.config()
        began = time.perf_counter()
        await loaded.ainvoke(state, config)
        return time.perf_counter() - began

    async def stream(self, graph: str, state: Any) -> tuple[int, float]:
        count, first = 0, 0.0
        async for _ in self.graph(graph).astream(state, self.config(), stream_mode="messages"):
            count += 1
            first = first or time.perf_counter()
        return count, time.perf_counter() - first

    async def stop(self, graph: str, state: Any) -> float:
        heard = asyncio.Event()

        async def listen() -> None:
            stream = self.graph(graph).astream(state, self.config(), stream_mode="messages")
            async for _ in stream:
                heard.set()

        task = asyncio.create_task(listen())
        await heard.wait()
        began = time.perf_counter()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return time.perf_counter() - began


def quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p95 = ordered[int(len(ordered) * 0.95) - 1]
    return f"{statistics.median(ordered) * 1000:8.2f} {p95 * 1000:8.2f}"


async def compare(python: str, rust: str) -> None:
    """Measures all three by turns, so that what else the machine does meets them alike."""
    sides = {
        "direct": Direct(),
        "Rust graph, served": Served(rust),
        "Python graph, served": Served(python),
    }
    small, long = human("a"), human("a", count=TOKENS, rate=AS_FAST_AS_POSSIBLE)
    talking = human("a", count=100_000, rate=100)
    runs: dict[str, list[float]] = {name: [] for name in sides}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    stops: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(RUNS + WARM):
        for name, side in sides.items():
            took = await side.invoke("echo", small)
            if number >= WARM:
                runs[name].append(took)
    for _ in range(STREAMS):
        for name, side in sides.items():
            count, took = await side.stream("tokens", long)
            assert count >= TOKENS, f"{name}: {count} tokens"
            rates[name].append(count / took)
    for _ in range(STOPS):
        for name, side in sides.items():
            stops[name].append(await side.stop("tokens", talking))

    print(f"\n{'ms':32}{'p50':>8} {'p95':>8}")
    for name in sides:
        print(f"one run     {name:20}{quantiles(runs[name])}")
    for name in sides:
        print(f"one stop    {name:20}{quantiles(stops[name])}")
    print(f"\ntokens a second, {TOKENS} in one answer (best of {STREAMS})")
    for name in sides:
        print(f"            {name:20}{max(rates[name]):8.0f}")
    over = statistics.median(runs["Python graph, served"]) - statistics.median(runs["direct"])
    rust_over = statistics.median(runs["Rust graph, served"])
    print(
        f"\na served Python run takes {over * 1000:.2f} ms more than graph.ainvoke; "
        f"a served Rust run {rust_over * 1000:.2f} ms in all"
    )


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="runloom-bench-") as scratch:
        servers = [
            ServerProcess(data=None, log=Path(scratch) / "python.log"),
            ServerProcess(data=None, log=Path(scratch) / "rust.log", graphs=["--test-graphs"]),
        ]
        try:
            python, rust = (server.start().url for server in servers)
            await compare(python, rust)
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    asyncio.run(main())
