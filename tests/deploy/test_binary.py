"""What the chart, the images and the compose file tell the binary is what the binary understands."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from charts import ROLES, ROOT, container, env, pick, render, rendered, settings
from test_images import SERVICES
from value_sets import SETS

CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("RUNLOOM_", "PG", "OPENAI_"))
}


def options(binary, command):
    """The variables that a command reads."""
    text = subprocess.run([binary, command, "--help"], capture_output=True, text=True, check=True).stdout
    found = set(re.findall(r"\[env: (\w+)", text))
    assert found
    return found


@pytest.mark.parametrize("name", SETS)
def test_every_option_is_one_of_the_command(binary, name):
    told = list(settings(render(SETS[name])))
    assert len(told) >= 3
    for args, names, _ in told:
        ours = {name for name in names if name.startswith("RUNLOOM_")}
        assert ours <= options(binary, args[0]), args[0]
        assert "RUNLOOM_DATABASE_URL" in ours


@pytest.mark.parametrize("name", SETS)
def test_every_value_is_one_that_the_option_takes(binary, name):
    for args, _, values in settings(render(SETS[name])):
        # A database that is no address: what comes so far has understood everything else.
        given = CLEAN | values | {"RUNLOOM_DATABASE_URL": "nonsense", "RUNLOOM_HOST": "127.0.0.1"}
        given["RUNLOOM_NATS_PASSWORD"] = "x" if "RUNLOOM_NATS_USER" in values else ""
        given = {name: value for name, value in given.items() if value != ""}
        if "RUNLOOM_MONITOR" in given:
            given["RUNLOOM_MONITOR"] = "127.0.0.1:" + given["RUNLOOM_MONITOR"].rsplit(":", 1)[1]
        given.pop("RUNLOOM_CONFIG", None)
        ran = subprocess.run([binary, *args], env=given, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 1 and "--database-url" in ran.stderr, (args, ran.stderr)


def test_a_value_that_is_not_taken_is_seen(binary):
    given = CLEAN | {
        "RUNLOOM_DATABASE_URL": "nonsense",
        "RUNLOOM_NATS_URL": "nats://n",
        "RUNLOOM_SLOTS": "many",
    }
    ran = subprocess.run([binary, "worker"], env=given, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2 and "--slots" in ran.stderr


@pytest.mark.parametrize(
    "listen, monitor", [("0.0.0.0", "0.0.0.0:9100"), ("::", "[::]:9100"), ("::1", "[::1]:9100")]
)
def test_addresses_are_written_as_the_binary_reads_them(listen, monitor):
    objects = rendered({"listen": listen})
    assert env(container(objects, "worker"))["RUNLOOM_MONITOR"] == monitor
    assert env(container(objects, "gateway"))["RUNLOOM_HOST"] == listen


def test_every_setting_of_the_binary_can_be_set(binary):
    told = {name for values in SETS.values() for _, names, _ in settings(render(values)) for name in names}
    for role in ROLES:
        # These are for `env`, with whatever else graphs read.
        assert options(binary, role) - told == {"OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"}, role


# From here on with the servers that scripts/services.sh starts.

DATABASE = os.environ.get("RUNLOOM_TEST_DATABASE_URL", "")
NATS = os.environ.get("RUNLOOM_TEST_NATS_URL", "")


def sql(text, url=DATABASE):
    psql = os.path.join(os.environ["RUNLOOM_TEST_POSTGRES_BIN"], "psql")
    call = [psql, url, "--no-psqlrc", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
    return subprocess.run(
        [*call, "--command", text], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def database(binary):
    """A database with the schema, made as the chart's job makes it."""
    name = f"deploy_{os.getpid()}"
    sql(f"create database {name}")
    url = re.sub(r"/[^/?]*(\?|$)", rf"/{name}\1", DATABASE)
    told = next(values for args, _, values in settings(render(SETS["least"])) if args == ["migrate"])
    subprocess.run(
        [binary, "migrate"], env=CLEAN | told | {"RUNLOOM_DATABASE_URL": url}, check=True, timeout=120
    )
    return url


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def ask(url, body=None, timeout=5):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.status, answer.read()


