"""Processes that stand for pods: started with what the chart would tell them, asked and stopped as a kubelet
does it. The servers are those that scripts/services.sh starts."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

from charts import container, env, pod, render, rendered, settings
from value_sets import SETS

CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("RUNLOOM_", "PG", "OPENAI_", "OTEL_"))
}
DATABASE = os.environ.get("RUNLOOM_TEST_DATABASE_URL", "")
NATS = os.environ.get("RUNLOOM_TEST_NATS_URL", "")
# Streams of NATS that a whole session of tests shares, small enough for any disk.
BUS = {
    "RUNLOOM_NATS_URL": NATS,
    "RUNLOOM_NATS_PREFIX": f"deploy-{os.getpid()}",
    "RUNLOOM_NATS_MAX_BYTES": "8",
}


def sql(text, url=DATABASE):
    psql = os.path.join(os.environ["RUNLOOM_TEST_POSTGRES_BIN"], "psql")
    call = [psql, url, "--no-psqlrc", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
    ran = subprocess.run([*call, "--command", text], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def new_database(binary, name):
    """A database with the schema, made as the chart's job makes it; gives its URL."""
    name = f"{name}_{os.getpid()}"
    sql(f"create database {name}")
    url = re.sub(r"/[^/?]*(\?|$)", rf"/{name}\1", DATABASE)
    told = next(values for args, _, values in settings(render(SETS["least"])) if args == ["migrate"])
    given = CLEAN | told | {"RUNLOOM_DATABASE_URL": url}
    subprocess.run([binary, "migrate"], env=given, check=True, timeout=120)
    return url


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def ask(url, body=None, timeout=5):
    """What is answered: a status and a body. Refused connections and silence are errors."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


class Pod:
    """A process of a role, told what its pod is told but for addresses."""

    def __init__(self, binary, objects, role, database, *, before=(), **more):
        self.spec, self.container = pod(objects, role), container(objects, role)
        # The ports that its container names, and where they are here.
        self.ports = {each["name"]: free_port() for each in self.container["ports"]}
        given = CLEAN | env(self.container) | BUS | {"RUNLOOM_DATABASE_URL": database}
        if "http" in self.ports:
            given |= {"RUNLOOM_HOST": "127.0.0.1", "RUNLOOM_PORT": str(self.ports["http"])}
        if "monitor" in self.ports:
            given["RUNLOOM_MONITOR"] = f"127.0.0.1:{self.ports['monitor']}"
        self.told = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [*before, binary, *self.container["args"]],
            env=given | more,
            stdout=subprocess.DEVNULL,
            stderr=self.told,
        )

    def url(self, port="http"):
        return f"http://127.0.0.1:{self.ports[port]}"

    def log(self):
        self.told.seek(0)
        return self.told.read()

    def probe(self, kind):
        """What a probe is answered: a status, or None where nobody answers in time."""
        settings = self.container[kind]
        get = settings["httpGet"]
        try:
            return ask(self.url(get["port"]) + get["path"], timeout=settings["timeoutSeconds"])[0]
        except OSError:
            return None

    def ready(self):
        return self.probe("readinessProbe") == 200

    def started(self):
        """Waits until it is ready, as a kubelet would, but not as patiently."""
        settings = self.container["startupProbe"]
        until = time.monotonic() + min(60, settings["failureThreshold"] * settings["periodSeconds"])
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log()
            if self.probe("startupProbe") == 200 and self.ready():
                return self
            time.sleep(0.1)
        raise AssertionError("it did not start:\n" + self.log())

    # When it was told to stop.
    signalled = float("inf")

    def stop(self):
        """Stops it as a kubelet does. Gives its exit code, and how long that took."""
        began = time.monotonic()
        hook = self.container.get("lifecycle", {}).get("preStop", {})
        time.sleep(hook.get("sleep", {}).get("seconds", 0))
        self.signalled = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        left = self.spec["terminationGracePeriodSeconds"] - (time.monotonic() - began)
        try:
            code = self.process.wait(left)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return code, time.monotonic() - began

    def end(self):
        """Whatever happened: nothing of it stays."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.told.close()


@contextmanager
def running(binary, role, database, *layers, before=(), **more):
    """A ready pod of a role, that is told to stop at the end and does."""
    quick = {role: {"preStopSeconds": 0}}
    found = Pod(binary, rendered(quick, *layers), role, database, before=before, **more)
    try:
        yield found.started()
        code, _ = found.stop()
        assert code == 0, found.log()
    finally:
        found.end()


@contextmanager
def meanwhile(work):
    """Does `work(stop)` in a thread, where `stop` is an event; what it raises is raised here at the end."""
    stop, raised = threading.Event(), []

    def guarded():
        try:
            work(stop)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive(), "it did not end"
    if raised:
        raise raised[0]
