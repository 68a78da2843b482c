"""Rules, dashboards and scalers read numbers that the binary has, by labels that these have."""

import json
import re

import promql_parser
import pytest
from charts import CHART, ROLES, ROOT, at, container, pick, rendered

# What the numbers are labelled with wherever they are read from, and the bounds of histograms.
READ_WITH = {"namespace", "pod", "le"}


def documented():
    """The table of docs/metrics.md: names, labels and kinds. A test of the tree holds it to the code."""
    labels, kinds = {}, {}
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        for name in re.findall(r"`(runloom_\w+)`", cells[1]) if len(cells) > 4 else []:
            labels[name], kinds[name] = set(re.findall(r"`(\w+)`", cells[2])), cells[3]
    assert len(labels) > 40 and set(kinds.values()) == {"counter", "gauge", "histogram"}
    return labels, kinds


NUMBERS, KINDS = documented()
# Of the whole installation: every gateway says the same.
WHOLE = {"runloom_runs", "runloom_backlog_threads", "runloom_oldest_due_seconds", "runloom_outbox_rows",
         "runloom_outbox_age_seconds", "runloom_table_bytes", "runloom_table_rows"}  # fmt: skip


def walk(node):
    """A query and all that is in it."""
    yield node
    for field in ("lhs", "rhs", "expr", "vector_selector", "vs"):
        inner = getattr(node, field, None)
        if isinstance(inner, promql_parser.Expr):
            yield from walk(inner)
    for inner in getattr(node, "args", None) or []:
        yield from walk(inner)


def faults(query):
    """What a query asks for that there is not."""
    # Variables of Grafana.
    plain = query.replace("$__rate_interval", "5m").replace("$__range", "1h")
    names, selectors = set(re.findall(r"runloom_\w+", plain)), 0
    for node in walk(promql_parser.parse(plain)):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            for label in node.modifier.labels:
                if not any(label in labels | READ_WITH for labels in NUMBERS.values()):
                    yield f"nothing is labelled {label}: {query}"
        if not isinstance(node, promql_parser.VectorSelector):
            continue
        selectors += 1
        name = node.name
        histogram = re.sub(r"_(bucket|sum|count)$", "", name)
        if histogram != name and KINDS.get(histogram) == "histogram":
            name = histogram
        elif KINDS.get(name) == "histogram":
            yield f"{name} is a histogram: {query}"
        # A sum by its count is an average over all time.
        grows = KINDS.get(name) in ("histogram", "counter") and not {f"{name}_sum", f"{name}_count"} <= names
        if grows and not re.search(rf"(rate|increase)\({node.name}\b", query):
            yield f"{name} only grows: {query}"
        if name in WHOLE and not re.search(rf"max( by \(\w+\) )?\({name}\b", query):
            yield f"each gateway says the whole of {name}: {query}"
        if name not in NUMBERS:
            yield f"there is no {node.name}: {query}"
            continue
        matchers = {matcher.name for matcher in node.matchers.matchers}
        if not matchers >= {"namespace", "pod"}:
            yield f"{name} of everybody: {query}"
        if unknown := matchers - NUMBERS[name] - READ_WITH:
            yield f"{name} has no {unknown}: {query}"
    if not selectors:
        yield f"no number: {query}"


@pytest.mark.parametrize(
    "query, fault",
    [
        ('sum(rate(runloom_reaped_total{namespace="a",pod="b"}[5m]))', None),
        ('sum by (strategy) (rate(runloom_queue_wait_seconds_count{namespace="a",pod="b"}[5m]))', None),
        ('max(runloom_backlog_threads{namespace="a",pod="b"})', None),
        ('max by (status) (runloom_runs{namespace="a",pod="b"})', None),
        ('sum(runloom_backlog_threads{namespace="a",pod="b"})', "each gateway says the whole"),
        ('sum(runloom_reaped_total{namespace="a",pod="b"})', "only grows"),
        ('runloom_backlog{namespace="a",pod="b"}', "there is no runloom_backlog"),
        ('rate(runloom_queue_wait_seconds{namespace="a",pod="b"}[5m])', "is a histogram"),
        ('1 + rate(runloom_reaped_total{namespace="a",pod="b",why="c"}[5m])', "has no {'why'}"),
        ("sum(rate(runloom_reaped_total[5m]))", "of everybody"),
        ('sum by (colour) (runloom_executor_runs{namespace="a",pod="b"})', "nothing is labelled colour"),
        ("vector(1) > 0", "no number"),
    ],
)
def test_the_check_itself_refuses(query, fault):
    found = list(faults(query))
    assert fault in found[0] if fault else not found


