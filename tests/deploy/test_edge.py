"""What is let in from outside: the API, all of it, and nothing else; streams pass as they come."""

import re

import pytest
from charts import ROOT, at, merged, pick, rendered

INGRESS = {"ingress": {"enabled": True, "hosts": ["agents.example.com"]}}
ROUTE = {"httpRoute": {"enabled": True, "parentRefs": [{"name": "edge"}]}}


def api():
    """Every path of the API."""
    text = (ROOT / "crates/api/src/paths.rs").read_text()
    found = re.findall(r'pub const \w+: &str = "(/[^"]*)";', text)
    assert len(found) > 30
    return [path for path in found if path not in ("/", "/ready")]  # for probes, not for clients


def let_in(prefixes, path):
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)


@pytest.mark.parametrize("values", [INGRESS, ROUTE], ids=["Ingress", "HTTPRoute"])
def test_the_api_is_let_in_and_the_numbers_are_not(values):
    objects = rendered(values)
    if values is INGRESS:
        paths = pick(objects, "Ingress")["spec"]["rules"][0]["http"]["paths"]
        assert {each["pathType"] for each in paths} == {"Prefix"}
        assert {each["backend"]["service"]["name"] for each in paths} == {"demo-runloom-gateway"}
        prefixes = [each["path"] for each in paths]
    else:
        rule = pick(objects, "HTTPRoute")["spec"]["rules"][0]
        prefixes = [match["path"]["value"] for match in rule["matches"]]
        assert len(prefixes) <= 8, "no more are allowed in a rule"
        assert rule["backendRefs"] == [{"name": "demo-runloom-gateway", "port": 80}]
    assert not [path for path in api() if not let_in(prefixes, path)]
    for path in ("/", "/metrics", "/anything"):
        assert not let_in(prefixes, path)


def test_routes_have_no_time_limit():
    def rule(more):
        return pick(rendered(ROUTE, more), "HTTPRoute")["spec"]["rules"][0]

    assert rule({})["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    assert "timeouts" not in rule(at("httpRoute.timeouts", False))


@pytest.mark.parametrize(
    "controller, expected",
    [
        ("nginx", {"proxy-buffering": "off", "proxy-read-timeout": "900", "proxy-body-size": "300m"}),
        ("haproxy", {"timeout-server": "900s"}),
        (
            "alb",
            {"load-balancer-attributes": "idle_timeout.timeout_seconds=900", "healthcheck-path": "/ready"},
        ),
    ],
)
def test_streams_pass(controller, expected):
    values = merged(INGRESS, at("ingress", {"controller": controller, "streamSeconds": 900}))
    found = pick(rendered(values), "Ingress")["metadata"]["annotations"]
    assert expected.items() <= {name.split("/")[1]: value for name, value in found.items()}.items()


def test_annotations_of_ones_own_win():
    mine = {"nginx.ingress.kubernetes.io/proxy-read-timeout": "7"}
    found = pick(rendered(INGRESS, at("ingress.annotations", mine)), "Ingress")["metadata"]["annotations"]
    assert found["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "7"
    assert found["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert "annotations" not in pick(rendered(INGRESS, at("ingress.controller", "")), "Ingress")["metadata"]


def test_the_service_is_for_the_cluster_unless_said_otherwise():
    spec = pick(rendered(), "Service", "gateway")["spec"]
    assert spec["type"] == "ClusterIP" and spec["ports"][0]["port"] == 80
    more = {"type": "LoadBalancer", "annotations": {"a": "b"}, "loadBalancerSourceRanges": ["192.0.2.0/24"]}
    service = pick(rendered(at("gateway.service", more)), "Service", "gateway")
    assert service["spec"]["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
    assert service["metadata"]["annotations"] == {"a": "b"}
