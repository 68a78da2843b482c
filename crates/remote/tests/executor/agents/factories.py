"""A factory that never ends when a state is read, until somebody has given up on it."""

from __future__ import annotations

import asyncio
from typing import Any

from graphs import steps

called_off = asyncio.Event()


async def hanging(config: dict[str, Any]) -> Any:
    if "thread_id" not in config["configurable"]:
        return steps
    if called_off.is_set():
        raise ValueError("called off before")
    try:
        await asyncio.Event().wait()
    finally:
        called_off.set()
