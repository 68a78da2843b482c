"""Races that clients can play against one server; each comes from a report somewhere."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError, ConflictError, NotFoundError
from support.talk import (
    contents,
    human,
    listed,
    new_thread,
    reaches,
    run_status,
    said,
    thread_rests,
)


async def create(client: LangGraphClient, thread: str, text: str, strategy: str, **more: Any):
    graph = more.pop("graph", "slow")
    state = more.pop("state", {})
    return await client.runs.create(
        thread, graph, input=human(text, **state), multitask_strategy=strategy, **more
    )


async def test_five_rejects_at_once(client: LangGraphClient) -> None:
    for _ in range(5):
        thread = await new_thread(client)
        answers = await asyncio.gather(
            *(create(client, thread, f"m{i}", "reject", graph="echo") for i in range(5)),
            return_exceptions=True,
        )
        taken = [answer for answer in answers if isinstance(answer, dict)]
        refused = [answer for answer in answers if isinstance(answer, ConflictError)]
        # A fast winner may be over before the last one asks: then that one is taken, too.
        assert len(taken) + len(refused) == 5 and len(taken) >= 1
        await thread_rests(client, thread)
        assert set((await listed(client, thread)).values()) == {"success"}
        assert len(await contents(client, thread)) == 2 * len(taken)


async def test_five_rejects_at_once_on_a_slow_graph(client: LangGraphClient, thread: str) -> None:
    answers = await asyncio.gather(
        *(create(client, thread, f"m{i}", "reject") for i in range(5)), return_exceptions=True
    )
    taken = [answer for answer in answers if isinstance(answer, dict)]
    assert len(taken) == 1
    assert sum(isinstance(answer, ConflictError) for answer in answers) == 4
    await client.runs.join(thread, taken[0]["run_id"])
    assert await listed(client, thread) == {taken[0]["run_id"]: "success"}


async def test_two_creates_at_once_both_run(client: LangGraphClient) -> None:
    for _ in range(5):
        thread = await new_thread(client)
        await asyncio.gather(
            create(client, thread, "a", "enqueue", graph="echo"),
            create(client, thread, "b", "enqueue", graph="echo"),
        )
        await thread_rests(client, thread)
        spoken = await contents(client, thread)
        assert spoken in (
            ["a", "echo: a", "b", "echo: b"],
            ["b", "echo: b", "a", "echo: a"],
        )


async def test_enqueue_keeps_the_order_of_acceptance(client: LangGraphClient, thread: str) -> None:
    first = await create(client, thread, "m0", "enqueue", state={"delay": 0.2})
    for i in range(1, 6):
        await create(client, thread, f"m{i}", "enqueue", graph="echo")
    await client.runs.join(thread, first["run_id"])
    await thread_rests(client, thread)
    spoken = await contents(client, thread)
    assert [text for text in spoken if text.startswith("m")] == [f"m{i}" for i in range(6)]


async def test_a_failed_run_does_not_stop_the_queue(client: LangGraphClient, thread: str) -> None:
    failing = await create(client, thread, "a", "enqueue", graph="fail")
    last = await create(client, thread, "b", "enqueue", graph="echo")
    await client.runs.join(thread, last["run_id"])
    assert await run_status(client, thread, failing["run_id"]) == "error"
    assert await run_status(client, thread, last["run_id"]) == "success"
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_burst_of_six_interrupts_keeps_every_input(
    client: LangGraphClient, thread: str
) -> None:
    runs = [await create(client, thread, f"m{i}", "interrupt") for i in range(6)]
    await client.runs.join(thread, runs[-1]["run_id"])
    await thread_rests(client, thread)
    statuses = await listed(client, thread)
    assert [statuses[run["run_id"]] for run in runs] == ["interrupted"] * 5 + ["success"]
    spoken = await contents(client, thread)
    assert [text for text in spoken if text.startswith("m")] == [f"m{i}" for i in range(6)]
    assert spoken[-3:] == ["one", "two", "three"], "the last run ran to its end"


async def test_six_interrupts_at_the_same_instant(client: LangGraphClient, thread: str) -> None:
    runs = await asyncio.gather(*(create(client, thread, f"m{i}", "interrupt") for i in range(6)))
    await thread_rests(client, thread)
    statuses = await listed(client, thread)
    assert sorted(statuses.values()) == ["interrupted"] * 5 + ["success"]
    assert set(statuses) == {run["run_id"] for run in runs}
    spoken = await contents(client, thread)
    assert sorted(text for text in spoken if text.startswith("m")) == [f"m{i}" for i in range(6)]


async def test_superseded_runs_name_their_successor(client: LangGraphClient, thread: str) -> None:
    running = await create(client, thread, "a", "enqueue", state={"delay": 3})
    await reaches(client, thread, running["run_id"], "running")
    waiting = await create(client, thread, "b", "enqueue")
    last = await create(client, thread, "c", "interrupt", graph="echo")
    await client.runs.join(thread, last["run_id"])
    for victim in (running, waiting):
        run = await client.runs.get(thread, victim["run_id"])
        assert run["status"] == "interrupted"
        assert run["superseded_by"] == last["run_id"]
        assert run["cancel_reason"]
    winner = await client.runs.get(thread, last["run_id"])
    assert winner["superseded_by"] is None and winner["cancel_reason"] is None


async def test_interrupt_over_an_interrupt(client: LangGraphClient, thread: str) -> None:
    first = await create(client, thread, "a", "enqueue", graph="stubborn", state={"delay": 0.7})
    await reaches(client, thread, first["run_id"], "running")
    second = await create(client, thread, "b", "interrupt")
    third = await create(client, thread, "c", "interrupt", graph="echo")
    await client.runs.join(thread, third["run_id"])
    statuses = await listed(client, thread)
    assert statuses == {
        first["run_id"]: "interrupted",
        second["run_id"]: "interrupted",
        third["run_id"]: "success",
    }
    spoken = [text for text in await contents(client, thread) if text != "stubborn"]
    assert spoken == ["a", "b", "c", "echo: c"]


async def test_interrupt_then_rollback_of_the_same_run(
    client: LangGraphClient, thread: str
) -> None:
    """While the stop is under way it may still become a removal; afterwards it may not."""
    victim = await create(client, thread, "a", "enqueue", graph="stubborn", state={"delay": 1})
    await reaches(client, thread, victim["run_id"], "running")
    await client.runs.cancel(thread, victim["run_id"], action="interrupt")
    last = await create(client, thread, "b", "rollback", graph="echo")
    await client.runs.join(thread, last["run_id"])
    assert await thread_rests(client, thread) == "idle"
    left = await listed(client, thread)
    assert left[last["run_id"]] == "success"
    if victim["run_id"] in left:
        assert left[victim["run_id"]] == "interrupted"
    else:
        assert await contents(client, thread) == ["b", "echo: b"]


async def test_rollback_then_interrupt_of_the_same_run(
    client: LangGraphClient, thread: str
) -> None:
    """An interrupt after a rollback is under way is a success without effect."""
    victim = await create(client, thread, "a", "enqueue", graph="stubborn", state={"delay": 1})
    await reaches(client, thread, victim["run_id"], "running")
    await client.runs.cancel(thread, victim["run_id"], action="rollback")
    try:
        await client.runs.cancel(thread, victim["run_id"], action="interrupt")
    except NotFoundError:
        assert await run_status(client, thread, victim["run_id"]) == "gone"
    await reaches(client, thread, victim["run_id"], "gone")
    assert await thread_rests(client, thread) == "idle"
    assert await contents(client, thread) == []


async def test_rollback_while_the_victim_streams(client: LangGraphClient, thread: str) -> None:
    parts = []

    async def watch() -> None:
        async for part in client.runs.stream(
            thread,
            "tokens",
            input=human("a", count=500, rate=50),
            stream_mode="messages-tuple",
        ):
            parts.append(part)

    watcher = asyncio.create_task(watch())
    while len(parts) < 5:
        await asyncio.sleep(0.02)
    [victim] = await listed(client, thread)
    last = await create(client, thread, "b", "rollback", graph="echo")
    await asyncio.wait_for(watcher, 10)
    assert not [part for part in parts if part.event == "error"]
    await client.runs.join(thread, last["run_id"])
    assert await run_status(client, thread, victim) == "gone"
    assert await contents(client, thread) == ["b", "echo: b"]
    history = await client.threads.get_history(thread, limit=100)
    assert {state["metadata"]["run_id"] for state in history} == {last["run_id"]}


async def test_three_rollbacks_on_wait(client: LangGraphClient, thread: str) -> None:
    async def wait(text: str, after: float) -> Any:
        await asyncio.sleep(after)
        return await client.runs.wait(
            thread, "slow", input=human(text), multitask_strategy="rollback"
        )

    answers = await asyncio.gather(*(wait(f"m{i}", i / 2) for i in range(3)))
    assert [m["content"] for m in answers[2]["messages"]] == ["m2", "one", "two", "three"]
    await thread_rests(client, thread)
    assert list((await listed(client, thread)).values()) == ["success"]
    assert await contents(client, thread) == ["m2", "one", "two", "three"]


async def test_interrupt_of_a_pending_run(client: LangGraphClient, thread: str) -> None:
    delayed = await create(client, thread, "later", "enqueue", graph="echo", after_seconds=600)
    assert await run_status(client, thread, delayed["run_id"]) == "pending"
    now = await create(client, thread, "now", "interrupt", graph="echo")
    await client.runs.join(thread, now["run_id"])
    assert await run_status(client, thread, delayed["run_id"]) == "interrupted"
    assert await contents(client, thread) == ["later", "now", "echo: now"]
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_rollback_of_a_pending_run(client: LangGraphClient, thread: str) -> None:
    delayed = await create(client, thread, "later", "enqueue", graph="echo", after_seconds=600)
    now = await create(client, thread, "now", "rollback", graph="echo")
    await client.runs.join(thread, now["run_id"])
    assert await run_status(client, thread, delayed["run_id"]) == "gone"
    assert await contents(client, thread) == ["now", "echo: now"]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_message_in_the_instant_a_run_ends(client: LangGraphClient, strategy: str) -> None:
    """Whatever the instant: one clear outcome, and nothing is lost or doubled."""
    seen = set()

    async def play(step: int) -> None:
        thread = await new_thread(client)
        delay = 0.03
        first = await create(client, thread, "a", "enqueue", state={"delay": delay})
        await reaches(client, thread, first["run_id"], "running", "success")
        await asyncio.sleep(3 * delay * step / 20)
        second = await create(client, thread, "b", strategy, graph="echo")
        await client.runs.join(thread, second["run_id"])
        assert await thread_rests(client, thread) == "idle"
        statuses = await listed(client, thread)
        outcome = statuses.get(first["run_id"], "gone")
        seen.add(outcome)
        assert statuses[second["run_id"]] == "success"
        spoken = await contents(client, thread)
        whole = ["a", "one", "two", "three"]
        assert spoken[-2:] == ["b", "echo: b"]
        if outcome == "success":
            assert spoken[:-2] == whole
        elif strategy == "interrupt":
            assert outcome == "interrupted"
            assert spoken[:-2] == whole[: len(spoken) - 2] and len(spoken) >= 3
        else:
            assert outcome == "gone" and len(spoken) == 2

    for batch in range(8):
        await asyncio.gather(*(play(5 * batch + i) for i in range(5)))
    assert "success" in seen, "never hit the end: the test is too quick"


async def test_a_terminal_status_never_changes(client: LangGraphClient, thread: str) -> None:
    done = await create(client, thread, "a", "enqueue", graph="echo")
    await client.runs.join(thread, done["run_id"])
    for strategy in ("interrupt", "rollback"):
        last = await create(client, thread, strategy, strategy, graph="echo")
        await client.runs.join(thread, last["run_id"])
        assert await run_status(client, thread, done["run_id"]) == "success"
    assert len(await contents(client, thread)) == 6


async def test_a_superseding_run_with_after_seconds(client: LangGraphClient, thread: str) -> None:
    """The victim stops at once; the thread stays busy until the successor is due."""
    victim = await create(client, thread, "a", "enqueue", state={"delay": 5})
    await said(client, thread, "a")
    last = await create(client, thread, "b", "interrupt", graph="echo", after_seconds=2)
    await reaches(client, thread, victim["run_id"], "interrupted", seconds=1.5)
    assert await run_status(client, thread, last["run_id"]) == "pending"
    assert (await client.threads.get(thread))["status"] == "busy"
    await client.runs.join(thread, last["run_id"])
    assert await contents(client, thread) == ["a", "b", "echo: b"]


async def test_a_later_run_overtakes_a_delayed_one(client: LangGraphClient, thread: str) -> None:
    late = await create(client, thread, "late", "enqueue", graph="echo", after_seconds=2)
    early = await create(client, thread, "early", "enqueue", graph="echo")
    await client.runs.join(thread, early["run_id"])
    assert await run_status(client, thread, late["run_id"]) == "pending"
    await client.runs.join(thread, late["run_id"])
    assert await contents(client, thread) == ["early", "echo: early", "late", "echo: late"]


@pytest.mark.parametrize("graph", ["stubborn", "sour", "retry"])
async def test_a_victim_that_resists(client: LangGraphClient, thread: str, graph: str) -> None:
    """It ignores the stop, turns it into an error, or sits in a back-off: all end interrupted."""
    victim = await create(client, thread, "a", "enqueue", graph=graph, state={"delay": 1.5})
    await said(client, thread, "a")
    last = await create(client, thread, "b", "interrupt", graph="echo")
    await client.runs.join(thread, last["run_id"])
    run = await client.runs.get(thread, victim["run_id"])
    assert run["status"] == "interrupted"
    assert await run_status(client, thread, last["run_id"]) == "success"
    spoken = await contents(client, thread)
    assert spoken[0] == "a" and spoken[-2:] == ["b", "echo: b"]
    # Nothing of the victim may land after its successor began.
    before = await client.threads.get_history(thread, limit=100)
    await asyncio.sleep(2)
    assert await client.threads.get_history(thread, limit=100) == before


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_run_cancelled_while_its_client_is_gone(
    client: LangGraphClient, thread: str, action: str
) -> None:
    stream = client.runs.stream(
        thread,
        "slow",
        input=human("a", delay=2),
        on_disconnect="cancel",
    )
    async for part in stream:
        if part.event == "values":
            break
    [run] = await listed(client, thread)

    async def cancel() -> None:
        # The connection's end may have stopped it already.
        with contextlib.suppress(NotFoundError):
            await client.runs.cancel(thread, run, action=action)

    await asyncio.gather(stream.aclose(), cancel())
    ended = await reaches(client, thread, run, "interrupted", "gone", seconds=10)
    assert ended == "interrupted" or action == "rollback"
    assert await thread_rests(client, thread) in ("idle", "interrupted")


async def test_a_plain_run_on_a_thread_that_waits_for_a_human(
    client: LangGraphClient, thread: str
) -> None:
    await client.runs.wait(thread, "pause", input=human("a"))
    waiting = await client.threads.get(thread)
    assert waiting["status"] == "interrupted"
    await client.runs.wait(thread, "pause", input=human("b"))
    after = await client.threads.get(thread)
    assert after["status"] == "interrupted"
    assert await contents(client, thread) == ["a", "b"]
    [pending] = (await client.threads.get_state(thread))["interrupts"]
    await client.runs.wait(thread, "pause", command={"resume": "yes"})
    assert await contents(client, thread) == ["a", "b", "got yes"]
    assert pending["value"] == {"question": "ok?"}


async def test_if_not_exists_create_at_once(client: LangGraphClient) -> None:
    for _ in range(5):
        thread = await new_thread(client)
        await client.threads.delete(thread)
        runs = await asyncio.gather(
            *(
                create(client, thread, f"m{i}", "enqueue", graph="echo", if_not_exists="create")
                for i in range(4)
            )
        )
        await thread_rests(client, thread)
        assert await listed(client, thread) == {run["run_id"]: "success" for run in runs}
        assert len(await contents(client, thread)) == 8


@pytest.mark.parametrize("strategy", ["enqueue", "reject", "interrupt"])
async def test_two_resumes_at_once(client: LangGraphClient, thread: str, strategy: Any) -> None:
    """An interrupt is answered once."""
    await client.runs.wait(thread, "pause", input=human("a"))

    async def resume(answer: str) -> Any:
        return await client.runs.create(
            thread, "pause", command={"resume": answer}, multitask_strategy=strategy
        )

    answers = await asyncio.gather(resume("x"), resume("y"), return_exceptions=True)
    assert all(isinstance(answer, dict | ConflictError) for answer in answers)
    assert await thread_rests(client, thread) == "idle"
    answered = [text for text in await contents(client, thread) if text.startswith("got ")]
    assert len(answered) == 1


async def test_delete_of_a_running_run(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "echo", input=human("kept"))
    before = await client.threads.get_state(thread)
    victim = await create(client, thread, "gone", "enqueue", state={"delay": 0.5})
    await said(client, thread, "gone")
    await client.runs.delete(thread, victim["run_id"])
    assert await run_status(client, thread, victim["run_id"]) == "gone"
    assert await thread_rests(client, thread) == "idle"
    await asyncio.sleep(2)
    assert await client.threads.get_state(thread) == before, "its worker wrote on"
    values = await client.runs.wait(thread, "echo", input=human("new"))
    assert values["messages"][-1]["content"] == "echo: new"


async def test_delete_of_a_busy_thread(
    client: LangGraphClient, other_client: LangGraphClient, thread: str
) -> None:
    run = await create(client, thread, "a", "enqueue", state={"delay": 0.5})
    waiting = await create(client, thread, "b", "enqueue")
    await said(client, thread, "a")
    joined = asyncio.create_task(other_client.runs.join(thread, run["run_id"]))
    await asyncio.sleep(0.1)
    await client.threads.delete(thread)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread)
    await asyncio.wait([joined], timeout=10)
    assert joined.done(), "a joiner hangs on a deleted thread"
    joined.exception()
    await asyncio.sleep(2)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread)
    assert await run_status(client, thread, waiting["run_id"]) == "gone"


async def test_cancel_at_the_same_instant_as_an_interrupting_create(
    client: LangGraphClient,
) -> None:
    """What the newest hook does on a second submit: both stops must be harmless together."""
    for _ in range(4):
        thread = await new_thread(client)
        victim = await create(client, thread, "a", "enqueue", state={"delay": 2})
        await said(client, thread, "a")
        cancelled, last = await asyncio.gather(
            client.runs.cancel(thread, victim["run_id"]),
            create(client, thread, "b", "interrupt", graph="echo"),
            return_exceptions=True,
        )
        assert cancelled is None or isinstance(cancelled, NotFoundError)
        assert not isinstance(last, APIStatusError)
        await client.runs.join(thread, last["run_id"])
        assert await listed(client, thread) == {
            victim["run_id"]: "interrupted",
            last["run_id"]: "success",
        }
        assert await contents(client, thread) == ["a", "b", "echo: b"]
        assert await thread_rests(client, thread) == "idle"


async def test_an_interrupt_before_the_claim(client: LangGraphClient) -> None:
    """The victim may be pending, being claimed or running when the second create comes."""

    async def play() -> None:
        thread = await new_thread(client)
        first, second = await asyncio.gather(
            create(client, thread, "a", "enqueue", state={"delay": 0.2}),
            create(client, thread, "b", "interrupt", graph="echo"),
        )
        await thread_rests(client, thread)
        statuses = await listed(client, thread)
        assert statuses[second["run_id"]] == "success"
        assert statuses[first["run_id"]] in ("interrupted", "success")
        spoken = await contents(client, thread)
        assert spoken.count("a") == 1 and spoken.count("b") == 1
        assert ("three" in spoken) == (statuses[first["run_id"]] == "success")

    for _ in range(4):
        await asyncio.gather(*(play() for _ in range(5)))
