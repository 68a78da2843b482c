"""Stops at seeded instants: whatever is cut off, a strict provider takes the thread again.

`RUNLOOM_STOPS` is the number of stops, `RUNLOOM_STOP_SEED` the seed of the first conversation.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
from collections import Counter
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError
from points import POINTS, Point
from support.conversation import violations
from support.overheard import Overheard, text_of
from support.talk import listed, new_thread, state_messages

STOPS = int(os.environ.get("RUNLOOM_STOPS", "60"))
SEED = int(os.environ.get("RUNLOOM_STOP_SEED", "1"))
AT_ONCE = 8
MOST_STOPS = 4
PLACES = [point for point in POINTS if point.graph in ("assistant", "research")]
MOST_PARTS = 20
LONGEST_PAUSE = 0.4


class Conversation:
    """One thread: a few turns that are stopped, then one that is not."""

    def __init__(self, client: LangGraphClient, seed: int, counts: Counter[str]) -> None:
        self.client, self.seed, self.counts = client, seed, counts
        self.random = random.Random(seed)
        self.graph = self.random.choice(["assistant", "assistant", "research"])
        self.thread = ""
        self.asked: list[str] = []

    async def speak(self) -> None:
        self.thread = await new_thread(self.client)
        durability = self.random.choice(["sync", "async", "exit"])
        for _ in range(self.random.randint(1, MOST_STOPS)):
            await self._stopped_turn(durability)
        last = self._point()
        values = await self.client.runs.wait(self.thread, self.graph, input=self._input(last.again()))
        self._check(values["messages"])
        assert values["messages"][-1]["content"] == "word1 word2 end.", self._place()
        statuses = set((await listed(self.client, self.thread)).values())
        assert statuses <= {"interrupted", "success"}, self._place()

    def _point(self) -> Point:
        return self.random.choice([point for point in PLACES if point.graph == self.graph])

    def _input(self, input: dict[str, Any]) -> dict[str, Any]:
        """The input, its message under an id by which it is found again."""
        self.asked.append(f"{self.seed}-{len(self.asked)}")
        input["messages"][0]["id"] = self.asked[-1]
        return input

    def _check(self, messages: list[dict[str, Any]]) -> None:
        """The provider takes them, and every question is there, in order."""
        assert not violations(messages), f"{self._place()}: {violations(messages)}"
        asked = [message["id"] for message in messages if message["type"] == "human"]
        assert asked == self.asked, self._place()

    def _place(self) -> str:
        return f"seed {self.seed}, thread {self.thread}"

    async def _stopped_turn(self, durability: Any) -> None:
        point = self._point()
        run = Overheard(
            self.client,
            self.thread,
            self.graph,
            self._input(point.input()),
            durability=durability,
        )
        parts = self.random.randint(1, MOST_PARTS)
        await run.hears(lambda run: len(run.parts) >= parts or run.task.done())
        # Between two parts, too.
        await asyncio.sleep(self.random.random() * LONGEST_PAUSE)
        way = self.random.choice(["cancel", "message", "burst", "resume"])
        await getattr(self, f"_{way}")(run)
        self.counts["stops"] += 1
        self.counts[way] += 1

    async def _check_kept(self, run: Overheard) -> None:
        """What was heard stands in the state, under the id under which it was heard."""
        messages = await state_messages(self.client, self.thread)
        self._check(messages)
        kept = {message["id"]: text_of(message) for message in messages}
        for below in (None, "writer"):
            for ident, text in run.texts(below).items():
                if text.strip():
                    assert kept.get(ident, "").rstrip() == text.rstrip(), self._place()

    async def _cancel(self, run: Overheard) -> None:
        with contextlib.suppress(NotFoundError):  # it may have ended by itself
            await self.client.runs.cancel(self.thread, run.run_id)
        await run.ended()
        await self._check_kept(run)

    async def _message(self, run: Overheard) -> None:
        turn = await self.client.runs.create(
            self.thread,
            self.graph,
            input=self._input(self._point().again()),
            multitask_strategy="interrupt",
        )
        await run.ended()
        await self.client.runs.join(self.thread, turn["run_id"])
        await self._check_kept(run)

    async def _burst(self, run: Overheard) -> None:
        for _ in range(2):
            turn = await self.client.runs.create(
                self.thread,
                self.graph,
                input=self._input(self._point().again()),
                multitask_strategy="interrupt",
            )
        await run.ended()
        await self.client.runs.join(self.thread, turn["run_id"])
        await self._check_kept(run)

    async def _resume(self, run: Overheard) -> None:
        await self._cancel(run)
        if (await self.client.threads.get_state(self.thread))["next"]:
            await self.client.runs.wait(self.thread, self.graph, input=None)
        self._check(await state_messages(self.client, self.thread))


@pytest.mark.timeout(60 + STOPS * 3)
async def test_a_strict_provider_takes_every_thread_again(client: LangGraphClient) -> None:
    counts: Counter[str] = Counter()
    seeds = itertools.count(SEED)

    async def talk_on() -> None:
        while counts["stops"] < STOPS:
            await Conversation(client, next(seeds), counts).speak()
            counts["threads"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(talk_on())
    assert counts["stops"] >= STOPS
    print(f"\nstops: {dict(counts)}, violations: 0")
