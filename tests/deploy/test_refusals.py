"""What cannot work is refused with a sentence, and so is every key that is not known."""

import copy
import json

import pytest
import yaml
from charts import CHART, SERVERS, OneKey, Refused, at, merged, render, rendered

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.load((CHART / "values.yaml").read_text(), OneKey)

REFUSALS = [
    ({}, "say where Postgres is"),
    ({"database": {"existingSecret": "a"}}, "say where NATS is"),
    (
        {**SERVERS, "database": {"existingSecret": "a", "url": "postgres://b"}},
        "say where Postgres is, in one way",
    ),
    (merged(SERVERS, at("bundled.postgres.enabled", True)), "say where Postgres is, in one way"),
    (merged(SERVERS, at("bundled.nats.enabled", True)), "exclude each other"),
    (merged(SERVERS, at("database.tlsCA.enabled", True)), "database.tlsCA.enabled needs"),
    (merged(SERVERS, at("nats.tlsCA.enabled", True)), "nats.tlsCA.enabled needs"),
    (merged(SERVERS, at("nats", {"domain": "a", "apiPrefix": "b"})), "nats.domain and nats.apiPrefix"),
    (merged(SERVERS, at("nats.creds", {"contents": "a", "secretName": "b"})), "nats.creds.contents and"),
    (
        merged(SERVERS, at("worker.nats.nkey", {"contents": "a", "secretName": "b"})),
        "exclude each other .worker.",
    ),
    (
        merged(SERVERS, at("gateway.nats.user.name", "me")),
        "nats.user.name needs nats.user.secretName.*gateway",
    ),
    (merged(SERVERS, at("worker.podDisruptionBudget.minAvailable", 1)), "minAvailable or maxUnavailable"),
    (merged(SERVERS, at("worker.autoscaling", {"enabled": True, "maxReplicas": 1})), "maxReplicas is less"),
    (
        merged(SERVERS, at("worker", {"autoscaling": {"enabled": True}, "keda": {"enabled": True}})),
        "exclude each other",
    ),
    (
        merged(SERVERS, at("worker.keda", {"enabled": True, "trigger": "prometheus"})),
        "needs worker.keda.prometheusAddress",
    ),
    (
        merged(SERVERS, at("metrics", {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}})),
        "counted, twice",
    ),
    # A policy that would cut off what an address names.
    (
        merged(SERVERS, at("networkPolicy.enabled", True), at("nats.urls", ["nats://a", "tls://b@c:4333"])),
        "networkPolicy.nats.port.*4333",
    ),
    (
        merged(SERVERS, at("networkPolicy.enabled", True), at("worker.nats.urls", ["nats://[::1]:4333"])),
        "networkPolicy.nats.port.*4333",
    ),
    (
        merged(SERVERS, at("networkPolicy.enabled", True), at("tracing.endpoint", "https://spans.example.com/in")),
        "networkPolicy.tracing.port.*443",
    ),
    (
        {
            **at("networkPolicy.enabled", True),
            "nats": {"urls": ["nats://a"]},
            "database": {"url": "postgres://me:b:9@c:6432/d"},
        },
        "networkPolicy.postgres.port.*6432",
    ),
    (merged(SERVERS, at("retention.threadStrategy", "delete")), "retention.threadMinutes, which is not set"),
    (merged(SERVERS, at("httpRoute.enabled", True)), "needs httpRoute.parentRefs"),
    (merged(SERVERS, at("ingress.enabled", True)), "needs ingress.hosts"),
    (
        merged(SERVERS, at("gateway.env", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])),
        "there twice",
    ),
]


@pytest.mark.parametrize("version", ["v3", "v4"])
@pytest.mark.parametrize("values, sentence", REFUSALS)
def test_what_cannot_work_is_refused(values, sentence, version):
    with pytest.raises(Refused, match=sentence):
        render(values, helm_version=version)


def test_kubernetes_that_is_too_old_is_refused():
    assert rendered(kube="1.30.0")
    with pytest.raises(Refused, match="kubeVersion"):
        rendered(kube="1.29.9")


def resolved(schema):
    """A schema without the reference that it may be."""
    if "$ref" in schema:
        return SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return schema


def structures(schema, path=""):
    """The paths of all objects whose keys the schema names."""
    schema = resolved(schema)
    if "properties" in schema:
        yield path, schema
        for key, inner in schema["properties"].items():
            yield from structures(inner, f"{path}.{key}".strip("."))


STRUCTURES = dict(structures(SCHEMA))


@pytest.mark.parametrize("path", [path for path in STRUCTURES if path != "global"])
def test_keys_that_nobody_knows_are_refused(path):
    values = at(path, {"nobodyKnows": 1}) if path else {"nobodyKnows": 1}
    with pytest.raises(Refused, match="additional properties 'nobodyKnows' not allowed"):
        rendered(values)


def test_the_schema_names_every_key_of_the_values():
    def compare(values, schema, path):
        schema = resolved(schema)
        if "properties" not in schema:
            assert schema.get("type") in ("object",), path
            return
        optional = {
            "minAvailable",
            "initialDelaySeconds",
            "successThreshold",
            "existingSecret",
            "secretKey",
            "name",
            "modes",
        }
        named = set(schema["properties"])
        if path not in ("gateway.nats", "worker.nats", "tests.nats") and not path.endswith("image"):
            assert named - optional <= set(values) | optional, (path, named - set(values))
        assert set(values) <= named, (path, set(values) - named)
        for key, value in values.items():
            if isinstance(value, dict):
                compare(value, schema["properties"][key], f"{path}.{key}".strip("."))

    compare(VALUES, SCHEMA, "")
    assert len(STRUCTURES) > 50


# A value of the wrong kind, for some of each kind of rule.
WRONG = {
    "gateway.replicas": "two",
    "worker.replicas": -1,
    "worker.slots": 0,
    "worker.keda.trigger": "cpu",
    "log.format": "xml",
    "openshift": "yes",
    "migration.mode": "later",
    "leaseSeconds": 0,
    "nats.urls": "nats://nats:4222",
    "nats.prefix": "a b",
    "nats.streams.replicas": 7,
    "worker.nats.streams.storage": "tape",
    "gateway.service.type": "ExternalName",
    "gateway.service.port": 70000,
    "gateway.stoppedRuns.profile": "lax",
    "image.digest": "latest",
    "image.pullPolicy": "Sometimes",
    "gateway.env": [{"value": "nameless"}],
    "gateway.nodeSelector": {"a": 1},
    "worker.tolerations": {"key": "a"},
    "metrics.rules.limits.signalsLost": 5,
    "ingress.controller": "apache",
    "worker.drainBudgetSeconds": 0.5,
    "tracing.endpoint": "collector:4318",
    "tracing.sampler": "sometimes",
    "retention.threadStrategy": "archive",
    "retention.runDays": -1,
}


@pytest.mark.parametrize("path", WRONG)
def test_values_of_the_wrong_kind_are_refused(path):
    values = merged(copy.deepcopy(SERVERS), at(path, WRONG[path]))
    with pytest.raises(Refused, match="values don't meet the specifications of the schema"):
        render(values)