@contextmanager
def running(binary, role, database, before=(), **more):
    """A process of a role, told what its pod is told but for the addresses; gives its pod and its port."""
    objects = rendered({role: {"port": free_port()}})
    ours = container(objects, role)
    given = CLEAN | env(ours) | {"RUNLOOM_DATABASE_URL": database, "RUNLOOM_NATS_URL": NATS}
    given |= {
        "RUNLOOM_NATS_PREFIX": f"deploy-{os.getpid()}",
        "RUNLOOM_HOST": "127.0.0.1",
        "RUNLOOM_NATS_MAX_BYTES": "8",
    }
    port = ours["ports"][0]["containerPort"]
    if role == "worker":
        given["RUNLOOM_MONITOR"] = f"127.0.0.1:{port}"
    process = subprocess.Popen([*before, binary, *ours["args"]], env=given | more, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        yield ours, port, process
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=60)[1]
        assert process.returncode == 0, told
    finally:
        process.kill()
        process.wait()


def probe(container, kind, port):
    get = container[kind]["httpGet"]
    named = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert named[get["port"]] == port
    return ask(f"http://127.0.0.1:{port}{get['path']}")


def started(container, port, process):
    """Asks the startup probe as a kubelet would."""
    for _ in range(container["startupProbe"]["failureThreshold"] * 10):
        assert process.poll() is None, process.stderr.read()
        try:
            return probe(container, "startupProbe", port)
        except OSError:
            time.sleep(0.1)
    raise AssertionError("it did not start")


def healthcheck(service, port):
    """The test of the compose file, on another port."""
    _, *command = SERVICES[service]["healthcheck"]["test"]
    said = re.search(r"/dev/tcp/127\.0\.0\.1/(\d+)", command[-1])[1]
    command[-1] = command[-1].replace("$$", "$").replace(f"/{said}", f"/{port}", 1)
    return said, subprocess.run(command, capture_output=True, timeout=20).returncode


@pytest.mark.parametrize(
    "role, service, usual", [("gateway", "gateway-1", "8123"), ("worker", "worker", "9100")]
)
def test_probes_and_numbers_are_there(binary, database, role, service, usual):
    with running(binary, role, database) as (pod, port, process):
        assert started(pod, port, process)[0] == 200
        for kind in ("livenessProbe", "readinessProbe"):
            assert json.loads(probe(pod, kind, port)[1])["ok"] is True
        assert b"# TYPE runloom_" in ask(f"http://127.0.0.1:{port}/metrics")[1]
        assert healthcheck(service, port) == (usual, 0)
    # Nobody is there any more.
    assert healthcheck(service, port)[1] != 0
    assert {"gateway": "8123", "worker": "9100"}[role] == str(
        container(rendered(), role)["ports"][0]["containerPort"]
    )


def test_the_helm_test_passes_and_fails(binary, database):
    pod = pick(rendered(), "Pod")["spec"]
    asks = next(each for each in pod["containers"] if each["name"] == "gateway")
    with running(binary, "gateway", database) as (about, port, process):
        started(about, port, process)
        call = {
            "args": asks["command"],
            "env": CLEAN | {"HOST": "127.0.0.1", "PORT": str(port)},
            "timeout": 20,
        }
        told = subprocess.run(**call, capture_output=True, text=True)
        assert (told.stdout, told.returncode) == ("the gateway answers 200\n", 0)
    assert subprocess.run(**call, capture_output=True).returncode != 0
    told = next(values for args, _, values in settings(rendered()) if args == ["doctor"])
    given = (
        CLEAN
        | told
        | {"RUNLOOM_DATABASE_URL": database, "RUNLOOM_NATS_URL": NATS, "RUNLOOM_NATS_MAX_BYTES": "8"}
    )
    given["RUNLOOM_NATS_PREFIX"] = f"deploy-{os.getpid()}"
    assert subprocess.run([binary, "doctor"], env=given, capture_output=True, timeout=60).returncode == 0
    given["RUNLOOM_DATABASE_URL"] = DATABASE  # it has no schema
    assert subprocess.run([binary, "doctor"], env=given, capture_output=True, timeout=60).returncode == 1


def test_the_backlog_is_counted(binary, database):
    trigger = pick(rendered({"worker": {"keda": {"enabled": True}}}), "ScaledObject")["spec"]["triggers"][0]
    query = trigger["metadata"]["query"]
    assert sql(query, database) == "0"
    with running(binary, "gateway", database) as (pod, port, process):
        started(pod, port, process)
        here = f"http://127.0.0.1:{port}"
        run = {"assistant_id": "agent", "input": {"messages": []}, "multitask_strategy": "enqueue"}
        threads = [json.loads(ask(f"{here}/threads", {})[1])["thread_id"] for _ in range(3)]
        for thread in (threads[0], threads[0], threads[1]):
            ask(f"{here}/threads/{thread}/runs", run)
        # Not yet due.
        ask(f"{here}/threads/{threads[2]}/runs", run | {"after_seconds": 3600})
    # Two on one thread need one slot.
    assert sql(query, database) == "2"
    # As the user whom docs/kubernetes.md makes for this.
    page = (ROOT / "docs/kubernetes.md").read_text()
    name = f"keda_{os.getpid()}"
    for line in re.search(r"```sql\n(.*?)```", page, re.DOTALL)[1].strip().splitlines():
        sql(line.replace("keda", name), database)
    assert sql(query, re.sub(r"//[^@/]*@", f"//{name}@", database)) == "2"


