"""Assistants: a graph with its configuration, in versions."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError
from support.talk import human

AGENT = "fe096781-5601-53d2-b2f6-0d3403f7e9ca"


@pytest.fixture
async def assistant(client: LangGraphClient) -> Any:
    """An assistant of the test's own, removed afterwards."""
    made = await client.assistants.create(
        "config",
        name=f"mine {uuid.uuid4()}",
        description="for a test",
        metadata={"mark": str(uuid.uuid4())},
        config={"configurable": {"colour": "blue"}},
    )
    yield made
    try:
        await client.assistants.delete(made["assistant_id"])
    except NotFoundError:
        pass


async def test_system_assistants(client: LangGraphClient) -> None:
    agent = await client.assistants.get(AGENT)
    assert agent["graph_id"] == "agent" and agent["name"] == "agent"
    assert agent["metadata"]["created_by"] == "system"
    assert agent["version"] == 1


async def test_the_assistant_object(client: LangGraphClient, assistant: Any) -> None:
    keys = "assistant_id graph_id config context created_at updated_at metadata version"
    assert set(assistant) >= {*keys.split(), "name", "description"}
    assert assistant["version"] == 1 and assistant["description"] == "for a test"
    assert assistant["context"] == {"colour": "blue"}, "configurable is mirrored to context"
    assert await client.assistants.get(assistant["assistant_id"]) == assistant


async def test_create_with_an_id(client: LangGraphClient) -> None:
    wanted = str(uuid.uuid4())
    made = await client.assistants.create("echo", assistant_id=wanted)
    assert made["assistant_id"] == wanted and made["name"] == "Untitled"
    with pytest.raises(ConflictError):
        await client.assistants.create("echo", assistant_id=wanted)
    again = await client.assistants.create("echo", assistant_id=wanted, if_exists="do_nothing")
    assert again == made
    await client.assistants.delete(wanted)
    with pytest.raises(NotFoundError):
        await client.assistants.get(wanted)


async def test_its_configuration_reaches_the_graph(
    client: LangGraphClient, thread: str, assistant: Any
) -> None:
    own = assistant["assistant_id"]
    values = await client.runs.wait(thread, own, input=human("a"))
    shown = json.loads(values["messages"][-1]["content"])
    assert shown["colour"] == "blue" and shown["assistant_id"] == own
    values = await client.runs.wait(
        thread, own, input=human("b"), config={"configurable": {"colour": "red"}}
    )
    assert json.loads(values["messages"][-1]["content"])["colour"] == "red"


async def test_versions(client: LangGraphClient, assistant: Any) -> None:
    own = assistant["assistant_id"]
    second = await client.assistants.update(own, name="renamed", metadata={"extra": 1})
    assert second["version"] == 2 and second["name"] == "renamed"
    assert second["metadata"]["extra"] == 1
    assert second["metadata"]["mark"] == assistant["metadata"]["mark"], "metadata is merged"
    assert second["config"] == assistant["config"], "what is left out stays"
    versions = await client.assistants.get_versions(own)
    assert [version["version"] for version in versions] == [2, 1]
    first = await client.assistants.set_latest(own, 1)
    assert first["version"] == 1
    assert (await client.assistants.get(own))["name"] == assistant["name"]
    third = await client.assistants.update(own, description="third")
    assert third["version"] == 3, "a number is never used twice"
    with pytest.raises(NotFoundError):
        await client.assistants.set_latest(own, 99)


async def test_search(client: LangGraphClient, http: httpx.AsyncClient, assistant: Any) -> None:
    mark = {"mark": assistant["metadata"]["mark"]}
    [found] = await client.assistants.search(metadata=mark)
    assert found == assistant
    [found] = await client.assistants.search(graph_id="config", name=assistant["name"][5:20])
    assert found["assistant_id"] == assistant["assistant_id"]
    assert await client.assistants.search(metadata=mark, graph_id="echo") == []
    assert await client.assistants.count(metadata=mark) == 1
    page = await http.post("/assistants/search", json={"limit": 2})
    assert len(page.json()) == 2 and page.headers["x-pagination-next"] == "2"


async def test_graph_drawing(client: LangGraphClient) -> None:
    drawing = await client.assistants.get_graph("slow")
    ids = {node["id"] for node in drawing["nodes"]}
    assert ids == {"__start__", "one", "two", "three", "__end__"}
    edges = {(edge["source"], edge["target"]) for edge in drawing["edges"]}
    path = ["__start__", "one", "two", "three", "__end__"]
    assert edges == set(itertools.pairwise(path))
    agent = await client.assistants.get_graph(AGENT)
    assert any(edge.get("conditional") for edge in agent["edges"])


async def test_xray_opens_subgraphs(client: LangGraphClient) -> None:
    closed = await client.assistants.get_graph("nested")
    assert "child" in {node["id"] for node in closed["nodes"]}
    opened = await client.assistants.get_graph("nested", xray=True)
    assert any("inner_one" in str(node["id"]) for node in opened["nodes"])


async def test_schemas(client: LangGraphClient) -> None:
    schemas = await client.assistants.get_schemas(AGENT)
    assert schemas["graph_id"] == "agent"
    for key in ("input_schema", "output_schema", "state_schema"):
        assert "messages" in schemas[key]["properties"], key
    assert {"config_schema", "context_schema"} <= set(schemas)


async def test_subgraphs(client: LangGraphClient) -> None:
    [nested] = await client.assistants.search(graph_id="nested", metadata={"created_by": "system"})
    found = await client.assistants.get_subgraphs(nested["assistant_id"])
    assert set(found) == {"child"}


async def test_deleting_one_cancels_its_runs(
    client: LangGraphClient, thread: str, assistant: Any
) -> None:
    own = assistant["assistant_id"]
    await client.runs.create(thread, own, input=human("a"), after_seconds=600)
    await client.assistants.delete(own)
    runs = await client.runs.list(thread)
    assert all(run["status"] == "interrupted" for run in runs)
    assert (await client.threads.get(thread))["status"] == "idle"
