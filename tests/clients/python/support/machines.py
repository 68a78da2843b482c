"""A gateway and workers of a test's own, on the Postgres and NATS servers of scripts/services.sh."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from pathlib import Path

from support.server import STOP_SECONDS, URL, Server, binary, environment
from support.waiting import eventually


class Role:
    """One process."""

    def __init__(self, arguments: list[str], log: Path, variables: dict[str, str]) -> None:
        self.out, self.log = log.with_suffix(".out"), log
        with self.out.open("w") as out, log.open("w") as errors:
            self.process = subprocess.Popen(
                [str(binary()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env={**environment(), **variables},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self, how: signal.Signals) -> int:
        """Sends a signal and waits for the end; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(STOP_SECONDS)


class Machines:
    """One gateway and two workers with a database of their own."""

    def __init__(self, project: Path, folder: Path, *worker_flags: str) -> None:
        name = f"machines_{uuid.uuid4().hex[:12]}"
        shared = os.environ["RUNLOOM_TEST_DATABASE_URL"]
        psql = Path(os.environ["RUNLOOM_TEST_POSTGRES_BIN"]) / "psql"
        subprocess.run([psql, "-q", shared, "-c", f"create database {name}"], check=True)
        self.variables = {
            "RUNLOOM_DATABASE_URL": shared.rpartition("/")[0] + f"/{name}",
            "RUNLOOM_NATS_URL": os.environ["RUNLOOM_TEST_NATS_URL"],
            "RUNLOOM_NATS_PREFIX": name,
        }
        self.folder, self.flags = folder, ["--config", str(project), "--lease", "3"]
        self.workers: list[Role] = []
        self.gateway = self._start("gateway", "--migrate", "--port", "0")
        self.server = Server([eventually(lambda: _url(self.gateway), 60)])
        for _ in range(2):
            self.add_worker(*worker_flags)

    def _start(self, role: str, *arguments: str) -> Role:
        number = len(list(self.folder.glob("*.log")))
        log = self.folder / f"{number}-{role}.log"
        return Role([role, *self.flags, *arguments], log, self.variables)

    def add_worker(self, *flags: str) -> Role:
        """One more; answers when it works."""
        worker = self._start("worker", "--monitor", "127.0.0.1:0", *flags)
        eventually(lambda: "working" in worker.log.read_text(), 60)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        for role in [*self.workers, self.gateway]:
            if role.process.poll() is None:
                role.process.kill()
            role.process.wait(STOP_SECONDS)


def _url(gateway: Role) -> str | None:
    found = URL.search(gateway.out.read_text())
    return found.group() if found else None
