"""Every alarm fires when it should and is silent when it should be, as Prometheus' own tool computes it."""

import json
import subprocess

import pytest
import yaml
from charts import at, pick, rendered

GATEWAY, WORKERS = "demo-runloom-gateway-5d9c-a", ("demo-runloom-worker-7f6b-a", "demo-runloom-worker-7f6b-b")
BOUNDS = (0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60)
MINUTES = 60


def series(name, values, pod=GATEWAY, namespace="prod", **labels):
    told = {"namespace": namespace, "pod": pod} | labels
    text = ",".join(f'{key}="{value}"' for key, value in told.items())
    return {"series": f"{name}{{{text}}}", "values": values}


def gauge(name, value, **labels):
    return [series(name, f"{value}x{MINUTES}", **labels)]


def counter(name, each_minute, **labels):
    return [series(name, f"0+{each_minute}x{MINUTES}", **labels)]


def histogram(name, seconds, each_minute=60, **labels):
    """So many observations of so many seconds."""
    bounds = [str(bound) for bound in BOUNDS] + ["+Inf"]
    buckets = [each_minute if float(bound) >= seconds else 0 for bound in bounds]
    found = [series(f"{name}_bucket", f"0+{count}x{MINUTES}", le=bound, **labels)
             for bound, count in zip(bounds, buckets, strict=True)]  # fmt: skip
    return found + [series(f"{name}_count", f"0+{each_minute}x{MINUTES}", **labels)]


def slots(busy_threads):
    return gauge("runloom_backlog_threads", busy_threads) + [
        one for pod in WORKERS for one in gauge("runloom_slots", 100, pod=pod)
    ]


def stopped(late, in_time):
    name = "runloom_cancel_to_stop_seconds_count"
    return counter(name, late, action="interrupt", heard="renewal", pod=WORKERS[0]) + counter(
        name, in_time, action="interrupt", heard="signal", pod=WORKERS[0]
    )


def settled(failed, succeeded):
    name = "runloom_settlements_total"
    return counter(name, failed, outcome="error") + counter(name, succeeded, outcome="success")


def looked(found, claimed):
    claims = counter("runloom_queue_wait_seconds_count", claimed, strategy="enqueue", pod=WORKERS[0])
    return counter("runloom_found_by_looking_total", found, pod=WORKERS[0]) + claims


# For each alarm: what makes it fire, something like it that does not, and the labels that it has then.
SCENES = {
    "RunloomQueueWaits": (
        histogram("runloom_queue_wait_seconds", 20, strategy="enqueue"),
        histogram("runloom_queue_wait_seconds", 0.4, strategy="enqueue"),
        {},
    ),
    "RunloomNobodyClaims": (
        gauge("runloom_oldest_due_seconds", 90),
        gauge("runloom_oldest_due_seconds", 20),
        {},
    ),
    "RunloomBacklog": (slots(240), slots(190), {}),
    "RunloomWorkersLost": (
        # The first ever: the counter was there before, at zero.
        [series("runloom_reaped_total", f"0x15 1x{MINUTES}", pod=WORKERS[0])],
        counter("runloom_reaped_total", 0, pod=WORKERS[0]),
        {},
    ),
    "RunloomFenced": (
        [series("runloom_fenced_total", f"0x15 2x{MINUTES}", pod=WORKERS[0], what="write")],
        counter("runloom_fenced_total", 0, pod=WORKERS[0], what="write"),
        {"what": "write"},
    ),
    "RunloomLeaseMargin": (
        histogram("runloom_lease_margin_seconds", 0.4, pod=WORKERS[0]),
        histogram("runloom_lease_margin_seconds", 9, pod=WORKERS[0]),
        {},
    ),
    "RunloomSignalsLost": (stopped(6, 60), stopped(1, 60), {}),
    "RunloomWakeupsLost": (looked(3, 60), looked(0.3, 60), {}),
    "RunloomUnavailable": (
        counter("runloom_unavailable_total", 90),
        counter("runloom_unavailable_total", 2),
        {},
    ),
    "RunloomDatabaseConnections": (
        histogram("runloom_database_wait_seconds", 0.4, pod=WORKERS[1]),
        histogram("runloom_database_wait_seconds", 0.001, pod=WORKERS[1]),
        {"pod": WORKERS[1]},
    ),
    "RunloomNatsDisconnected": (
        [series("runloom_nats_connected", f"1x15 0x{MINUTES}", pod=WORKERS[1])],
        gauge("runloom_nats_connected", 1, pod=WORKERS[1]),
        {"pod": WORKERS[1]},
    ),
    "RunloomOutboxOld": (
        gauge("runloom_outbox_age_seconds", 600),
        gauge("runloom_outbox_age_seconds", 3),
        {},
    ),
    "RunloomEventsLate": (
        histogram("runloom_event_lag_seconds", 4),
        histogram("runloom_event_lag_seconds", 0.01),
        {"pod": GATEWAY},
    ),
    "RunloomRunsFail": (settled(30, 30), settled(3, 57), {}),
    "RunloomExecutorsEnd": (
        [series("runloom_executor_ends_total", f"0x15 5x{MINUTES}", pod=WORKERS[0], reason="died")],
        [series("runloom_executor_ends_total", f"0x15 5x{MINUTES}", pod=WORKERS[0], reason="reload")],
        {"reason": "died"},
    ),
    "RunloomExecutorsDoNotStart": (
        counter("runloom_executor_failed_starts_total", 1, pod=WORKERS[0]),
        counter("runloom_executor_failed_starts_total", 0, pod=WORKERS[0]),
        {},
    ),
    "RunloomExecutorsBlocked": (
        histogram("runloom_executor_lag_seconds", 2, pod=WORKERS[0]),
        histogram("runloom_executor_lag_seconds", 0.01, pod=WORKERS[0]),
        {"pod": WORKERS[0]},
    ),
}