def test_the_password_may_be_beside_the_url_and_have_any_characters(binary, database):
    name, password = f"guest_{os.getpid()}", "p@ss/w:rd#%?&"
    sql(f"create role {name} login superuser password '{password}'")
    file = sql("show hba_file")
    before = sql(f"select pg_read_file('{file}')")
    text = f"host all {name} all scram-sha-256\n{before}\n".replace("'", "''")
    # `copy` writes backslashes for ends of lines, so each line is a row.
    sql(f"copy (select unnest(string_to_array('{text}', e'\\n'))) to '{file}'")
    sql("select pg_reload_conf()")
    url = re.sub(r"//[^@/]*@", f"//{name}@", database)
    told = container(rendered({"database": {"password": {"secretName": "s"}}}), "gateway")["env"]
    variable = next(
        each["name"] for each in told if each.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "s"
    )
    given = CLEAN | {"RUNLOOM_DATABASE_URL": url, "RUNLOOM_LOG": "warn"}
    right, wrong = (
        subprocess.Popen([binary, "migrate"], env=given | {variable: each}, stderr=subprocess.PIPE, text=True)
        for each in (password, "another")
    )
    try:
        assert right.wait(30) == 0, right.stderr.read()
        assert "password authentication failed" in wrong.stderr.readline()
    finally:
        for each in (right, wrong):
            each.kill()
            each.wait()


def box(folder):
    """As in a container of the image: another user, files that are only read, and one folder to write to.

    There it is `/tmp`; here all of this may lie in `/tmp`, so it is another. The user may read everything, for
    an interpreter may lie in somebody's home here.
    """
    steps = """
        mount -t tmpfs tmpfs "$0"
        mount -o remount,ro,bind /
        ! mountpoint --quiet /tmp || mount -o remount,ro,bind /tmp
        exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs \\
            --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search \\
            --bounding-set=-all,+dac_read_search "$@"
    """
    alone = ["unshare", "--mount", "--propagation", "private", "bash", "-ec", steps]
    return ["env", f"TMPDIR={folder}", f"HOME={folder}", *alone, str(folder)]


def boxed(folder, *command):
    return subprocess.run([*box(folder), *command], capture_output=True, text=True, timeout=60).returncode


@pytest.fixture
def folder(tmp_path):
    """What may be written to in a box."""
    if boxed(tmp_path, "true") != 0:
        pytest.skip("this user may not make mount namespaces")
    return tmp_path


def test_a_box_is_closed(folder):
    assert boxed(folder, "touch", f"{folder}/here") == 0
    for elsewhere in ("/here", "/tmp/here", "/var/tmp/here", str(ROOT / "here")):
        assert boxed(folder, "touch", elsewhere) != 0, elsewhere


def test_both_roles_run_with_one_folder_to_write_to(binary, database, folder):
    for role in ROLES:
        with running(binary, role, database, before=box(folder)) as (pod, port, process):
            assert started(pod, port, process)[0] == 200
            uid = re.search(r"Uid:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]
            assert uid == "10001"
            assert json.loads(probe(pod, "readinessProbe", port)[1])["ok"] is True


def test_so_do_graphs_in_python(binary, database, folder):
    project = {"RUNLOOM_CONFIG": str(ROOT / "examples/python-agents/langgraph.json")}
    project |= {"RUNLOOM_PYTHON": str(ROOT / ".venv"), "PYTHONDONTWRITEBYTECODE": "1"}
    with running(binary, "gateway", database, before=box(folder), **project) as (pod, port, process):
        started(pod, port, process)
        with running(binary, "worker", database, before=box(folder), **project) as (other, theirs, worker):
            started(other, theirs, worker)
            message = {"role": "user", "content": "Hello"}
            run = {"assistant_id": "assistant", "input": {"messages": [message]}}
            values = json.loads(ask(f"http://127.0.0.1:{port}/runs/wait", run, timeout=60)[1])
            assert values["messages"][-1]["type"] == "ai" and values["messages"][-1]["content"]
