"""Which of the text that clients saw may become part of the conversation when the run is stopped."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

SILENT_TAGS = {"nostream", "langsmith:nostream", "langsmith:hidden"}
FORMATS = ("ls_structured_output_format", "response_format", "response_schema", "output_format", "format")


class Listener(BaseCallbackHandler):
    """Notices model calls whose text is no speech: structured output, hidden ones, and those inside tools.

    Neither the messages nor their metadata show this, only how the model was called. To be put among the
    callbacks of the run's configuration, so that everything below inherits it.
    """

    run_inline = True
    ignore_llm = True
    ignore_retry = True
    ignore_retriever = True
    ignore_custom_event = True

    def __init__(self) -> None:
        self._inside_tools: set[UUID] = set()
        self._no_speech: dict[int, Any] = {}

    def is_speech(self, metadata: dict[str, Any]) -> bool:
        """Whether the text of a model call is speech. `metadata` is the very object its messages carry.

        `lc_source` is how LangChain marks calls of its own, such as a summary of the conversation.
        """
        return id(metadata) not in self._no_speech and "lc_source" not in metadata

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        silent = not SILENT_TAGS.isdisjoint(tags or ())
        if silent or parent_run_id in self._inside_tools or _is_structured(more):
            # Keeping the object keeps its identity from being used again.
            self._no_speech[id(metadata)] = metadata

    def on_tool_start(self, serialized: Any, input_str: Any, *, run_id: UUID, **more: Any) -> None:
        self._inside_tools.add(run_id)

    def on_tool_end(self, output: Any, *, run_id: UUID, **more: Any) -> None:
        self._inside_tools.discard(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        self._inside_tools.discard(run_id)

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        if parent_run_id in self._inside_tools:
            self._inside_tools.add(run_id)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **more: Any) -> None:
        self._inside_tools.discard(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        self._inside_tools.discard(run_id)


def _is_structured(call: dict[str, Any]) -> bool:
    """Whether a model was asked for an object instead of an answer, by what it was called with."""
    for given in (call.get("options"), call.get("invocation_params")):
        for name in FORMATS:
            wanted = given.get(name) if isinstance(given, dict) else None
            if isinstance(wanted, dict):
                wanted = wanted.get("type") != "text"
            if wanted and wanted != "text":
                return True
    return False


class Speech:
    """Tells what each shown message adds to what was said."""

    def __init__(self, messages_channel: str | None, shared_subgraph_nodes: frozenset[str]) -> None:
        self.listener = Listener() if messages_channel else None
        self._shared = shared_subgraph_nodes
        self._speakers: dict[str, tuple[str, str] | None] = {}
        self._spoken: set[str] = set()

    def of(self, message: BaseMessage, metadata: dict[str, Any]) -> list[str] | None:
        """`[task_id, node, message_id, text]`, or None if `message` adds nothing that may be kept.

        A message that comes whole adds nothing if pieces of it came before.
        """
        if self.listener is None or not isinstance(message, AIMessage) or not message.id:
            return None
        text = text_of(message.content)
        if not text or not self.listener.is_speech(metadata):
            return None
        speaker = self._speaker(metadata.get("langgraph_checkpoint_ns") or "")
        is_piece = isinstance(message, AIMessageChunk)
        if speaker is None or (message.id in self._spoken and not is_piece):
            return None
        self._spoken.add(message.id)
        return [*speaker, message.id, text]

    def _speaker(self, namespace: str) -> tuple[str, str] | None:
        """Task and node of the root graph that speak in a namespace, if what they say is the thread's."""
        if namespace not in self._speakers:
            self._speakers[namespace] = speaker_in(namespace, self._shared)
        return self._speakers[namespace]


def speaker_in(namespace: str, shared: frozenset[str]) -> tuple[str, str] | None:
    """`(task_id, node)` of the root task of `node:task|node:task…`; None if a level above is not shared.

    `shared` has nodes of the root graph, and those below them as `outer|inner`.
    """
    levels = [level.rpartition(":") for level in namespace.split("|")]
    path = [node for node, _, _ in levels]
    if not all(path):  # a number in between: a graph that a task called itself
        return None
    if any("|".join(path[:depth]) not in shared for depth in range(1, len(path))):
        return None
    node, _, task_id = levels[0]
    return task_id, node


def text_of(content: Any) -> str:
    """The text of a message's content, without reasoning, tool calls and other blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(_text_of_block(block) for block in content)


def _text_of_block(block: Any) -> str:
    if isinstance(block, str):
        return block
    text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
    return text if isinstance(text, str) else ""
