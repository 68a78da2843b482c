"""Writes `fixtures.json`: values as LangGraph's serializer stores them, and as clients get them.

Run with an interpreter that has langgraph, from the root of the repository:
    python crates/core/tests/projection/make_fixtures.py
"""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import json
import pathlib
import re
import struct
import sys
import uuid
from collections import deque, namedtuple
from dataclasses import dataclass
from typing import Any

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "remote/python"))

import ormsgpack  # noqa: E402
from langchain_core.messages import (  # noqa: E402
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer  # noqa: E402
from langgraph.types import Interrupt, Send  # noqa: E402
from pydantic import BaseModel, SecretStr  # noqa: E402
from runloom_executor.encode import dumps  # noqa: E402


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(str, enum.Enum):
    YES = "yes"


@dataclass
class Place:
    name: str
    at: datetime.datetime
    _hidden: int = 1


Pair = namedtuple("Pair", "left right")


class Profile(BaseModel):
    name: str
    born: datetime.date
    tags: set[str] = set()
    token: SecretStr = SecretStr("")


MOMENT = datetime.datetime(2024, 2, 29, 23, 59, 58, 123456)
CALL = {"name": "search", "args": {"q": "x", "n": 1}, "id": "call-1", "type": "tool_call"}

VALUES: dict[str, Any] = {
    "nothing": None,
    "bytes": b"\x00\xffab",
    "bytearray": bytearray(b"ab"),
    "scalars": [True, False, None, 0, -1, -129, 2**63 - 1, 2**64 - 1, -(2**63), 1.5, -0.25, "", "žluť 🦊"],
    "not_numbers": [float("nan"), float("inf"), float("-inf")],
    "nested": {"a": {"b": [{"c": (1, 2)}]}, "bytes": b"\x01\x02\x03"},
    "odd_keys": {1: "a", None: "b", True: "c", 2.5: "d", "e": "f", -7: "g"},
    "keys_that_are_objects": {uuid.UUID(int=1): 1, Colour.RED: 2, datetime.date(2020, 1, 2): 3},
    "messages": [
        SystemMessage("be kind", id="s"),
        HumanMessage("hi", id="h", name="ann"),
        HumanMessage([{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "u"}}], id="i"),
        AIMessage(
            "", id="a", tool_calls=[CALL], response_metadata={"model": "m"},
            usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        ),
        ToolMessage("found", id="t", tool_call_id="call-1", artifact={"raw": [1, 2]}),
        AIMessageChunk("part", id="c"),
        ChatMessage("as you say", role="butler", id="b"),
        FunctionMessage("42", name="answer", id="f"),
    ],
    "one_message": AIMessage("done", id="a2"),
    "removal": [RemoveMessage(id="a2")],
    "times": [
        MOMENT,
        MOMENT.replace(microsecond=0),
        MOMENT.replace(tzinfo=datetime.timezone.utc),
        MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-5, minutes=-30))),
        datetime.date(987, 6, 5),
        datetime.time(1, 2, 3),
        datetime.time(1, 2, 3, 4),
        datetime.timedelta(days=-1, seconds=5, microseconds=250000),
    ],
    "zones": [
        datetime.timezone.utc,
        datetime.timezone(datetime.timedelta(hours=2)),
        datetime.timezone(datetime.timedelta(hours=-3, minutes=-30)),
        datetime.timezone(datetime.timedelta(hours=2), "CEST"),
        datetime.time(1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        datetime.time(1, 2, tzinfo=datetime.timezone.utc),
    ],
    "decimals": [decimal.Decimal("1.50"), decimal.Decimal("12.00"), decimal.Decimal("-3"), decimal.Decimal("NaN")],
    "identifiers": [uuid.UUID(int=2**127 + 5)],
    "enums": [Colour.RED, Level.HIGH, Word.YES],
    "collections": [{1}, frozenset(["a"]), deque([1, 2, 3])],
    "paths": [pathlib.PosixPath("/a/b.txt"), pathlib.PosixPath("a/b"), pathlib.PosixPath("/"), pathlib.PosixPath(".")],
    "addresses": [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_address("::1")],
    "pattern": re.compile("a.*b", re.IGNORECASE),
    "secrets": [SecretStr("hunter2"), SecretStr("")],
    "dataclass": Place("home", MOMENT),
    "named_tuple": Pair(1, {"x": Pair(2, 3)}),
    "model": Profile(name="ann", born=datetime.date(2000, 1, 2), tags={"x"}, token=SecretStr("hunter2")),
    "send": Send("node", {"messages": [HumanMessage("x", id="1")]}),
    "interrupts": [Interrupt(value={"question": "ok?"}, id="0123")],
}


def numpy(kind: str, shape: tuple[int, ...], order: str, data: bytes) -> bytes:
    """An array as the serializer stores it, without needing numpy."""
    return ormsgpack.packb(ormsgpack.Ext(6, ormsgpack.packb((kind, shape, order, data))))


ARRAYS = {
    "floats": (numpy("<f8", (2, 2), "C", struct.pack("<4d", 1, 2.5, float("nan"), 4)), [[1.0, 2.5], [None, 4.0]]),
    "by_columns": (numpy("<i4", (2, 3), "F", struct.pack("<6i", 1, 2, 3, 4, 5, 6)), [[1, 3, 5], [2, 4, 6]]),
    "flags": (numpy("|b1", (3,), "C", b"\x01\x00\x01"), [True, False, True]),
    "scalar_array": (numpy("<u2", (), "C", b"\x05\x01"), 261),
    "empty_array": (numpy("<f4", (0, 3), "C", b""), []),
    "of_texts": (numpy("<U1", (1,), "C", b"a\x00\x00\x00"), None),
    "snapshot": (ormsgpack.packb(ormsgpack.Ext(7, ormsgpack.packb([1, "a"]))), [1, "a"]),
    "unknown_extension": (ormsgpack.packb([ormsgpack.Ext(99, b"\x01")]), [None]),
}


def main() -> None:
    serializer = JsonPlusSerializer()
    fixtures = []
    for name, value in VALUES.items():
        kind, data = serializer.dumps_typed(value)
        fixtures.append({"name": name, "kind": kind, "hex": data.hex(), "json": json.loads(dumps(value))})
    for name, (data, shown) in ARRAYS.items():
        fixtures.append({"name": name, "kind": "msgpack", "hex": data.hex(), "json": shown})
    lines = ",\n".join(json.dumps(fixture, ensure_ascii=False) for fixture in fixtures)
    (HERE / "fixtures.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
