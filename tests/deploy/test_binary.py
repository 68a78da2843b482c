"""What the chart, the images and the compose file tell the binary is what the binary understands."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from charts import ROLES, ROOT, container, env, pick, render, rendered, settings
from processes import BUS, CLEAN, DATABASE, ask, new_database, running, sql
from test_images import SERVICES, image_check
from value_sets import SETS


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
        given.pop("RUNLOOM_MONITOR", None)
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
    for role in ROLES:
        assert env(container(objects, role))["RUNLOOM_MONITOR"] == monitor
    assert env(container(objects, "gateway"))["RUNLOOM_HOST"] == listen


def test_every_setting_of_the_binary_can_be_set(binary):
    told = {name for values in SETS.values() for _, names, _ in settings(render(values)) for name in names}
    for role in ROLES:
        # These are for `env`, with whatever else graphs read.
        assert options(binary, role) - told == {"OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"}, role


# From here on with servers.


@pytest.fixture(scope="module")
def database(binary):
    return new_database(binary, "deploy")


def healthcheck(binary, command, pod):
    """The check of an image or of the compose file, in the pod's own environment."""
    assert command[0] == "runloom"
    own = CLEAN | {"RUNLOOM_MONITOR": f"0.0.0.0:{pod.ports['monitor']}"}
    return subprocess.run([binary, *command[1:]], env=own, capture_output=True, timeout=20).returncode


@pytest.mark.parametrize("role, service", [("gateway", "gateway-1"), ("worker", "worker")])
def test_probes_and_numbers_are_there(binary, database, role, service):
    checks = [
        SERVICES[service]["healthcheck"]["test"][1:],
        image_check("runloom"),
        image_check("runloom-python"),
    ]
    with running(binary, role, database) as pod:
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert pod.probe(kind) == 200
        numbers = ask(pod.url("monitor") + "/metrics")[1]
        assert b"# TYPE runloom_" in numbers and numbers.endswith(b"\n")
        # By the same reader that KEDA has.
        read = subprocess.run(["promtool", "check", "metrics"], input=numbers, capture_output=True, timeout=20)
        assert read.returncode == 0, read.stderr.decode()
        if role == "gateway":
            assert ask(pod.url() + "/metrics")[0] == 404
        assert [healthcheck(binary, check, pod) for check in checks] == [0, 0, 0]
    # Nobody is there any more.
    assert 0 not in [healthcheck(binary, check, pod) for check in checks]
    assert container(rendered(), role)["ports"][-1] == {"name": "monitor", "containerPort": 9100}


def test_the_helm_test_passes_and_fails(binary, database):
    pod = pick(rendered(), "Pod")["spec"]
    asks = next(each for each in pod["containers"] if each["name"] == "gateway")
    assert asks["args"] == ["health", "http://demo-runloom-gateway:80/ready"]
    with running(binary, "gateway", database) as gateway:
        call = [binary, "health", gateway.url() + "/ready"]
        assert subprocess.run(call, env=CLEAN, capture_output=True, timeout=20).returncode == 0
    assert subprocess.run(call, env=CLEAN, capture_output=True, timeout=20).returncode == 1
    told = next(values for args, _, values in settings(rendered()) if args == ["doctor"])
    given = CLEAN | told | BUS | {"RUNLOOM_DATABASE_URL": database}
    assert subprocess.run([binary, "doctor"], env=given, capture_output=True, timeout=60).returncode == 0
    given["RUNLOOM_DATABASE_URL"] = DATABASE  # it has no schema
    assert subprocess.run([binary, "doctor"], env=given, capture_output=True, timeout=60).returncode == 1


def test_the_backlog_is_where_keda_reads_it(binary, database):
    about = pick(rendered({"worker": {"keda": {"enabled": True}}}), "ScaledObject")["spec"]["triggers"][0][
        "metadata"
    ]

    def backlog():
        text = ask(gateway.url("monitor") + "/metrics")[1].decode()
        (line,) = (line for line in text.splitlines() if line.startswith(about["valueLocation"] + " "))
        return float(line.split()[1])

    def told(expected):
        until = time.monotonic() + 30
        while backlog() != expected and time.monotonic() < until:
            time.sleep(0.2)
        return backlog() == expected

    with running(binary, "gateway", database) as gateway:
        assert told(0)
        here = gateway.url()
        run = {"assistant_id": "agent", "input": {"messages": []}, "multitask_strategy": "enqueue"}
        threads = [json.loads(ask(f"{here}/threads", {})[1])["thread_id"] for _ in range(3)]
        for thread in (threads[0], threads[0], threads[1]):
            assert ask(f"{here}/threads/{thread}/runs", run)[0] == 200
        # Not yet due.
        assert ask(f"{here}/threads/{threads[2]}/runs", run | {"after_seconds": 3600})[0] == 200
        # Two on one thread need one slot.
        assert told(2)


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
        with running(binary, role, database, before=box(folder)) as pod:
            status = Path(f"/proc/{pod.process.pid}/status").read_text()
            assert re.search(r"Uid:\s+(\d+)", status)[1] == "10001"


def test_so_do_graphs_in_python(binary, database, folder):
    project = {"RUNLOOM_CONFIG": str(ROOT / "examples/python-agents/langgraph.json")}
    project |= {"RUNLOOM_PYTHON": str(ROOT / ".venv"), "PYTHONDONTWRITEBYTECODE": "1"}
    with running(binary, "gateway", database, before=box(folder), **project) as gateway:
        with running(binary, "worker", database, before=box(folder), **project):
            message = {"role": "user", "content": "Hello"}
            run = {"assistant_id": "assistant", "input": {"messages": [message]}}
            values = json.loads(ask(gateway.url() + "/runs/wait", run, timeout=60)[1])
            assert values["messages"][-1]["type"] == "ai" and values["messages"][-1]["content"]
