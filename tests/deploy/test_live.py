"""A real Prometheus collects from a gateway and a worker under load: it takes the rules, and every panel
of the dashboard has something to show."""

import json
import math
import re
import subprocess
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from charts import ROLES, ROOT, pick, rendered
from processes import ask, free_port, new_database, running
from test_monitoring import KINDS, PANELS, trigger

NAMES = {"gateway": "demo-runloom-gateway-5d9c-a", "worker": "demo-runloom-worker-7f6b-a"}
# Graphs in Python, so that there are numbers of executors, too.
GRAPHS = {"config": str(ROOT / "tests/graphs/served/langgraph.json"), "python": str(ROOT / ".venv")}
# A run of this takes so many seconds for each of its three nodes.
SLOW = {"assistant_id": "slow", "input": {"messages": [{"role": "user", "content": "go"}], "delay": 1.0}}


class Prometheus:
    """One that collects from pods each second, and names them as they would be named in a cluster."""

    def __init__(self, folder, pods, rules):
        (folder / "rules.yml").write_text(yaml.dump(rules))
        self.url = f"http://127.0.0.1:{free_port()}"
        targets = [
            {"targets": [f"127.0.0.1:{each.ports['monitor']}"], "labels": {"meta_name": NAMES[role]}}
            for role, each in pods.items()
        ]
        relabel = [
            {"source_labels": ["meta_name"], "target_label": "pod"},
            {"target_label": "namespace", "replacement": "prod"},
            {"regex": "meta_name", "action": "labeldrop"},
        ]
        job = {"job_name": "runloom", "static_configs": targets, "relabel_configs": relabel}
        about = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                 "rule_files": ["rules.yml"], "scrape_configs": [job]}  # fmt: skip
        (folder / "prometheus.yml").write_text(yaml.dump(about))
        self.told = (folder / "log").open("w+")
        command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                   f"--web.listen-address={self.url.removeprefix('http://')}"]  # fmt: skip
        self.process = subprocess.Popen(command, cwd=folder, stdout=self.told, stderr=self.told)

    def get(self, path, **parameters):
        status, body = ask(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        if status == 503:
            raise ConnectionError(body)  # It listens before it has started.
        answer = json.loads(body)
        assert status == 200 and answer["status"] == "success", answer
        return answer["data"]

    def query(self, text):
        """Numbers that a query finds now, by their labels."""
        return {
            json.dumps(each["metric"], sort_keys=True): float(each["value"][1])
            for each in self.get("query", query=text)["result"]
        }

    def eventually(self, found, seconds=30):
        """Waits until something holds."""
        until = time.monotonic() + seconds
        while True:
            assert self.process.poll() is None, (self.told.seek(0), self.told.read())[1]
            try:
                if found():
                    return True
            except OSError:
                pass
            if time.monotonic() > until:
                return False
            time.sleep(0.2)

    def end(self):
        self.process.terminate()
        self.process.wait(20)
        self.told.close()


def submit(here, thread, **more):
    status, body = ask(f"{here}/threads/{thread}/runs", SLOW | more, timeout=30)
    return json.loads(body).get("run_id") if status == 200 else status


def running_now(here, thread, run):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if json.loads(ask(f"{here}/threads/{thread}/runs/{run}")[1])["status"] == "running":
            return True
        time.sleep(0.05)
    return False


def load(here):
    """Runs that end in all ways: by themselves, stopped by another, rolled back, cancelled, in an error."""

    def thread():
        return json.loads(ask(f"{here}/threads", {})[1])["thread_id"]

    def replaced(strategy):
        mine = thread()
        first = submit(here, mine)
        assert running_now(here, mine, first)
        second = submit(here, mine, multitask_strategy=strategy)
        return ask(f"{here}/threads/{mine}/runs/{second}/join", timeout=60)[0] == 200

    def rejected():
        mine = thread()
        first = submit(here, mine)
        refused = submit(here, mine, multitask_strategy="reject")
        assert running_now(here, mine, first)
        stop = f"{here}/threads/{mine}/runs/{first}/cancel?wait=true"
        return refused == 409 and ask(stop, {}, timeout=60)[0] in (200, 202, 204)

    def streamed():
        run = SLOW | {"assistant_id": "tokens", "stream_mode": ["messages-tuple"]}
        return b"event: messages" in ask(f"{here}/runs/stream", run, timeout=60)[1]

    def failed():
        return b"kaboom" in ask(f"{here}/runs/wait", SLOW | {"assistant_id": "fail"}, timeout=60)[1]

    jobs = [lambda: replaced("interrupt"), lambda: replaced("rollback"), rejected, streamed, failed]
    with ThreadPoolExecutor(len(jobs)) as pool:
        assert [each.result() for each in [pool.submit(job) for job in jobs]] == [True] * len(jobs)


@pytest.fixture(scope="module")
def prometheus(binary, tmp_path_factory):
    values = {"graphs": GRAPHS, "metrics": {"rules": {"enabled": True}}}
    rules = {"groups": pick(rendered(values), "PrometheusRule")["spec"]["groups"]}
    database = new_database(binary, "live")
    with running(binary, "worker", database, values) as worker:
        with running(binary, "gateway", database, values) as gateway:
            found = Prometheus(
                tmp_path_factory.mktemp("prometheus"), {"gateway": gateway, "worker": worker}, rules
            )
            try:
                assert found.eventually(lambda: len(found.query("up == 1")) == len(ROLES))
                # Twice, for histograms are not there before the first time, and grow with the second.
                for times in (1, 2):
                    load(gateway.url())
                    stopped = f'sum(runloom_settlements_total{{outcome="interrupted"}}) >= {2 * times}'
                    assert found.eventually(
                        lambda over=stopped: found.query(f"{over} and sum(runloom_runs) == 0")
                    )
                yield found
            finally:
                found.end()


def test_both_roles_are_collected_as_in_a_cluster(prometheus):
    found = prometheus.get("targets", state="active")["activeTargets"]
    assert {each["labels"]["pod"] for each in found} == set(NAMES.values())
    assert {each["health"] for each in found} == {"up"}, found
    assert {each["labels"]["namespace"] for each in found} == {"prod"}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_something_to_show(prometheus, panel):
    for target in panel["targets"]:
        plain = target["expr"].replace("$namespace", "prod").replace("$pod", ".+")
        plain = plain.replace("$__rate_interval", "5m")
        assert "$" not in plain
        found = prometheus.query(plain)
        assert any(math.isfinite(value) for value in found.values()), (plain, found)


def test_variables_of_the_dashboard_have_values(prometheus):
    for label in ("namespace", "pod"):
        assert prometheus.get(f"label/{label}/values", **{"match[]": "runloom_build_info"})


def test_rules_are_evaluated(prometheus):
    def rules():
        return prometheus.get("rules")["groups"][0]["rules"]

    assert prometheus.eventually(lambda: {each["health"] for each in rules()} == {"ok"}), rules()
    assert not [each["name"] for each in rules() if each["state"] == "firing" and not each["duration"]]


def test_scaling_by_prometheus_finds_the_backlog(prometheus):
    _, found = trigger(trigger="prometheus", prometheusAddress=prometheus.url)
    assert list(prometheus.query(found["metadata"]["query"]).values()) == [0.0]


def test_each_kind_is_the_one_that_is_documented(prometheus):
    found = {name: {each["type"] for each in told} for name, told in prometheus.get("metadata").items()}
    assert {name: {kind} for name, kind in KINDS.items()} == {
        name: kinds for name, kinds in found.items() if re.match("runloom_", name)
    }
