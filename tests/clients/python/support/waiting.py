"""Waiting in code that knows no event loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T | None], seconds: float) -> T:
    """Polls until the probe gives something true."""
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < end, f"gave up after {seconds} s"
        time.sleep(0.05)
