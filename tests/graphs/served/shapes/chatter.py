"""A graph that prints and logs, much of it, and nothing of which may disturb the server."""

from __future__ import annotations

import logging
import os
import sys

from langchain_core.runnables import RunnableConfig
from twins.common import State, chain, says

log = logging.getLogger("chatter")


async def talk(state: State, config: RunnableConfig) -> dict:
    print("printed by a node")
    print("complained of by a node", file=sys.stderr)
    log.warning("logged by a node")
    os.write(1, b"written to the descriptor\n")
    for _ in range(state.get("count", 0)):
        print("x" * 1023)
    return says("said")


graph = chain(talk=talk)
