"""Scaling by the backlog, played with processes: KEDA asks what the chart tells it to ask, the autoscaler counts
as Kubernetes does, and workers come and go under a real load."""

import json
import math
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest
from charts import ROLES, container, pick, rendered
from processes import Pod, ask, new_database, sql

SLOTS = 4
VALUES = {
    "gateway": {"preStopSeconds": 0},
    "worker": {
        "slots": SLOTS,
        # Longer than a step of the load, much shorter than a run.
        "drainBudgetSeconds": 3,
        "keda": {
            "enabled": True,
            "minReplicas": 1,
            "maxReplicas": 8,
            "busyPercent": 75,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 3}},
        },
    }
}
# Seconds that a step of the load takes.
STEP = 0.25


class Autoscaler:
    """What KEDA's `metrics-api` scaler asks a gateway, and what the autoscaler makes of the answer."""

    # The autoscaler leaves alone what is this near.
    TOLERANCE = 0.1

    def __init__(self, objects, gateway):
        spec = pick(objects, "ScaledObject", "worker")["spec"]
        self.least, self.most = spec["minReplicaCount"], spec["maxReplicaCount"]
        [trigger] = spec["triggers"]
        assert (trigger["type"], trigger["metricType"]) == ("metrics-api", "AverageValue")
        told = trigger["metadata"]
        assert told["format"] == "prometheus"
        self.number, self.target = told["valueLocation"], float(told["targetValue"])
        # The service of the gateways, of which there is one here.
        self.url = gateway.url("monitor") + re.fullmatch(r"http://[^/]+(/\S+)", told["url"])[1]
        scaling = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        self.window = scaling["stabilizationWindowSeconds"]
        self.recommended = []

    def value(self):
        text = ask(self.url)[1].decode()
        return float(re.search(rf"^{self.number} (\S+)$", text, re.MULTILINE)[1])

    def wanted(self, current, now):
        """How many there should be, when there are so many."""
        value = self.value()
        near = abs(value / (self.target * current) - 1) <= self.TOLERANCE
        count = current if near else math.ceil(value / self.target)
        self.recommended.append((now, min(max(count, self.least), self.most)))
        recent = [count for then, count in self.recommended if now - then <= self.window]
        return max(recent) if count < current else self.recommended[-1][1]


class Load:
    """Runs of many steps, each on a thread of its own, that leave in the log what they do."""

    def __init__(self, url):
        self.url, self.pool, self.runs = url, ThreadPoolExecutor(32), []

    def add(self, count, steps):
        body = {
            "assistant_id": "witness",
            "config": {"recursion_limit": 1000},
            "input": {"delay": STEP, "count": steps, "messages": [{"role": "user", "content": "go"}]},
        }
        waits = f"{self.url}/runs/wait"
        self.runs += [self.pool.submit(ask, waits, body, timeout=180) for _ in range(count)]

    def ends(self):
        """What all were answered."""
        return [run.result() for run in self.runs]


def steps_begun(log):
    """The steps that a worker began: run and step."""
    lines = (json.loads(line) for line in log.splitlines() if '"witness"' in line)
    return [(line["run"], line["step"]) for line in lines if line.get("phase") == "begin"]


def in_flight(database):
    return int(sql("select count(*) from runs where status in ('pending', 'running')", database))


@pytest.fixture(scope="module")
def database(binary):
    return new_database(binary, "scaling")


def test_workers_come_and_go_with_the_backlog_and_nothing_is_lost_or_done_twice(binary, database):
    objects = rendered(VALUES)
    for role in ROLES:
        container(objects, role)["args"].append("--test-graphs")
    dice = random.Random(7)
    pods, workers, counts = [], [], []

    def start(role):
        pods.append(Pod(binary, objects, role, database))
        return pods[-1]

    try:
        gateway, worker = start("gateway"), start("worker")
        workers.append(worker.started())
        load, scaler = Load(gateway.started().url()), Autoscaler(objects, gateway)
        assert scaler.target == SLOTS * 0.75
        load.add(3, steps=200)
        load.add(12, steps=60)
        until = time.monotonic() + 150
        while in_flight(database) or len(workers) > scaler.least:
            assert time.monotonic() < until, (counts, in_flight(database))
            wanted = scaler.wanted(len(workers), time.monotonic())
            counts.append(wanted)
            while len(workers) < wanted:
                workers.append(start("worker"))
            while len(workers) > wanted:
                # Whatever is in flight has a slot where it can go on.
                assert in_flight(database) <= (len(workers) - 1) * SLOTS
                # Nobody asks us which one is to go.
                leaver = workers.pop(dice.randrange(len(workers)))
                code, took = leaver.stop()
                # It was never killed.
                assert code == 0, leaver.log()
                assert took < leaver.spec["terminationGracePeriodSeconds"]
            time.sleep(0.5)
        ends = load.ends()
        begun = [steps_begun(worker.log()) for worker in pods[1:]]
    finally:
        for each in pods:
            each.end()
    print("workers:", counts)
    # Fifteen busy threads, three for each worker.
    assert max(counts) == 5 and counts[-1] == 1
    assert [status for status, _ in ends] == [200] * 15
    assert sorted(len(json.loads(body)["messages"]) for _, body in ends) == [62] * 12 + [202] * 3
    steps = list(chain(*begun))
    assert len(steps) == len(set(steps)) == 12 * 61 + 3 * 201
    # And some did go on elsewhere.
    assert sum(len({run for run, _ in steps}) for steps in begun) > 15
