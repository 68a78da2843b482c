"""The process: what happens in which thread, from the start on."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import logging
import os
import platform
import socket
from typing import Any

from . import PROTOCOL, current, logs, parent, run, stopping
from .control import Control
from .errors import ProtocolError
from .executor import Executor
from .graphs import Graphs
from .peer import Peer
from .threads import TrackingPool

MAX_THREADS = 64

RUBBISH = 5000
"""After how many new objects the garbage collector looks for cycles, where the project leaves that to Python.

A run makes a few thousand objects, so its 700 would mean several looks at each run.
"""

_USUAL_THRESHOLD = gc.get_threshold()
"""Read before any code of the project is executed."""

_REPORTED = ("langgraph", "langgraph-checkpoint", "langchain-core", "langchain", "langgraph-prebuilt")


def main() -> None:
    """Serves the worker until a socket ends. Does not return.

    The main thread executes graphs: so signals reach user code where users expect them, and one can break a
    run that blocks. `__main__` has seen to the process's lines and its tie to the worker before.
    """
    control_socket = parent.take_socket(parent.CONTROL)
    data_socket = parent.take_socket(parent.DATA)
    stopping.install_signal()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    parent.end_when_asked(loop)
    parent.leave_forks_out(loop, control_socket, data_socket)
    control = Control(control_socket, loop)
    control.start()
    call, hello = _hello(control)
    graphs = Graphs()
    graphs.load(hello)
    logs.capture_logging()
    serving = loop.create_task(_serve(control, data_socket, call, hello, graphs))
    serving.add_done_callback(_broke)
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            # `sys.exit` in a node is the end of its run: asyncio leaves the loop, so go back into it.
            continue


def _broke(serving: asyncio.Task[None]) -> None:
    logging.getLogger("runloom").critical("the executor cannot serve", exc_info=serving.exception())
    parent.end()


def _hello(control: Control) -> tuple[int, dict[str, Any]]:
    while True:
        call, hello = control.hellos.get()
        if hello.get("protocol") == PROTOCOL:
            return call, hello
        message = f"protocol {hello.get('protocol')} is not spoken here, only {PROTOCOL}"
        control.fail(call, ProtocolError(message, "Protocol"))


async def _serve(
    control: Control,
    data_socket: socket.socket,
    call: int,
    hello: dict[str, Any],
    graphs: Graphs,
) -> None:
    loop = asyncio.get_running_loop()
    settings = hello.get("settings") or {}
    pool = TrackingPool(settings.get("max_threads") or MAX_THREADS)
    loop.set_default_executor(pool)
    current.note_tasks(loop)
    data = await Peer.open(data_socket, on_end=parent.end)
    await graphs.examine_factories()
    _settle_down()
    control.take_runs(Executor(graphs, data, pool, settings.get("store", True), control), pool)
    control.reply(call, _manifest(graphs))
    if silence := settings.get("silence_s"):
        control.end_in_silence(silence)
    await asyncio.get_running_loop().create_future()


def _settle_down() -> None:
    """Spares the garbage collector what was loaded: modules and graphs stay as long as the process."""
    gc.collect()
    gc.freeze()
    if gc.get_threshold() == _USUAL_THRESHOLD:
        gc.set_threshold(RUBBISH, *_USUAL_THRESHOLD[1:])


def _manifest(graphs: Graphs) -> dict[str, Any]:
    features = {"drain": run.HAS_DRAIN, "context": run.HAS_CONTEXT, "durability": run.HAS_DURABILITY}
    return {
        "protocol": PROTOCOL,
        "language": "python",
        "pid": os.getpid(),
        "versions": {"python": platform.python_version(), **_versions()},
        "features": [name for name, known in features.items() if known],
        "graphs": [facts.manifest() for facts in graphs.all()],
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in _REPORTED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
