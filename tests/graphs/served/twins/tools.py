"""A graph that calls a tool without any model, waits, answers, ends."""

from __future__ import annotations

import asyncio
import uuid

from langchain_core.messages import AIMessage, ToolMessage

from twins.common import State, asked, chain, says


async def _model(state: State) -> dict:
    call = {"name": "lookup", "args": {"query": asked(state)}, "id": str(uuid.uuid4())}
    return {"messages": [AIMessage("", tool_calls=[call])]}


async def _tools(state: State) -> dict:
    await asyncio.sleep(state.get("delay", 0.5))
    call = state["messages"][-1].tool_calls[0]
    return {"messages": [ToolMessage("found", name="lookup", tool_call_id=call["id"])]}


async def _final(state: State) -> dict:
    return says("done")


tool_wait = chain(model=_model, tools=_tools, final=_final)
