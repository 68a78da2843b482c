"""The life of pods, played with processes: new ones take the place of old ones under load, each stopped as a
kubelet does it, with the times that the chart gives. Nothing is lost, refused or done twice."""

import itertools
import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from charts import rendered
from processes import Pod, ask, meanwhile, new_database, sql

VALUES = {
    "gateway": {"extraArgs": ["--test-graphs"], "drainBudgetSeconds": 3},
    "worker": {"extraArgs": ["--test-graphs"], "drainBudgetSeconds": 3, "preStopSeconds": 1},
}
# Time until nobody is sent any more to a gateway that is to go: less than its preStop.
WITHDRAWN = 2


class Cluster:
    """Pods of both roles, and a service that knows which gateways to send somebody to."""

    def __init__(self, binary, database):
        self.objects, self.binary, self.database = rendered(VALUES), binary, database
        self.pods, self.ready, self.turn = [], [], itertools.count()

    def start(self, role):
        pod = Pod(self.binary, self.objects, role, self.database)
        self.pods.append(pod)
        pod.started()
        if role == "gateway":
            self.ready.append(pod)
        return pod

    def delete(self, pod):
        """Deletes a pod. Gives how long that took, and what its readiness probe was answered meanwhile."""
        gone, answers = threading.Timer(WITHDRAWN, lambda: pod in self.ready and self.ready.remove(pod)), []
        gone.start()

        def watch(stop):
            while not stop.is_set() and pod.process.poll() is None:
                answers.append((time.monotonic(), pod.probe("readinessProbe")))
                time.sleep(0.02)

        with meanwhile(watch):
            code, took = pod.stop()
        gone.join()
        assert code == 0, pod.log()
        assert took < pod.spec["terminationGracePeriodSeconds"], took
        return took, [answer for then, answer in answers if then > pod.signalled]

    def url(self):
        """A gateway as the service chooses it: another one each time."""
        ready = list(self.ready)
        return ready[next(self.turn) % len(ready)].url()

    def thread(self):
        return json.loads(ask(self.url() + "/threads", {})[1])["thread_id"]

    def wait(self, body):
        """What a run on a thread of its own ends with."""
        return ask(f"{self.url()}/threads/{self.thread()}/runs/wait", body, timeout=120)

    def end(self):
        for pod in self.pods:
            pod.end()


@pytest.fixture
def cluster(binary, request):
    found = Cluster(binary, new_database(binary, f"pods_{request.function.__name__[-8:]}"))
    try:
        found.pair = [
            found.start("gateway"),
            found.start("gateway"),
            found.start("worker"),
            found.start("worker"),
        ]
        yield found
    finally:
        found.end()


def withdrew(answers):
    """That it said at once that it is not ready any more, and never anything else until it was gone."""
    said = [answer for answer in answers if answer is not None]
    assert said and set(said) == {503}, answers


def steps(pods):
    """The steps that workers began, by their logs: worker, run, step."""
    for place, pod in enumerate(pods):
        for line in pod.log().splitlines():
            told = json.loads(line) if '"witness"' in line else {}
            if told.get("phase") == "begin":
                yield place, told["run"], told["step"]


def test_workers_are_replaced_while_all_their_runs_go_on(cluster):
    _, _, first, second = cluster.pair
    given = {"delay": 0.25, "count": 48, "messages": [{"role": "user", "content": "go"}]}
    body = {"assistant_id": "witness", "input": given, "config": {"recursion_limit": 100}}
    with ThreadPoolExecutor(16) as pool:
        runs = [pool.submit(cluster.wait, body) for _ in range(16)]
        running = "select count(*) from runs where status = 'running'"
        until = time.monotonic() + 30
        while sql(running, cluster.database) != "16":
            assert time.monotonic() < until
        workers = [first, second]
        for old in (first, second):
            workers.append(cluster.start("worker"))
            _, answers = cluster.delete(old)
            withdrew(answers)
        assert [run.result()[0] for run in runs] == [200] * 16
    begun = list(steps(workers))
    # Every step once, although runs went from worker to worker, at no cost of an attempt.
    assert len(begun) == len({(run, step) for _, run, step in begun}) == 16 * 49
    where = {run: {place for place, other, _ in begun if other == run} for _, run, _ in begun}
    assert all(len(places) >= 2 for places in where.values()), where
    cost = "select status, attempt - handed_back, count(*) from runs group by 1, 2"
    assert sql(cost, cluster.database) == "success|1|16"


