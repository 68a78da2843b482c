"""A worker for tests: starts a real executor process and speaks with it, its storage in memory."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator
from uuid import uuid4

import orjson
from shelf import Shelf

from runloom_executor.errors import Fenced, ProtocolError
from runloom_executor.peer import Peer

PACKAGE = Path(__file__).resolve().parent.parent
PROJECT = Path(__file__).resolve().parent / "fixtures"

Fault = Callable[["Attempt | None", str, dict[str, Any]], Awaitable[None]]
"""Called before each request on the data socket is answered: may wait, and may raise a `ProtocolError`."""


class Attempt:
    """One `run` request under way."""

    def __init__(self, worker: Worker, body: dict[str, Any]) -> None:
        self.worker = worker
        self.body = body
        self.call = 0
        self.run_id: str = body["run_id"]
        self.thread_id: str = body["thread_id"]
        self.events: list[list[Any]] = []
        self.frames: list[int] = []
        """How many events came with each frame."""
        self.stuck = asyncio.Event()
        self.over = False
        self.gives_credit = True
        self.credit_owed = 0
        self._changed = asyncio.Event()
        self.answer: asyncio.Future[dict[str, Any]]

    def said(self, name: str) -> list[Any]:
        """The payloads of the events of this name."""
        return [orjson.loads(event[2]) for event in self.events if event[0] == name]

    async def until(self, name: str, payload: Any = None) -> Any:
        """Waits for an event of this name, and this payload if one is given; returns its payload."""
        while True:
            self._changed.clear()
            for said in self.said(name):
                if payload is None or said == payload:
                    return said
            if self.answer.done():
                raise AssertionError(f"no {name} {payload} before the end: {self.answer.result()}")
            await asyncio.wait(
                [asyncio.ensure_future(self._changed.wait()), self.answer], return_when="FIRST_COMPLETED"
            )

    def stop(self, kind: str = "interrupt", grace_ms: int = 5000) -> None:
        self.worker.control.item(self.call, "stop", {"kind": kind, "grace_ms": grace_ms})

    async def end(self) -> dict[str, Any]:
        """The answer, with its JSON read."""
        answer = dict(await self.answer)
        if answer.get("head"):
            head = answer["head"]
            answer["head"] = {
                **head,
                "values": orjson.loads(head["values"]),
                "interrupts": orjson.loads(head["interrupts"]),
            }
        return answer

    def give_credit(self) -> None:
        owed, self.credit_owed = self.credit_owed, 0
        if owed:
            self.worker.control.item(self.call, "credit", owed)

    def _take(self, name: str, body: Any) -> None:
        if name == "stuck":
            self.stuck.set()
        if name == "events":
            self.frames.append(len(body))
            self.events += body
            self.credit_owed += sum(len(event[2]) for event in body)
            if self.gives_credit:
                self.give_credit()
        self._changed.set()


class Worker:
    """An executor process, and what a worker keeps for it."""

    def __init__(self) -> None:
        self.protocol = 1
        self.shelf = Shelf()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fault: Fault | None = None
        self.late: list[str] = []
        """Requests on the data socket for calls that were answered already."""
        self.lines: list[dict[str, Any]] = []
        """What was printed and logged."""
        self.raw: list[str] = []
        """Lines on stderr that are no log lines."""
        self.control: Peer
        self.data: Peer
        self.process: asyncio.subprocess.Process
        self.manifest: dict[str, Any]
        self._by_call: dict[int, Attempt | None] = {}
        self._threads: dict[int, str] = {}
        self._line = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(
        self,
        graphs: dict[str, Any],
        root: Path = PROJECT,
        dependencies: list[str] | None = None,
        **settings: Any,
    ) -> None:
        near_control, far_control = socket.socketpair()
        near_data, far_data = socket.socketpair()
        environment = {
            **os.environ,
            "PYTHONPATH": str(PACKAGE),
            "RUNLOOM_CONTROL_FD": str(far_control.fileno()),
            "RUNLOOM_DATA_FD": str(far_data.fileno()),
        }
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "runloom_executor"),
            pass_fds=(far_control.fileno(), far_data.fileno()),
            env=environment,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        far_control.close()
        far_data.close()
        self._keep(self._read_lines())
        self.control = await Peer.open(near_control, on_item=self._on_item)
        self.data = await Peer.open(near_data, on_request=self._on_request)
        named = {id: graph if isinstance(graph, dict) else {"path": graph} for id, graph in graphs.items()}
        self.manifest = await self.control.ask(
            "hello",
            {
                "protocol": self.protocol,
                "graphs": named,
                "root": str(root),
                "dependencies": ["."] if dependencies is None else dependencies,
                "settings": {"max_threads": 16, "store": True, **settings},
            },
        )

    def graph(self, id: str) -> dict[str, Any]:
        """A graph of the manifest."""
        return next(graph for graph in self.manifest["graphs"] if graph["id"] == id)

    def run(
        self,
        graph_id: str,
        input: Any = None,
        *,
        credit: int = 1 << 20,
        gives_credit: bool = True,
        **body: Any,
    ) -> Attempt:
        """Starts an attempt. Without an input it is a resume."""
        for name in ("input", "command", "config", "context", "metadata"):
            if name in body and body[name] is not None:
                body[name] = orjson.dumps(body[name])
        if input is not None:
            body["input"] = orjson.dumps(input)
        body = {
            "run_id": str(uuid4()),
            "thread_id": str(uuid4()),
            "assistant_id": str(uuid4()),
            "graph_id": graph_id,
            "attempt": 1,
            "work": "run",
            "config": b"{}",
            "metadata": b"{}",
            "stream_modes": ["values", "custom"],
            "subgraphs": False,
            "durability": "async",
            "credit": credit,
            **body,
        }
        attempt = Attempt(self, body)
        attempt.gives_credit = gives_credit
        attempt.call = self.control._next_call
        self._by_call[attempt.call] = attempt
        self._threads[attempt.call] = attempt.thread_id
        attempt.answer = self.control.send("run", body)
        attempt.answer.add_done_callback(lambda _: self._over(attempt))
        return attempt

    async def ask(self, method: str, **body: Any) -> Any:
        """Asks a question about a thread or a graph."""
        call = self.control._next_call
        self._by_call[call] = None
        self._threads[call] = body.get("thread_id", "")
        return await self.control.ask(method, body)

    async def state(self, attempt: Attempt) -> dict[str, Any]:
        """The state of an attempt's thread."""
        answer = await self.ask(
            "state", graph_id=attempt.body["graph_id"], thread_id=attempt.thread_id, ns="", subgraphs=False
        )
        return orjson.loads(answer) if answer is not None else {}

    async def line(self, message: str, run_id: str | None = None) -> dict[str, Any]:
        """Waits until this was printed or logged, by this run if one is given."""
        async with asyncio.timeout(20):
            while True:
                self._line.clear()
                for line in self.lines:
                    if line["message"] == message and run_id in (None, line["run_id"]):
                        return line
                await self._line.wait()

    async def close(self) -> None:
        """Closes the sockets and waits for the process to end."""
        for peer in (self.control, self.data):
            if peer._transport is not None:
                peer._transport.close()
        await asyncio.wait_for(self.process.wait(), 20)
        for task in self._tasks:
            task.cancel()

    def _over(self, attempt: Attempt) -> None:
        attempt.over = True
        attempt._changed.set()

    def _on_item(self, call: int, name: str, body: Any) -> None:
        attempt = self._by_call.get(call)
        if attempt is not None:
            attempt._take(name, body)

    def _on_request(self, peer: Peer, call: int, method: str, body: dict[str, Any]) -> None:
        self._keep(self._serve(peer, call, method, body))

    async def _serve(self, peer: Peer, call: int, method: str, body: dict[str, Any]) -> None:
        self.asked.append((method, body))
        attempt = self._by_call.get(body["call"])
        try:
            if attempt is not None and attempt.over:
                self.late.append(method)
                raise Fenced("the attempt is over")
            if self.fault is not None:
                await self.fault(attempt, method, body)
            run_id = attempt.run_id if attempt is not None else None
            peer.reply(call, self.shelf.answer(self._threads[body["call"]], run_id, method, body))
        except ProtocolError as error:
            peer.fail(call, error)

    async def _read_lines(self) -> None:
        stream = self.process.stderr
        assert stream is not None
        begun = b""
        while piece := await stream.read(1 << 16):
            *lines, begun = (begun + piece).split(b"\n")
            for line in lines:
                try:
                    self.lines.append(orjson.loads(line)["runloom"])
                except (ValueError, KeyError, TypeError):
                    self.raw.append(line.decode("utf-8", "replace"))
            self._line.set()
        if self.raw:
            print("stderr of the executor:", *self.raw, sep="\n  ")

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def working(graphs: dict[str, Any], **options: Any) -> AsyncIterator[Worker]:
    """A worker whose executor has said hello; its process is gone at the end."""
    worker = Worker()
    try:
        await worker.start(graphs, **options)
        yield worker
    finally:
        await worker.close()
        if worker.process.returncode is None:
            worker.process.kill()
