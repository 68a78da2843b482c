"""What a provider of language models refuses: a conversation that breaks the rules of roles."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)


class BadRequest(Exception):
    """The provider's answer 400."""

    status_code = 400


def check_conversation(messages: Sequence[BaseMessage]) -> None:
    """Raises what a strict provider answers to a conversation that it would not take."""
    rest = [message for message in messages if not isinstance(message, SystemMessage)]
    if not rest or not isinstance(rest[0], HumanMessage):
        raise BadRequest("400: the first message must be the user's")
    if isinstance(rest[-1], AIMessage):
        raise BadRequest("400: the last message must not be the assistant's")
    unanswered: set[str] = set()
    before: BaseMessage | None = None
    for message in rest:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in unanswered:
                raise BadRequest(f"400: nobody asked for the result {message.tool_call_id}")
            unanswered.discard(message.tool_call_id)
        elif unanswered:
            raise BadRequest(f"400: tool calls without a result: {sorted(unanswered)}")
        elif isinstance(message, AIMessage):
            if isinstance(before, AIMessage):
                raise BadRequest("400: two messages of the assistant in a row")
            if message.invalid_tool_calls or not (message.content or message.tool_calls):
                raise BadRequest("400: a message of the assistant that says nothing")
            unanswered = {str(call["id"]) for call in message.tool_calls}
        before = message
    if unanswered:
        raise BadRequest(f"400: tool calls without a result: {sorted(unanswered)}")