def test_what_ignores_a_stop_is_broken_off_in_time_and_goes_on_elsewhere(cluster):
    _, _, first, second = cluster.pair
    # A node that takes longer than a drain may.
    body = {"assistant_id": "slow", "input": {"delay": 7, "messages": [{"role": "user", "content": "go"}]}}
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(cluster.wait, body) for _ in range(4)]
        until = time.monotonic() + 30
        while sql("select count(*) from runs where status = 'running'", cluster.database) != "4":
            assert time.monotonic() < until
        took, answers = cluster.delete(first)
        withdrew(answers)
        assert took >= 1 + 3, "it did not use its drain budget"
        for run in runs:
            status, told = run.result()
            assert status == 200
            assert [each["content"] for each in json.loads(told)["messages"]] == ["go", "one", "two", "three"]
    assert second.process.poll() is None


class Reader:
    """Reads a stream to its end, at another gateway where one ends it before."""

    def __init__(self, cluster):
        self.cluster, self.tokens, self.ids, self.cuts = cluster, [], [], 0
        self.thread = cluster.thread()

    def events(self, answer):
        event = {}
        for line in answer:
            name, _, value = line.decode().strip("\r\n").partition(":")
            if name:
                event[name] = value.strip()
            elif event:
                yield event
                event = {}

    def take(self, url, body=None, headers=()):
        given = {"content-type": "application/json"} | dict(headers)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, given)
        with urllib.request.urlopen(request, timeout=30) as answer:
            self.where = answer.headers.get("content-location", "")
            for event in self.events(answer):
                if event.get("id"):
                    self.ids.append(event["id"])
                if event.get("event") == "messages":
                    self.tokens.append(json.loads(event["data"])[0]["content"])
                if event.get("event") == "end":
                    return

    def read(self, count, rate):
        body = {
            "assistant_id": "tokens",
            "input": {"count": count, "rate": rate, "messages": [{"role": "user", "content": "go"}]},
            "stream_mode": ["messages-tuple"],
            "stream_resumable": True,
        }
        step = lambda: self.take(f"{self.cluster.url()}/threads/{self.thread}/runs/stream", body)  # noqa: E731
        while True:
            try:
                step()
            except OSError:
                pass
            run = self.where.rsplit("/runs/", 1)[-1].split("/")[0]
            here = f"{self.cluster.url()}/threads/{self.thread}/runs/{run}"
            if json.loads(ask(here)[1])["status"] == "success" and len(self.tokens) > count:
                return self
            self.cuts += 1
            assert self.cuts < 20, "it never ended"
            where = f"{here}/stream?stream_mode=messages-tuple"
            step = lambda: self.take(where, headers={"last-event-id": self.ids[-1]})  # noqa: E731, B023


def test_gateways_are_replaced_while_streams_and_requests_go_on(cluster):
    first, second, _, _ = cluster.pair
    count, refused = 700, []

    def knock(stop):
        """Short requests, one after the other: none is to be refused."""
        while not stop.is_set():
            status, _ = ask(cluster.url() + "/threads", {})
            if status != 200:
                refused.append(status)
            time.sleep(0.02)

    with ThreadPoolExecutor(8) as pool, meanwhile(knock):
        readers = [Reader(cluster) for _ in range(8)]
        streams = [pool.submit(reader.read, count, 50) for reader in readers]
        until = time.monotonic() + 30
        while not all(len(reader.tokens) > 10 for reader in readers):
            assert time.monotonic() < until and not any(stream.done() for stream in streams)
            time.sleep(0.05)
        cluster.start("gateway")
        took, answers = cluster.delete(first)
        withdrew(answers)
        for stream in streams:
            stream.result()
    assert not refused, refused
    # Half of them were at the gateway that went, and all came to their end without a gap or a repetition.
    assert sum(reader.cuts > 0 for reader in readers) >= 3, [reader.cuts for reader in readers]
    for reader in readers:
        assert len(reader.ids) == len(set(reader.ids))
        # The last one says that it is the last.
        assert reader.tokens == [f"t{number} " for number in range(count)] + [""]
    assert took < first.spec["terminationGracePeriodSeconds"]
