"""The processes below a server, looked at from outside."""

from __future__ import annotations

import psutil


def executors(server: int) -> list[psutil.Process]:
    """The processes that hold a server's Python graphs; one of them may be a spare."""
    return [
        process
        for process in psutil.Process(server).children()
        if process.status() != psutil.STATUS_ZOMBIE and "python" in process.name()
    ]


def everything_below(server: int) -> list[psutil.Process]:
    """A server's children, theirs, and so on."""
    return psutil.Process(server).children(recursive=True)


def alive(process: psutil.Process) -> bool:
    """Whether it still executes anything."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