@pytest.fixture(scope="module")
def groups():
    return pick(rendered(at("metrics.rules.enabled", True)), "PrometheusRule")["spec"]["groups"]


@pytest.fixture(scope="module")
def rules(groups):
    return {rule["alert"]: rule for rule in groups[0]["rules"]}


def promtool(folder, groups, *command, tests=()):
    (folder / "rules.yml").write_text(yaml.dump({"groups": groups}))
    about = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": list(tests)}
    (folder / "tests.yml").write_text(json.dumps(about))
    ran = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stdout + ran.stderr


def minutes(duration):
    return int(duration.removesuffix("m")) if duration else 0


def firing(name, rule, labels, at_minute, state="firing"):
    """That an alarm is in a state at that time; with no state, that it is in none."""
    told = {"alertname": name, "alertstate": state, **rule["labels"], **labels}
    text = ",".join(f'{key}="{value}"' for key, value in told.items())
    samples = [{"labels": f"ALERTS{{{text}}}", "value": 1}] if state else []
    return {"expr": f'ALERTS{{alertname="{name}"}}', "eval_time": f"{at_minute}m", "exp_samples": samples}


def scene(given, *expected):
    return {"interval": "1m", "input_series": given, "promql_expr_test": list(expected)}


def test_every_alarm_has_its_scene(rules):
    assert list(SCENES) == list(rules)


def test_prometheus_takes_the_rules(groups, tmp_path):
    code, told = promtool(tmp_path, groups, "check", "rules", "rules.yml")
    assert code == 0 and f"{len(SCENES)} rules found" in told, told
    broken = [{"name": "broken", "rules": [{"alert": "A", "expr": "sum(", "labels": {}}]}]
    assert promtool(tmp_path, broken, "check", "rules", "rules.yml")[0] != 0


@pytest.mark.parametrize("name", SCENES)
def test_an_alarm_fires_when_it_should(name, groups, rules, tmp_path):
    loud, quiet, labels = SCENES[name]
    rule = rules[name]
    tests = [
        scene(loud, firing(name, rule, labels, 25)),
        scene(quiet, firing(name, rule, labels, 25, state=None)),
    ]
    if rule.get("for"):
        # Not for a moment's trouble.
        starts = 16 if any("x15 " in one["values"] for one in loud) else 1
        tests.append(scene(loud, firing(name, rule, labels, starts, state="pending")))
    code, told = promtool(tmp_path, groups, "test", "rules", "tests.yml", tests=tests)
    assert code == 0, told


def test_no_alarm_fires_where_all_is_well_or_somebody_else_is_in_trouble(groups, rules, tmp_path):
    calm = [one for _, quiet, _ in SCENES.values() for one in quiet]
    calm = list({one["series"]: one for one in calm}.values())
    elsewhere = [
        one | {"series": one["series"].replace(*swap)}
        for loud, _, _ in SCENES.values() for one in loud
        for swap in (('namespace="prod"', 'namespace="test"'), ('pod="demo-', 'pod="other-'))
    ]  # fmt: skip
    nothing = {"expr": "ALERTS", "eval_time": "40m", "exp_samples": []}
    given = calm + list({one["series"]: one for one in elsewhere}.values())
    code, told = promtool(tmp_path, groups, "test", "rules", "tests.yml", tests=[scene(given, nothing)])
    assert code == 0, told


def test_a_wrong_expectation_is_seen(groups, rules, tmp_path):
    loud, quiet, labels = SCENES["RunloomFenced"]
    for given, state in ((quiet, "firing"), (loud, None)):
        tests = [scene(given, firing("RunloomFenced", rules["RunloomFenced"], labels, 25, state=state))]
        assert promtool(tmp_path, groups, "test", "rules", "tests.yml", tests=tests)[0] != 0
