"""An agent that calls tools: the ready-made one of LangChain."""

from __future__ import annotations

import asyncio

from langchain_core.tools import tool

from agents.model import ScriptedModel

try:
    from langchain.agents import create_agent
except ImportError:
    # Before LangChain 1.0 the same agent came with LangGraph.
    from langgraph.prebuilt import create_react_agent as create_agent


@tool
async def weather(query: str, seconds: float = 0) -> str:
    """The weather in a city."""
    await asyncio.sleep(seconds)
    return "sunny, 24 degrees"


@tool
async def search(query: str, seconds: float = 0) -> str:
    """What the web says about something."""
    await asyncio.sleep(seconds)
    return "three pages were found"


graph = create_agent(ScriptedModel(), [weather, search])
