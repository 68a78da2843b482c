"""The functional API: an entrypoint and its tasks."""

from __future__ import annotations

from typing import Any

from langgraph.func import entrypoint, task


@task
async def double(number: int) -> int:
    return number * 2


@entrypoint()
async def chain(numbers: dict[str, Any], *, previous: Any = None) -> dict[str, Any]:
    """Doubles each number; says what it said before."""
    futures = [double(number) for number in numbers["numbers"]]
    return {"doubled": [await future for future in futures], "previous": previous}
