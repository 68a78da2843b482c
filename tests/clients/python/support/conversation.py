"""The rules of a strict provider, on messages as they stand in a thread's state."""

from __future__ import annotations

from typing import Any

from support.overheard import text_of


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    """The types of messages, of tools' answers also how they ended: `tool`, `tool error`."""
    return [
        "tool error" if message.get("status") == "error" else message["type"]
        for message in messages
    ]


def violations(messages: list[dict[str, Any]]) -> list[str]:
    """What a provider would refuse, if a question were added."""
    found = []
    open_calls: set[str] = set()
    seen: set[str] = set()
    before = None
    for place, message in enumerate(messages):
        kind = message["type"]
        if message["id"] in seen:
            found.append(f"{place}: the id {message['id']} twice")
        seen.add(message["id"])
        if kind == "tool":
            if message["tool_call_id"] not in open_calls:
                found.append(f"{place}: a result that nobody asked for")
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            found.append(f"{place}: calls without a result before it")
            open_calls = set()
        if kind == "ai":
            calls = message.get("tool_calls") or []
            if before == "ai":
                found.append(f"{place}: two answers in a row")
            if message.get("invalid_tool_calls"):
                found.append(f"{place}: half a tool call")
            if not calls and not text_of(message).strip():
                found.append(f"{place}: says nothing")
            open_calls = {call["id"] for call in calls}
        before = kind
    if messages and messages[0]["type"] != "human":
        found.append("0: not the user's")
    if open_calls:
        found.append("calls without a result at the end")
    return found
