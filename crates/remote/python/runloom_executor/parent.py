"""The tie to the worker: the sockets that it handed over, and dying when it does."""

from __future__ import annotations

import ctypes
import os
import signal
import socket

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


def end() -> None:
    """Ends this process and everything that it started. Does not return."""
    if os.getpgrp() == os.getpid():
        # The group was made for this process, so it holds nothing but what user code started.
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
