"""What user code prints and logs, as lines that the worker can attribute.

Each line becomes one JSON line `{"runloom": {"level", "logger", "run_id", "thread_id", "trace_id",
"message"}}` on the process's real
stderr. What is written past Python, by C libraries and children, stays as it is.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from typing import Any

import orjson

from . import current
from .current import CurrentRun

LONGEST = 64 * 1024
"""What is longer than this, in characters, is delivered in pieces: the worker takes no line of any length."""

_write = threading.Lock()
_captured: list[_Lines] = []


class _Lines(io.RawIOBase):
    """A binary stream whose lines become log lines. Incomplete lines wait, those of each run for themselves."""

    def __init__(self, logger: str, level: str, fileno: int) -> None:
        super().__init__()
        self._logger = logger
        self._level = level
        self._fileno = fileno
        self._begun: dict[tuple[CurrentRun | None, int], bytes] = {}

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fileno

    def write(self, data: Any) -> int:
        data = bytes(data)
        owner = current.run.get()
        key = (owner, threading.get_ident())
        *lines, rest = (self._begun.pop(key, b"") + data).split(b"\n")
        for line in lines:
            self._emit(line.removesuffix(b"\r"), owner)
        if len(rest) > LONGEST:
            self._emit(rest, owner)
        elif rest:
            self._begun[key] = rest
        return len(data)

    def finish(self, run_id: str) -> None:
        """Delivers what a run left of an incomplete line."""
        for key in [key for key in list(self._begun) if key[0] is not None and key[0].run_id == run_id]:
            self._emit(self._begun.pop(key), key[0])

    def _emit(self, line: bytes, owner: CurrentRun | None) -> None:
        if line:
            emit(self._level, self._logger, owner, line.decode("utf-8", "replace"))


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            emit(record.levelname.lower(), record.name, current.run.get(), self.format(record))
        except Exception:  # as every handler does: an unprintable record stops nobody
            self.handleError(record)


def emit(level: str, logger: str, owner: CurrentRun | None, message: str) -> None:
    """Writes one record, a long message as several."""
    about: dict[str, Any] = {"level": level, "logger": logger, "run_id": None}
    if owner is not None:
        about |= {"run_id": owner.run_id, "thread_id": owner.thread_id, "trace_id": owner.trace_id}
    for at in range(0, max(len(message), 1), LONGEST):
        said = {**about, "message": message[at : at + LONGEST]}
        try:
            line = orjson.dumps({"runloom": said})
        except TypeError:  # half of a surrogate pair
            said["message"] = message[at : at + LONGEST].encode("utf-8", "replace").decode()
            line = orjson.dumps({"runloom": said})
        _write_line(line + b"\n")


def _write_line(line: bytes) -> None:
    with _write:
        while line:
            try:
                line = line[os.write(2, line) :]
            except OSError:  # nobody listens any more
                return


def capture_prints() -> None:
    """Takes over `sys.stdout` and `sys.stderr`."""
    for name, level, fileno in (("stdout", "info", 1), ("stderr", "error", 2)):
        lines = _Lines(name, level, fileno)
        _captured.append(lines)
        stream = io.TextIOWrapper(
            lines, encoding="utf-8", errors="backslashreplace", write_through=True  # type: ignore[arg-type]
        )
        setattr(sys, name, stream)
    # The package's own lines come whatever the project does with its logging.
    own = logging.getLogger("runloom")
    own.addHandler(_Handler())
    own.setLevel(logging.INFO)
    own.propagate = False


def finish(run_id: str) -> None:
    """Delivers the incomplete lines of a run that is over."""
    for lines in _captured:
        lines.finish(run_id)


def capture_logging() -> None:
    """Gives the root logger a handler, unless the project has given it one. Call after its code was loaded."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_Handler())
        if root.level == logging.WARNING:
            root.setLevel(logging.INFO)
