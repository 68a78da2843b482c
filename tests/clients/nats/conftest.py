"""A `runloom all` on a database and a NATS server of its own, and the examples as processes."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
URL = re.compile(r"http://127\.0\.0\.1:\d+")
START_SECONDS = 30


def variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        pytest.exit(f"{name} is not set: run this by `scripts/nats-tests.sh`", 2)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what: str, done, seconds: float = START_SECONDS):
    """Asks again and again until there is an answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := done():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {what}")


@dataclass
class Nats:
    """A server that may be killed and comes back on the same port with its streams."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [variable("RUNLOOM_TEST_NATS_BIN"), "-a", "127.0.0.1", "-p", str(self.port)]
        command += ["-js", "-sd", str(self.folder / "store")]
        log = (self.folder / "nats.log").open("a")
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until("nats-server", self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class Runloom:
    """Gateway and worker in one process, with the test graphs."""

    folder: Path
    nats: Nats
    database: str
    url: str = ""
    process: subprocess.Popen | None = None

    def start(self) -> None:
        named = os.environ.get("RUNLOOM_BIN", "target/release/runloom")
        command = [str(ROOT / named), "all", "--migrate", "--test-graphs", "--port", "0"]
        command += ["--database-url", self.database, "--nats-url", self.nats.url]
        command += ["--nats-storage", "file", "--nats-max-bytes", "16"]
        out = self.folder / "runloom.out"
        with out.open("w") as stdout, (self.folder / "runloom.log").open("a") as stderr:
            self.process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        try:
            found = until("runloom", lambda: URL.search(out.read_text()))
        except AssertionError:
            print((self.folder / "runloom.log").read_text())
            raise
        self.url = found[0]

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory) -> Iterator[Nats]:
    server = Nats(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.kill()
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def runloom(tmp_path_factory, nats_server) -> Iterator[Runloom]:
    url = variable("RUNLOOM_TEST_DATABASE_URL")
    name = f"nats_{uuid.uuid4().hex}"
    psql = [variable("RUNLOOM_TEST_POSTGRES_BIN") + "/psql", "-q", "-X", "-d", url, "-c"]
    subprocess.run([*psql, f"create database {name}"], check=True)
    server = Runloom(tmp_path_factory.mktemp("runloom"), nats_server, f"{url.rsplit('/', 1)[0]}/{name}")
    server.start()
    yield server
    assert server.stop() == 0
    subprocess.run([*psql, f"drop database {name} with (force)"], check=True)


def environment(nats_server: Nats, graph: str) -> dict[str, str]:
    return {**os.environ, "NATS_URL": nats_server.url, "GRAPH": graph, "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def example(runloom, nats_server):
    """Runs an example to its end; answers with the lines it printed."""

    def run(name: str, *arguments: str, graph: str = "echo") -> list[str]:
        command = [sys.executable, str(HERE / name), *arguments]
        done = subprocess.run(
            command, env=environment(nats_server, graph), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.fixture
def background(tmp_path, runloom, nats_server) -> Iterator:
    """Starts an example that does not end; answers with what reads its lines so far."""
    processes = []

    def start(name: str, *arguments: str):
        out = tmp_path / f"{name}.out"
        with out.open("w") as stdout, (tmp_path / f"{name}.log").open("w") as stderr:
            command = [sys.executable, str(HERE / name), *arguments]
            env = environment(nats_server, "echo")
            processes.append(subprocess.Popen(command, stdout=stdout, stderr=stderr, env=env))
        return lambda: out.read_text().splitlines()

    yield start
    for process in processes:
        process.kill()
        process.wait()
