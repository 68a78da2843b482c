"""Every pod passes Pod Security "restricted", with no value set and with all of them."""

import pytest
from charts import ROLES, pod, pods, render, rendered
from value_sets import SETS

# https://kubernetes.io/docs/concepts/security/pod-security-standards/
VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def faults(spec):
    """What "restricted" would refuse of a pod."""
    whole = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield field
    for volume in spec.get("volumes", []):
        if not volume.keys() - {"name"} <= VOLUMES:
            yield f"volume {volume}"
    if whole.get("sysctls"):
        yield "sysctls"
    for each in spec["containers"] + spec.get("initContainers", []):
        own = each.get("securityContext", {})
        both = whole | own
        name = each["name"]
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: privileges"
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
            yield f"{name}: capabilities"
        if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
            yield f"{name}: root"
        if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{name}: seccomp"
        if any(port.get("hostPort") for port in each.get("ports", [])):
            yield f"{name}: port of the host"


def test_every_pod_is_restricted(objects):
    found = {name: list(faults(spec)) for name, _, spec in pods(objects)}
    assert len(found) >= 3
    assert not any(found.values()), found


def test_the_check_itself_refuses():
    spec = {"hostNetwork": True, "volumes": [{"name": "a", "hostPath": {}}], "containers": [{"name": "a"}]}
    assert len(list(faults(spec))) == 6


def test_nothing_is_writable_and_no_token_is_handed_out(objects):
    for name, _, spec in pods(objects):
        assert spec["automountServiceAccountToken"] is False, name
        # A service named `runloom` would make a variable RUNLOOM_PORT, which the binary reads.
        assert spec["enableServiceLinks"] is False, name
        for each in spec["containers"] + spec.get("initContainers", []):
            assert each["securityContext"]["readOnlyRootFilesystem"] is True, (name, each["name"])


def test_users_are_fixed():
    for name, _, spec in pods(render(SETS["least"])):
        context = spec["securityContext"]
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 10001, name


@pytest.mark.parametrize("said, there, fixed", [
    ("auto", False, True), ("auto", True, False), ("true", False, False), ("false", True, True),
    (True, False, False), (False, True, True),
])  # fmt: skip
def test_openshift_chooses_users_itself(said, there, fixed):
    apis = ["security.openshift.io/v1"] if there else []
    for _, _, spec in pods(rendered({"openshift": said}, apis=apis)):
        assert ("runAsUser" in spec["securityContext"]) == fixed
        assert ("fsGroup" in spec["securityContext"]) == fixed
        assert not list(faults(spec))


@pytest.mark.parametrize("role", ROLES)
def test_what_is_said_wins_even_if_it_is_false(role):
    loose = {"readOnlyRootFilesystem": False, "runAsUser": 1234}
    given = {"containerSecurityContext": loose, "podSecurityContext": {"fsGroup": 7}}
    given |= {"sidecars": [{"name": "side", "image": "a", "securityContext": loose}]}
    spec = pod(rendered({role: given}), role)
    ours, side = (each["securityContext"] for each in spec["containers"])
    assert ours["readOnlyRootFilesystem"] is False and ours["runAsUser"] == 1234
    assert ours["allowPrivilegeEscalation"] is False and spec["securityContext"]["fsGroup"] == 7
    assert side["capabilities"] == {"drop": ["ALL"]}
    # The same, where nothing is said for the whole role.
    side = pod(rendered({role: {"sidecars": given["sidecars"]}}), role)["containers"][1]["securityContext"]
    assert side["readOnlyRootFilesystem"] is False and side["allowPrivilegeEscalation"] is False


def test_policies_are_complete():
    objects = render(SETS["everything"])
    policies = {each["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: each["spec"]
                for each in objects if each["kind"] == "NetworkPolicy"}  # fmt: skip
    for _, meta, _ in pods(objects):
        assert meta["labels"]["app.kubernetes.io/component"] in policies
    assert all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in policies.values())

    def out(role):
        return {port["port"] for rule in policies[role]["egress"] for port in rule.get("ports", [])}

    assert out("gateway") == out("worker") == {53, 5432, 4222, 4318}
    assert out("migration") == {53, 5432} and policies["migration"]["ingress"] == []
    assert out("tests") == {53, 5432, 4222, "http"}
    # Only graphs reach the internet, and nothing of the cluster that way.
    wide = {role for role, policy in policies.items() for rule in policy["egress"] if "ports" not in rule}
    assert wide == {"worker"}
    blocks = [to["ipBlock"] for to in policies["worker"]["egress"][-1]["to"]]
    assert all(block["except"] for block in blocks) and "10.0.0.0/8" in blocks[0]["except"]
    # Numbers are for monitoring, and those of gateways for KEDA; clients do not get there.
    ports = {role: [each["ports"][0]["port"] for each in policies[role]["ingress"]] for role in ROLES}
    assert ports == {"gateway": ["http", "monitor", "monitor"], "worker": ["monitor"]}
    # The helm test asks the gateways, too.
    clients = policies["gateway"]["ingress"][0]["from"]
    assert {"podSelector": {}} in clients
    assert any(
        each["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/component") == "tests"
        for each in clients
    )


def test_policies_can_be_narrowed():
    postgres = {"port": 6432, "to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]}
    worker = {"internet": False, "extraEgress": [{"to": []}]}
    values = {
        # As on OpenShift.
        "networkPolicy": {"enabled": True, "worker": worker, "postgres": postgres, "dnsPorts": [5353]}
    }
    found = [each for each in rendered(values) if each["kind"] == "NetworkPolicy"]
    worker = next(each["spec"]["egress"] for each in found if each["metadata"]["name"].endswith("worker"))
    assert worker[-1] == {"to": []} and "ipBlock" not in str(worker[-2])
    assert {
        "ports": [{"port": 6432, "protocol": "TCP"}],
        "to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}],
    } in worker
    for each in found:
        assert {port["port"] for port in each["spec"]["egress"][0]["ports"]} == {5353}


def test_policies_follow_the_addresses():
    """What is at other ports than usual is let through, once that is said."""
    values = {
        "nats": {"urls": ["tls://me@nats:4333", "tls://[::1]:4333"]},
        "tracing": {"endpoint": "https://spans.example.com/in"},
        "networkPolicy": {"enabled": True, "nats": {"port": 4333}, "tracing": {"port": 443}},
    }
    policies = [each for each in rendered(values) if each["kind"] == "NetworkPolicy"]
    worker = next(each["spec"]["egress"] for each in policies if each["metadata"]["name"].endswith("worker"))
    assert {port["port"] for rule in worker for port in rule.get("ports", [])} == {53, 5432, 4333, 443}
