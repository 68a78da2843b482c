"""The tie to the worker: the sockets that it handed over, and dying when it does."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
import signal
import socket
from typing import Any

CONTROL = "RUNLOOM_CONTROL_FD"
DATA = "RUNLOOM_DATA_FD"

_PR_SET_PDEATHSIG = 1


def take_socket(variable: str) -> socket.socket:
    """The socket whose number this environment variable carries. Raises `SystemExit` if there is none.

    The variable is removed and the socket is not inherited any further: children of user code have no part
    in the conversation, and do not keep it open.
    """
    number = os.environ.pop(variable, None)
    if number is None:
        raise SystemExit(f"{variable} is not set: the executor is started by a Runloom worker")
    try:
        fd = int(number)
        os.set_inheritable(fd, False)
        return socket.socket(fileno=fd)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{variable}={number} is not a socket: {error}") from None


def die_with_parent() -> None:
    """Asks the system to kill this process when its worker dies, where the system can."""
    parent = os.getppid()
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:
        # It died just before; the signal would never come.
        end()


def leave_forks_out(loop: asyncio.AbstractEventLoop, *sockets: socket.socket) -> None:
    """Keeps children that user code forks out of the conversation: they would take replies that are not
    theirs. One that comes back to the loop, instead of ending by itself, ends there."""
    numbers = [sock.fileno() for sock in sockets]

    def in_child() -> None:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in numbers:
            os.dup2(nothing, number, inheritable=False)
        os.close(nothing)
        loop.call_soon(os._exit, 1)

    os.register_at_fork(after_in_child=in_child)


def end_when_asked(loop: asyncio.AbstractEventLoop) -> None:
    """Lets SIGTERM end this process as a program that came to its end: what was registered with `atexit` is
    executed, threads are not waited for. The worker asks for it when it does not need the process any more.

    To be called in the main thread, which executes `loop`.
    """
    mine = os.getpid()

    def asked(number: int, _frame: Any) -> None:
        if os.getpid() == mine:
            loop.call_soon_threadsafe(leave)
        else:
            # A child that user code forked, which inherited this.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    # Not asyncio's own way, which takes signals of forked children for its own.
    signal.signal(signal.SIGTERM, asked)


def leave() -> None:
    """Executes what was registered with `atexit`, then ends. Does not return."""
    try:
        atexit._run_exitfuncs()
    finally:
        end()


def end() -> None:
    """Ends this process and everything that it started. Does not return."""
    if os.getpgrp() == os.getpid():
        # The group was made for this process, so it holds nothing but what user code started.
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
