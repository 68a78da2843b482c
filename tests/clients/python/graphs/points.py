"""Where in its work a run may be stopped, and what is to be seen then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from support.overheard import Overheard
from support.talk import human

Seen = Callable[[Overheard], bool]


def heard_words(count: int, below: str | None = None, after_tool: bool = False) -> Seen:
    """So many words of an answer; of the one after a tool's, if it is to be that."""

    def seen(run: Overheard) -> bool:
        answers = [text for text in run.texts(below).values() if text]
        if after_tool and not any("tools" in name for name, _ in run.updates()):
            return False
        return bool(answers) and len(answers[-1].split()) >= count

    return seen


def heard_half_a_call(run: Overheard) -> bool:
    """Some of the arguments, and not all."""
    pieces = [call for chunk in run.chunks() for call in chunk.get("tool_call_chunks") or []]
    return len(pieces) >= 3


def wrote(node: str, *others: str) -> Seen:
    """A node has written (under any of its names)."""
    return lambda run: any(name in (node, *others) for name, _ in run.updates())


@dataclass(frozen=True)
class Point:
    """One of these places."""

    name: str
    graph: str
    question: str
    reached: Seen
    #: What the conversation is made of after a stop there.
    left: tuple[str, ...]
    #: The same for a server that neither repairs nor keeps what was half said.
    left_strictly: tuple[str, ...]
    #: The node, or nodes, that are to be executed next.
    following: tuple[str, ...]
    #: What it is made of when the run goes on and ends.
    whole: tuple[str, ...]
    #: Whose half answer is kept, a subgraph of which node.
    below: str | None = None
    #: Whether a half answer is kept.
    speaks: bool = False
    state: tuple[tuple[str, Any], ...] = ()
    #: Whether a provider would take its conversation.
    for_a_provider: bool = True

    def input(self) -> dict[str, Any]:
        return human(self.question, **dict(self.state))

    def again(self, question: str = "again") -> dict[str, Any]:
        """A quick second turn."""
        return human(f"{question} [tokens=3 rate=0]", **({"delay": 0} if self.state else {}))


MODEL = ("model", "agent")  # create_agent and its ancestor name it differently
ANSWER = "tokens=90 rate=30"
CALLED = ("human", "ai", "tool", "ai")

POINTS = [
    Point(
        name="an answer half said",
        graph="assistant",
        question=f"a [{ANSWER}]",
        reached=heard_words(5),
        left=("human", "ai"),
        left_strictly=("human",),
        following=MODEL,
        whole=("human", "ai"),
        speaks=True,
    ),
    Point(
        name="half a tool call",
        graph="assistant",
        question="a [call=search tokens=3 rate=4]",
        reached=heard_half_a_call,
        left=("human",),
        left_strictly=("human",),
        following=MODEL,
        whole=CALLED,
    ),
    Point(
        name="half a tool call after some words",
        graph="assistant",
        question="a [call=search preface=3 tokens=3 rate=4]",
        reached=heard_half_a_call,
        left=("human", "ai"),
        left_strictly=("human",),
        following=MODEL,
        whole=CALLED,
        speaks=True,
    ),
    Point(
        name="in a tool",
        graph="assistant",
        question="a [call=search seconds=3 tokens=3 rate=0]",
        reached=wrote(*MODEL),
        left=("human", "ai", "tool error"),
        left_strictly=("human", "ai"),
        following=("tools",),
        whole=CALLED,
    ),
    Point(
        name="one of two tools done",
        graph="assistant",
        question="a [call=weather,search seconds=0,3 tokens=3 rate=0]",
        reached=wrote("tools"),
        left=("human", "ai", "tool", "tool error"),
        left_strictly=("human", "ai", "tool"),
        following=("tools",),
        whole=("human", "ai", "tool", "tool", "ai"),
    ),
    Point(
        name="one of two branches done",
        graph="research",
        question="rome, oslo [slow=oslo:3 tokens=3 rate=0]",
        reached=wrote("look_up"),
        left=("human",),
        left_strictly=("human",),
        following=("look_up",),
        whole=("human", "ai"),
    ),
    Point(
        name="the answer after a tool",
        graph="assistant",
        question=f"a [call=weather {ANSWER}]",
        reached=heard_words(5, after_tool=True),
        left=("human", "ai", "tool", "ai"),
        left_strictly=("human", "ai", "tool"),
        following=MODEL,
        whole=CALLED,
        speaks=True,
    ),
    Point(
        name="inside a subgraph",
        graph="research",
        question=f"rome [{ANSWER}]",
        reached=heard_words(5, below="writer"),
        left=("human", "ai"),
        left_strictly=("human",),
        following=("writer",),
        whole=("human", "ai"),
        below="writer",
        speaks=True,
    ),
    Point(
        name="in the last node",
        graph="slow",
        question="a",
        reached=wrote("two"),
        left=("human", "ai", "ai"),
        left_strictly=("human", "ai", "ai"),
        following=("three",),
        whole=("human", "ai", "ai", "ai"),
        state=(("delay", 1.5),),
        for_a_provider=False,
    ),
]
