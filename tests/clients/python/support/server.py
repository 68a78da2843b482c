"""Servers under test: one we start ourselves, or some that already run."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

ROOT = Path(__file__).resolve().parents[4]
URL = re.compile(r"http://127\.0\.0\.1:\d+")
START_SECONDS = 60
STOP_SECONDS = 20


def served() -> list[str]:
    """The flags that say which graphs a server of ours serves."""
    project = os.environ.get("RUNLOOM_TEST_CONFIG")
    return ["--config", str(ROOT / project)] if project else ["--test-graphs"]


def environment() -> dict[str, str]:
    """What a server of ours sees of the environment: graphs in Python find their interpreter."""
    seen = {key: text for key, text in os.environ.items() if not key.startswith("OPENAI_")}
    python = Path(os.environ.get("RUNLOOM_TEST_PYTHON", sys.executable))
    return {**seen, "VIRTUAL_ENV": str(python.parents[1])}


def binary() -> Path | None:
    """The runloom binary to test, or None when there is none."""
    named = os.environ.get("RUNLOOM_BIN")
    if named:
        path = Path(named)
        return path if path.is_absolute() else ROOT / path
    built = (ROOT / "target" / kind / "runloom" for kind in ("release", "debug"))
    return next((path for path in built if path.exists()), None)


def named_urls() -> list[str]:
    """Running servers given by the caller."""
    urls = os.environ.get("RUNLOOM_URLS", "").split(",")
    return [url.strip().rstrip("/") for url in urls if url.strip()]


def free_port() -> int:
    """A port that was free a moment ago; for servers that must come back on the same one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class _InTurn:
    """Sends each request to the next of several servers."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [httpx.URL(url) for url in urls]
        self._next = 0

    def redirect(self, request: httpx.Request) -> None:
        url = self._urls[self._next % len(self._urls)]
        self._next += 1
        request.url = request.url.copy_with(scheme=url.scheme, host=url.host, port=url.port)
        request.headers["host"] = request.url.netloc.decode()


class AsyncInTurn(httpx.AsyncBaseTransport):
    """Async transport over several servers."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._turn = _InTurn(urls)
        self._inner = httpx.AsyncHTTPTransport(retries=2)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._turn.redirect(request)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class SyncInTurn(httpx.BaseTransport):
    """Blocking transport over several servers."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._turn = _InTurn(urls)
        self._inner = httpx.HTTPTransport(retries=2)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._turn.redirect(request)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


@dataclass
class Server:
    """Where the tests send their requests; clients come from here only."""

    urls: list[str]

    @property
    def url(self) -> str:
        return self.urls[0]

    def client(self) -> LangGraphClient:
        """The published client; over several servers only its transport is ours."""
        client = get_client(url=self.url, api_key=None)
        if len(self.urls) > 1:
            client.http.client._transport = AsyncInTurn(self.urls)
        return client

    def sync_client(self) -> SyncLangGraphClient:
        client = get_sync_client(url=self.url, api_key=None)
        if len(self.urls) > 1:
            client.http.client._transport = SyncInTurn(self.urls)
        return client

    def http(self) -> httpx.AsyncClient:
        """Raw HTTP, for what the published clients hide."""
        return httpx.AsyncClient(
            base_url=self.url, transport=AsyncInTurn(self.urls), timeout=httpx.Timeout(60)
        )


@dataclass
class ServerProcess:
    """A `runloom dev` of our own, which may be killed and started again on the same data."""

    data: Path | None
    flags: Sequence[str] = ()
    graphs: Sequence[str] = field(default_factory=served)
    port: int = 0
    log: Path | None = None
    process: subprocess.Popen[str] | None = field(default=None, init=False)
    url: str = field(default="", init=False)
    lines: list[str] = field(default_factory=list, init=False)

    def start(self) -> ServerProcess:
        path = binary()
        if path is None:
            raise RuntimeError("no runloom binary: build it, or set RUNLOOM_BIN or RUNLOOM_URLS")
        where = ["--memory"] if self.data is None else ["--data", str(self.data)]
        command = [str(path), "dev", *self.graphs, "--host", "127.0.0.1", "--port"]
        errors = self.log.open("a") if self.log else subprocess.DEVNULL
        self.process = subprocess.Popen(
            [*command, str(self.port), *where, *self.flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(),
        )
        ready = threading.Event()
        threading.Thread(target=self._read, args=(self.process, ready), daemon=True).start()
        ready.wait(START_SECONDS)
        if not self.url:
            self.kill()
            raise RuntimeError("the server printed no URL:\n" + "".join(self.lines))
        # A restart must come back where its clients look for it.
        self.port = int(self.url.rsplit(":", 1)[1])
        httpx.get(f"{self.url}/ok", timeout=START_SECONDS).raise_for_status()
        return self

    def _read(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)
            found = URL.search(line)
            if found and not ready.is_set():
                self.url = found.group()
                ready.set()
        ready.set()

    @property
    def server(self) -> Server:
        return Server([self.url])

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """kill -9: no goodbye, nothing flushed."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(STOP_SECONDS)

    def interrupt(self) -> int:
        """Ctrl-C; the exit code after the drain."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
