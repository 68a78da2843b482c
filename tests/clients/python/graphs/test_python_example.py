"""The example project, served as its README says."""

from __future__ import annotations

from collections.abc import Callable

from langchain_core.messages import convert_to_messages
from support.conversation import kinds
from support.overheard import Overheard
from support.server import ROOT, ServerProcess
from support.talk import human, new_thread, state_messages

EXAMPLE = ROOT / "examples/python-agents/langgraph.json"


async def test_the_example(launch: Callable[..., ServerProcess]) -> None:
    client = launch(memory=True, project=EXAMPLE).server.client()
    served = {found["graph_id"] for found in await client.assistants.search()}
    assert served == {"assistant", "approval", "research"}
    thread = await new_thread(client)
    story = human("Tell me a story [call=search tokens=200 rate=20]")
    run = Overheard(client, thread, "assistant", story)
    await run.hears(lambda run: len("".join(run.texts().values()).split()) > 5)
    await client.runs.wait(
        thread, "assistant", input=human("Stop. What is new?"), multitask_strategy="interrupt"
    )
    await run.ended()
    messages = await state_messages(client, thread)
    assert kinds(messages) == ["human", "ai", "tool", "ai", "human", "ai"]
    assert messages[3]["content"] == "".join(run.texts().values()).rstrip()
    assert len(convert_to_messages(messages)) == 6
    await client.aclose()
