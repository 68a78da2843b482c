"""Fixtures: the shared server, servers of a test's own, clients."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from support.server import Server, ServerProcess, free_port, named_urls, served
from support.talk import new_thread

# Graphs in Python are tested where a project of them is served. Who listens to a run is told the same by
# the same code, whatever executes it.
collect_ignore = ["test_fanout.py"] if "RUNLOOM_TEST_CONFIG" in os.environ else ["graphs"]

_SHARED = pytest.StashKey[ServerProcess]()
_SCRATCH = pytest.StashKey[Path]()
_URLS = pytest.StashKey[list[str]]()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_sessionstart(session: pytest.Session) -> None:
    """One server for all test processes: started by the first one, its URL handed on."""
    config = session.config
    if _is_worker(config):
        config.stash[_URLS] = config.workerinput["runloom_urls"]
        return
    urls = named_urls()
    if not urls and not config.option.collectonly:
        scratch = Path(tempfile.mkdtemp(prefix="runloom-tests-"))
        config.stash[_SCRATCH] = scratch
        shared = ServerProcess(data=scratch / "data", log=scratch / "server.log")
        config.stash[_SHARED] = shared
        urls = [shared.start().url]
    config.stash[_URLS] = urls


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput["runloom_urls"] = node.config.stash[_URLS]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    shared = config.stash.get(_SHARED, None)
    if shared is None:
        return
    died = shared.process is not None and shared.process.poll() is not None
    shared.stop()
    scratch = config.stash[_SCRATCH]
    if died or exitstatus not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        print(f"\nserver log kept: {scratch / 'server.log'}" + (" (it died)" if died else ""))
        shutil.rmtree(scratch / "data", ignore_errors=True)
    else:
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    """The server that all tests share."""
    return Server(pytestconfig.stash[_URLS])


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    client = server.client()
    yield client
    await client.aclose()


@pytest.fixture
async def other_client(server: Server) -> AsyncIterator[LangGraphClient]:
    """A second client with connections of its own."""
    client = server.client()
    yield client
    await client.aclose()


@pytest.fixture
def sync_client(server: Server) -> Iterator[SyncLangGraphClient]:
    client = server.sync_client()
    yield client
    client.close()


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with server.http() as http:
        yield http


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    """A fresh thread."""
    return await new_thread(client)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers of the test's own, which it may kill."""
    if named_urls() and "RUNLOOM_BIN" not in os.environ:
        pytest.skip("needs a server of its own: set RUNLOOM_BIN")
    started: list[ServerProcess] = []

    def start(
        *flags: str, memory: bool = False, project: Path | None = None
    ) -> ServerProcess:
        """A server; of the graphs of a project, if one is named."""
        process = ServerProcess(
            data=None if memory else tmp_path / "data",
            flags=flags,
            graphs=["--config", str(project)] if project else served(),
            port=free_port(),
            log=tmp_path / "server.log",
        )
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.stop()
