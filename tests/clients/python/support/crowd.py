"""Many SSE clients at once, cheap enough to leave the machine to the server."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from support.sse import Frame, Parser


@dataclass
class Listener(asyncio.Protocol):
    """One connection: only notes which bytes came when, and parses them afterwards."""

    request: bytes
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.chunks.append((time.monotonic(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def events(self) -> list[tuple[float, Frame]]:
        """Every event with the time its last byte came."""
        parser, dechunk, head, done = Parser(), Dechunker(), b"", []
        in_body = False
        for at, data in self.chunks:
            if not in_body:
                head += data
                top, found, data = head.partition(b"\r\n\r\n")
                if not found:
                    continue
                assert b" 200 " in top.split(b"\r\n")[0], top
                in_body = True
            for frame in parser.feed(dechunk.feed(data)):
                if frame.fields and frame.event != "end":
                    done.append((at, frame))
        return done


class Dechunker:
    """HTTP/1.1 chunked transfer coding, bytes in, body out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        self._rest += data
        body = b""
        while True:
            size, found, tail = self._rest.partition(b"\r\n")
            if not found:
                return body
            length = int(size.split(b";")[0], 16)
            if len(tail) < length + 2:
                return body
            body += tail[:length]
            self._rest = tail[length + 2 :]


def get(host: str, path: str, **headers: str) -> bytes:
    """A GET request in bytes; the connection is not kept."""
    lines = [f"GET {path} HTTP/1.1", f"host: {host}", "accept: text/event-stream"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode()


def resident_mib(pid: int) -> float:
    """The most memory that a process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")
