"""Every way to offer a graph, in a real process."""

from __future__ import annotations

from typing import Any, AsyncIterator

import pytest
import pytest_asyncio
from worker import PROJECT, Worker, working

from runloom_executor.errors import Invalid, ProtocolError

SHAPES = (
    "compiled builder own_checkpointer functional no_arguments with_config any_name with_runtime with_both "
    "async_context sync_context async_generator generator maker needs_flavor no_graph too_much sharing "
    "closed_over a_number log_something missing"
)
GRAPHS = {
    **{name: f"./shapes.py:{name}" for name in SHAPES.split()},
    "by_module": "shop.agent:graph",
    "by_file": "./shop/agent.py:graph",
    "described": {"path": "shapes:compiled", "description": "says something"},
    "absolute": f"{PROJECT}/shop/agent.py:graph",
    "broken_module": "./broken_module.py:graph",
    "broken_syntax": "./broken_syntax.py:graph",
    "no_file": "./no_such_file.py:graph",
    "no_name": "./shapes.py",
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Worker]:
    async with working(GRAPHS) as worker:
        yield worker


async def said_by(worker: Worker, graph: str, **body: Any) -> Any:
    end = await worker.run(graph, {"done": []}, **body).end()
    assert end["outcome"] == "success", end
    return end["head"]["values"]["done"]


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        ("compiled", ["compiled"]),
        ("builder", ["builder"]),
        ("no_arguments", ["no_arguments"]),
        ("with_config", ["config", "sour"]),
        ("any_name", ["config", "sour"]),
        ("with_runtime", ["runtime", "threads.create_run", "{'flavor': 'sweet'}", "HostStore"]),
        ("with_both", ["sour", "ann"]),
        ("async_context", ["async context", "async"]),
        ("sync_context", ["sync context"]),
        ("async_generator", ["async generator"]),
        ("generator", ["generator"]),
        ("maker", ["object"]),
        ("needs_flavor", ["sour"]),
        ("by_module", ["shop"]),
        ("by_file", ["shop"]),
        ("absolute", ["shop"]),
        ("described", ["compiled"]),
        ("own_checkpointer", ["own"]),
    ],
)
async def test_a_graph_in_this_shape_is_executed(worker: Worker, graph: str, said: list[str]) -> None:
    config = {"configurable": {"flavor": "sour", "langgraph_auth_user": {"identity": "ann"}}}
    assert worker.graph(graph)["error"] is None
    assert await said_by(worker, graph, config=config, context={"flavor": "sweet"}) == said


async def test_a_functional_graph_is_executed(worker: Worker) -> None:
    end = await worker.run("functional", [1, 2]).end()
    assert (end["outcome"], end["head"]["values"]) == ("success", {"done": ["2", "4"]})


@pytest.mark.parametrize("graph", ["async_context", "sync_context", "async_generator", "generator"])
async def test_what_a_factory_opened_is_closed(worker: Worker, graph: str) -> None:
    attempt = worker.run(graph, {"done": []})
    await attempt.end()
    await worker.line(graph.replace("_", " ") + " closed", attempt.run_id)


async def test_questions_do_not_execute(worker: Worker) -> None:
    attempt = worker.run("with_runtime", {"done": []})
    await attempt.end()
    assert (await worker.state(attempt))["values"]["done"][0] == "runtime"


@pytest.mark.parametrize(
    ("graph", "type", "part"),
    [
        ("broken_module", "RuntimeError", "this module is broken"),
        ("broken_syntax", "SyntaxError", "invalid syntax"),
        ("no_file", "FileNotFoundError", "no_such_file.py"),
        ("no_name", "ValueError", "file.py:name"),
        ("missing", "AttributeError", "'missing'"),
        ("a_number", "TypeError", "int"),
        ("too_much", "TypeError", "'more'"),
    ],
)
async def test_what_does_not_load_says_why_and_hides_nothing(
    worker: Worker, graph: str, type: str, part: str
) -> None:
    error = worker.graph(graph)["error"]
    assert error["type"] == type
    assert part in error["message"]
    assert error["traceback"].startswith("Traceback")
    with pytest.raises(Invalid, match=type):
        await worker.run(graph, {}).end()


async def test_a_factory_that_makes_no_graph_fails_its_runs(worker: Worker) -> None:
    end = await worker.run("no_graph", {}).end()
    assert (end["outcome"], end["error"]["type"]) == ("failed", "Invalid")
    assert "str" in end["error"]["message"]


async def test_the_manifest_describes_graphs(worker: Worker) -> None:
    assert worker.manifest["protocol"] == 1
    assert worker.manifest["language"] == "python"
    assert worker.manifest["pid"] == worker.process.pid
    assert {"langgraph", "python"} <= set(worker.manifest["versions"])
    assert worker.graph("described")["description"] == "says something"
    assert worker.graph("builder")["factory"] is False
    assert worker.graph("with_config")["factory"] is True
    assert worker.graph("sharing")["messages_channel"] == "messages"
    assert worker.graph("sharing")["shared_subgraph_nodes"] == ["inner"]
    assert worker.graph("closed_over")["shared_subgraph_nodes"] == []


async def test_a_graph_with_a_checkpointer_of_its_own_is_said_once_to_lose_it(worker: Worker) -> None:
    for _ in range(2):
        attempt = worker.run("own_checkpointer", {"done": []})
        await attempt.end()
        assert len(worker.shelf.checkpoints[attempt.thread_id]) > 0
    warnings = [line for line in worker.lines if "checkpointer of its own" in line["message"]]
    assert len(warnings) == 1
    assert warnings[0]["level"] == "warning"


async def test_logs_and_threads_say_whose_they_are(worker: Worker) -> None:
    attempt = worker.run("log_something", {"done": []})
    await attempt.end()
    logged = await worker.line("from the node")
    assert (logged["level"], logged["logger"], logged["run_id"]) == ("info", "project", attempt.run_id)
    printed = await worker.line("from a thread")
    assert (printed["logger"], printed["run_id"]) == ("stdout", attempt.run_id)


async def test_another_protocol_is_not_spoken() -> None:
    async with working({}) as worker:
        with pytest.raises(Invalid):
            await worker.control.ask("hello", {"protocol": 1, "graphs": {}})
    newer = Worker()
    newer.protocol = 99
    with pytest.raises(ProtocolError) as refused:
        try:
            await newer.start({})
        finally:
            await newer.close()
    assert refused.value.type == "Protocol"


async def test_a_project_that_configures_its_logging_keeps_it() -> None:
    async with working({"noting": "./configured.py:noting"}) as worker:
        attempt = worker.run("noting", {"done": []})
        await attempt.end()
        await worker.line("in our format: noted", attempt.run_id)
        assert "noted" not in [line["message"] for line in worker.lines]