def rules():
    return pick(rendered(at("metrics.rules.enabled", True)), "PrometheusRule")["spec"]["groups"][0]["rules"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alarms_read_what_there_is(rule):
    assert not list(faults(rule["expr"]))
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"]))
    kept = [
        node
        for node in walk(promql_parser.parse(rule["expr"]))
        if isinstance(node, promql_parser.AggregateExpr)
    ]
    assert not named or any(node.modifier and named <= set(node.modifier.labels) for node in kept)


def test_each_limit_is_in_a_rule():
    limits = {name: 0.123 + place / 1000 for place, name in enumerate([
        "queueWaitSeconds", "leaseMarginSeconds", "signalsLost", "wakeupsLost", "oldestDueSeconds",
        "unavailablePerSecond", "failedRuns", "executorEnds", "executorLagSeconds", "backlogPerSlot",
        "databaseWaitSeconds", "outboxSeconds", "eventLagSeconds",
    ])}  # fmt: skip
    objects = rendered(at("metrics.rules", {"enabled": True, "limits": limits, "ruleLabels": {"team": "a"}}))
    found = pick(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]
    text = json.dumps([rule["expr"] for rule in found])
    assert not {name for name, limit in limits.items() if str(limit) not in text}
    assert all(rule["labels"]["team"] == "a" for rule in found)


def dashboard():
    data = pick(rendered(at("metrics.dashboards.enabled", True)), "ConfigMap")["data"]
    return json.loads(data["runloom.json"])


PANELS = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panels_read_what_there_is(panel):
    for target in panel["targets"]:
        assert not list(faults(target["expr"]))
        named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        kept = re.search(r"by \(([^)]*)\)", target["expr"])
        assert named <= set(re.split(r",\s*", kept[1] if kept else "")), target


def test_the_dashboard_is_one_that_grafana_takes():
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) and board["uid"] == "runloom"
    places = [tuple(panel["gridPos"][side] for side in "xywh") for panel in board["panels"]]
    assert all(x + w <= 24 for x, _, w, _ in places)
    for one, (x, y, w, h) in enumerate(places):
        for x2, y2, w2, h2 in places[one + 1 :]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y, "panels overlap"
    assert (CHART / "dashboards/runloom.json").read_text().count("${datasource}") > len(PANELS)


def trigger(**more):
    keda = {"enabled": True} | more
    spec = pick(rendered({"worker": {"slots": 10, "keda": keda}}), "ScaledObject")["spec"]
    return spec, spec["triggers"][0]


def test_scaling_by_prometheus_reads_what_there_is():
    about = {"name": "keda", "modes": "bearer"}
    spec, found = trigger(trigger="prometheus", prometheusAddress="http://p", prometheusAuthentication=about)
    assert found["type"] == "prometheus" and not list(faults(found["metadata"]["query"]))
    assert 'pod=~"demo-runloom-gateway-.+"' in found["metadata"]["query"]
    assert found["authModes"] == "bearer" and found["authenticationRef"] == {"name": "keda"}


def test_scaling_asks_gateways_for_the_backlog():
    spec, found = trigger(busyPercent=75, minReplicas=0)
    about = found["metadata"]
    assert spec["minReplicaCount"] == 0 and found["metricType"] == "AverageValue"
    assert about["targetValue"] == "7.5" and about["format"] == "prometheus"
    # One number without labels, the same from every gateway.
    assert NUMBERS[about["valueLocation"]] == set() and about["valueLocation"] in WHOLE
    service = pick(rendered(), "Service", "gateway-monitor")
    port = service["spec"]["ports"][0]["port"]
    assert about["url"] == f"http://{service['metadata']['name']}.prod.svc:{port}/metrics"


@pytest.mark.parametrize(
    "kind, endpoints", [("serviceMonitor", "endpoints"), ("podMonitor", "podMetricsEndpoints")]
)
def test_monitors_find_the_ports(kind, endpoints):
    objects = rendered(at(f"metrics.{kind}", {"enabled": True, "labels": {"release": "p"}, "interval": "7s"}))
    for role in ROLES:
        monitor = pick(objects, kind[0].upper() + kind[1:], role)
        endpoint = monitor["spec"][endpoints][0]
        assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == ("monitor", "/metrics", "7s")
        assert monitor["metadata"]["labels"]["release"] == "p"
        assert "monitor" in [port["name"] for port in container(objects, role)["ports"]]
        service = pick(objects, "Service", f"{role}-monitor")
        assert [port["name"] for port in service["spec"]["ports"]] == ["monitor"]
        labels = monitor["spec"]["selector"]["matchLabels"]
        assert labels.items() <= service["metadata"]["labels"].items()
