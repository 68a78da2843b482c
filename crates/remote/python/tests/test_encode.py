"""What values of every kind look like to clients."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import re
import types
import uuid
import warnings
from collections import OrderedDict, deque
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel, Field, RootModel, SecretStr

from runloom_executor.encode import EncodeError, dumps


class Pair(NamedTuple):
    a: int
    b: str


class Color(enum.Enum):
    RED = (1, 2)


class Size(str, enum.Enum):
    LARGE = "large"


@dataclasses.dataclass
class Box:
    inside: Any
    _hidden: int = 1


@dataclasses.dataclass
class Slotted:
    __slots__ = ("inside",)
    inside: Any


class Model(BaseModel):
    number: int = Field(1, alias="Number")
    messages: list[BaseMessage] = []
    secret: SecretStr = SecretStr("hush")


class Opaque:
    pass


class Strange:
    """Has its own idea of the method."""

    def model_dump(self) -> Any:
        return {"strange": {1}}


AI = AIMessage("hi", id="1").model_dump()

UTC = datetime.timezone.utc

CASES = [
    (None, None),
    ({1: "a", None: 1, 2.5: 2, True: 3}, {"1": 3, "null": 1, "2.5": 2}),
    ({(1, 2): 3, "a": 2**70}, {"(1, 2)": 3, "a": 2**70}),
    ({uuid.UUID(int=1): 1}, {"00000000-0000-0000-0000-000000000001": 1}),
    (Pair(1, "x"), {"a": 1, "b": "x"}),
    ((1, (2,)), [1, [2]]),
    ([{1}, frozenset([2]), deque([3]), range(2)], [[1], [2], [3], [0, 1]]),
    (types.MappingProxyType({"a": {1: 2}.values()}), {"a": [2]}),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ([Color.RED, Size.LARGE], [[1, 2], "large"]),
    ([Box({1}), Slotted(b"\xff\x00")], [{"inside": [1]}, {"inside": "/wA="}]),
    (Box(2**64), {"inside": 2**64}),
    ([float("nan"), float("inf"), 1.5], [None, None, 1.5]),
    ([float("nan"), 2**64], [None, 2**64]),
    ([-(2**63), 2**64 - 1], [-(2**63), 2**64 - 1]),
    ("a\ud800b", "a\ufffdb"),
    ({"\ud83d": "\ud83d\ude00"}, {"\ufffd": "\U0001f600"}),
    (["a\x00b", "\\u0000", "\\\x00"], ["a\ufffdb", "\\u0000", "\\\ufffd"]),
    (datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2020-01-02T03:04:05.000006+00:00"),
    ([datetime.datetime(2020, 1, 2), datetime.date(2020, 1, 2)], ["2020-01-02T00:00:00", "2020-01-02"]),
    ([datetime.time(1), datetime.timedelta(days=1, milliseconds=5), UTC], ["01:00:00", 86400.005, "UTC"]),
    ([2**64, datetime.date(2020, 1, 2), uuid.UUID(int=1)], [2**64, "2020-01-02", str(uuid.UUID(int=1))]),
    ([decimal.Decimal("1.5"), decimal.Decimal(3), decimal.Decimal("NaN")], [1.5, 3, None]),
    ([re.compile("a+"), PurePosixPath("/a"), ipaddress.ip_address("::1")], ["a+", "/a", "::1"]),
    (ValueError("no"), {"error": "ValueError", "message": "no"}),
    ([Opaque(), Opaque, len, (each for each in ()), 1j], [None] * 5),
    (Send("node", {"a": {1}}), {"node": "node", "args": {"a": [1]}}),
    (Strange(), {"strange": [1]}),
    (RootModel[list[int]]([1]), [1]),
    (AIMessage("hi", id="1"), AI),
    (Model(messages=[AIMessage("hi", id="1")]), {"number": 1, "messages": [AI], "secret": None}),
]


@pytest.mark.parametrize(("value", "wanted"), CASES)
def test_values(value: Any, wanted: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert json.loads(dumps(value)) == wanted
        assert json.loads(dumps({"inside": [value]})) == {"inside": [wanted]}


def test_the_slow_way_gives_what_the_fast_one_does() -> None:
    """A number that does not fit sends the whole value the slow way."""
    for value, wanted in CASES:
        assert json.loads(dumps([value, 2**70])) == [wanted, 2**70]


def test_messages_of_all_kinds() -> None:
    ai = json.loads(dumps(AIMessage("hi", id="1", name="Bo")))
    assert (ai["type"], ai["content"], ai["id"], ai["name"]) == ("ai", "hi", "1", "Bo")
    assert ai.keys() >= {"additional_kwargs", "response_metadata", "tool_calls", "usage_metadata"}
    chunk = json.loads(dumps(AIMessageChunk("a", id="1")))
    assert (chunk["type"], chunk["content"], chunk["tool_call_chunks"]) == ("AIMessageChunk", "a", [])
    tool = json.loads(dumps(ToolMessage("x", tool_call_id="c", artifact={1})))
    assert (tool["type"], tool["tool_call_id"], tool["status"]) == ("tool", "c", "success")
    assert tool["artifact"] == [1]
    blocks = [{"type": "text", "text": "x"}]
    assert json.loads(dumps(HumanMessage(blocks)))["content"] == blocks
    assert json.loads(dumps(Document("x", metadata={"a": 1})))["metadata"] == {"a": 1}


def test_langgraphs_own_values() -> None:
    interrupt = json.loads(dumps(Interrupt(value={"a": {1}}, id="i")))
    assert (interrupt["value"], interrupt["id"]) == ({"a": [1]}, "i")
    command = json.loads(dumps(Command(update={"a": 1}, goto="x")))
    assert (command["update"], command["goto"], command["resume"]) == ({"a": 1}, "x", None)


def test_pydantic_1_models() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = pytest.importorskip("pydantic.v1")
        try:
            model = type("Old", (old.BaseModel,), {"__annotations__": {"a": set}})
        except Exception:  # pydantic 1 does not know the newest Pythons
            pytest.skip("no pydantic 1 here")
        assert json.loads(dumps([model(a=[1])])) == [{"a": [1]}]


def test_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    values = [numpy.arange(3), numpy.arange(4).reshape(2, 2).T, numpy.float32(1.5), numpy.array(["a"])]
    assert json.loads(dumps(values)) == [[0, 1, 2], [[0, 2], [1, 3]], 1.5, ["a"]]


class Refuses:
    def model_dump(self) -> Any:
        raise RuntimeError("not today")


def circle() -> Any:
    inner: dict[str, Any] = {}
    inner["self"] = [Box(inner)]
    return inner


def deep() -> Any:
    value: Any = 2**70
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "why"),
    [(circle(), "contains itself"), (deep(), "nested too deeply"), (Refuses(), "not today")],
)
def test_what_has_no_json_form_says_why(value: Any, why: str) -> None:
    with pytest.raises(EncodeError, match=why):
        dumps(value)


def test_what_is_nested_deeper_than_orjson_goes() -> None:
    value: Any = {1}
    for _ in range(300):
        value = Box(value)
    assert json.loads(dumps(value))["inside"]["inside"]["inside"]
