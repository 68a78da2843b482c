"""Every template, on and off; names, labels and selectors; where each knob ends up."""

import pytest
import yaml
from charts import (
    CHART,
    ROLES,
    SERVERS,
    at,
    container,
    env,
    notes,
    pick,
    pod,
    pods,
    render,
    rendered,
    rendered_text,
    template,
)
from value_sets import SETS

SELECTOR = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}


@pytest.mark.parametrize("name", SETS)
def test_both_helms_render_the_same(name):
    three, four = (render(SETS[name], helm_version=version) for version in ("v3", "v4"))
    assert three and three == four


# What turns something on, and what is there then and was not before.
SWITCHES = [
    ({"ingress": {"enabled": True, "hosts": ["a.example.com"]}}, {"Ingress demo-runloom"}),
    ({"httpRoute": {"enabled": True, "parentRefs": [{"name": "edge"}]}}, {"HTTPRoute demo-runloom"}),
    (
        at("networkPolicy.enabled", True),
        {f"NetworkPolicy demo-runloom-{each}" for each in (*ROLES, "migration", "tests")},
    ),
    (at("metrics.serviceMonitor.enabled", True), {f"ServiceMonitor demo-runloom-{role}" for role in ROLES}),
    (at("metrics.podMonitor.enabled", True), {f"PodMonitor demo-runloom-{role}" for role in ROLES}),
    (at("metrics.rules.enabled", True), {"PrometheusRule demo-runloom"}),
    (at("metrics.dashboards.enabled", True), {"ConfigMap demo-runloom-dashboard-runloom"}),
    (at("gateway.autoscaling.enabled", True), {"HorizontalPodAutoscaler demo-runloom-gateway"}),
    (at("worker.autoscaling.enabled", True), {"HorizontalPodAutoscaler demo-runloom-worker"}),
    (at("worker.keda.enabled", True), {"ScaledObject demo-runloom-worker"}),
    (
        {"nats": {"creds": {"contents": "x"}}},
        {f"Secret demo-runloom-{each}-nats-creds" for each in (*ROLES, "tests")},
    ),
    ({"extraObjects": ["{apiVersion: v1, kind: ConfigMap, metadata: {name: mine}}"]}, {"ConfigMap mine"}),
]

# The same for what is there by default.
OFF = [
    (at("migration.mode", "none"), {"Job demo-runloom-migration"}),
    (at("migration.mode", "start"), {"Job demo-runloom-migration"}),
    (at("tests.enabled", False), {"Pod demo-runloom-test"}),
    (at("gateway.serviceAccount.create", False), {"ServiceAccount demo-runloom-gateway"}),
    (at("worker.serviceAccount.create", False), {"ServiceAccount demo-runloom-worker"}),
    (at("gateway.podDisruptionBudget.enabled", False), {"PodDisruptionBudget demo-runloom-gateway"}),
    (at("gateway.replicas", 1), {"PodDisruptionBudget demo-runloom-gateway"}),
    (at("worker.replicas", 1), {"PodDisruptionBudget demo-runloom-worker"}),
    (at("worker.replicas", 0), {"PodDisruptionBudget demo-runloom-worker"}),
]

ALWAYS = {
    *(
        f"{kind} demo-runloom-{role}"
        for role in ROLES
        for kind in ("Deployment", "ServiceAccount", "PodDisruptionBudget")
    ),
    "Service demo-runloom-gateway",
    *(f"Service demo-runloom-{role}-monitor" for role in ROLES),
    "Job demo-runloom-migration",
    "Pod demo-runloom-test",
}


def names(objects):
    found = [f"{each['kind']} {each['metadata']['name']}" for each in objects]
    assert len(found) == len(set(found)), found
    return set(found)


def test_the_least_makes_what_is_needed():
    assert names(rendered()) == ALWAYS


@pytest.mark.parametrize("values, more", SWITCHES)
def test_what_is_turned_on_is_there(values, more):
    assert names(rendered(values)) == ALWAYS | more


@pytest.mark.parametrize("values, less", OFF)
def test_what_is_turned_off_is_not(values, less):
    assert names(rendered(values)) == ALWAYS - less


def test_every_template_makes_something_in_some_set():
    texts = "".join(template(values) for values in SETS.values())
    for file in (CHART / "templates").rglob("*.yaml"):
        assert f"# Source: runloom/{file.relative_to(CHART)}\n" in texts, f"{file.name} was never rendered"


@pytest.mark.parametrize(
    "values",
    [
        at("gateway.autoscaling", {"enabled": True, "minReplicas": 1}),
        {"worker": {"keda": {"enabled": True, "minReplicas": 1}}, "gateway": {"replicas": 1}},
    ],
)
def test_no_disruption_budget_where_scaling_may_go_down_to_one(values):
    role = "worker" if "worker" in values else "gateway"
    budgets = [name for name in names(rendered(values)) if name.startswith("PodDisruptionBudget")]
    assert f"PodDisruptionBudget demo-runloom-{role}" not in budgets


def test_who_scales_says_how_many():
    assert pick(rendered(), "Deployment", "worker")["spec"]["replicas"] == 2
    for values in (at("worker.keda.enabled", True), at("worker.autoscaling.enabled", True)):
        assert "replicas" not in pick(rendered(values), "Deployment", "worker")["spec"]


def test_all_say_whose_they_are(objects):
    for each in objects:
        meta = each["metadata"]
        if meta["name"] == "demo-x":  # from `extraObjects`, said word for word
            continue
        assert meta["namespace"] == "prod", meta["name"]
        assert meta["labels"].keys() >= SELECTOR | {"app.kubernetes.io/version", "helm.sh/chart"}, meta[
            "name"
        ]


def test_selectors_find_their_pods_and_nothing_that_changes_is_in_them(objects):
    found = [meta["labels"] for _, meta, _ in pods(objects)]
    checked = 0
    for each in objects:
        spec = each.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if not selector or each["kind"] in ("Job", "Pod"):
            continue
        labels = selector.get("matchLabels", selector)
        assert labels.keys() == SELECTOR, each["kind"]
        assert [one for one in found if labels.items() <= one.items()], f"{each['kind']} selects no pod"
        checked += 1
    assert checked >= 4


def test_selectors_are_those_of_the_first_version():
    objects = rendered(at("commonLabels.team", "agents"), at("gateway.podLabels.a", "b"))
    for role in ROLES:
        assert pick(objects, "Deployment", role)["spec"]["selector"]["matchLabels"] == {
            "app.kubernetes.io/name": "runloom",
            "app.kubernetes.io/instance": "demo",
            "app.kubernetes.io/component": role,
        }


@pytest.mark.parametrize(
    "values, release, expected",
    [
        ({}, "runloom-blue", "runloom-blue"),
        ({"nameOverride": "agents"}, "demo", "demo-agents"),
        ({"fullnameOverride": "agents"}, "demo", "agents"),
        ({"fullnameOverride": "a" * 80}, "demo", "a" * 46),
    ],
)
def test_names_can_be_chosen(values, release, expected):
    objects = rendered(values, release=release)
    assert {each["metadata"]["name"] for each in objects if each["kind"] == "Deployment"} == {
        f"{expected}-{role}" for role in ROLES
    }
    assert all(len(each["metadata"]["name"]) <= 63 for each in objects)


def test_the_namespace_can_be_chosen():
    assert {each["metadata"]["namespace"] for each in rendered({"namespaceOverride": "other"})} == {"other"}


@pytest.mark.parametrize(
    "values, expected",
    [
        ({}, "runloom:0.1.0"),
        ({"image": {"repository": "org/rl", "tag": "7"}}, "org/rl:7"),
        ({"image": {"registry": "images.example.com", "digest": "sha256:" + "0" * 64}},
         "images.example.com/runloom@sha256:" + "0" * 64),
        ({"global": {"imageRegistry": "mirror.example.com"}, "image": {"registry": "x"}},
         "mirror.example.com/runloom:0.1.0"),
        ({"image": {"tag": "7"}, "worker": {"image": {"repository": "graphs"}}}, "graphs:7"),
    ],
)  # fmt: skip
def test_the_image_can_be_chosen(values, expected):
    assert container(rendered(values), "worker")["image"] == expected


# Where a knob of a role ends up in its pod.
KNOBS = {
    "nodeSelector": {"disk": "fast"},
    "affinity": {"podAntiAffinity": {}},
    "tolerations": [{"operator": "Exists"}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "priorityClassName": "high",
    "schedulerName": "mine",
    "runtimeClassName": "gvisor",
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.10"]},
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["db"]}],
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("knob", KNOBS)
def test_pods_can_be_placed(role, knob):
    assert pod(rendered(at(f"{role}.{knob}", KNOBS[knob])), role)[knob] == KNOBS[knob]


@pytest.mark.parametrize("role", ROLES)
def test_pods_can_be_given_more(role):
    resources = {"limits": {"memory": "1Gi"}}
    given = {
        "resources": resources,
        "env": [{"name": "A", "value": "b"}],
        "envFrom": [{"secretRef": {"name": "s"}}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "extraArgs": ["--log", "debug"],
        "sidecars": [{"name": "side", "image": "a"}],
        "initContainers": [{"name": "first", "image": "a"}],
        "podAnnotations": {"a": "1"},
        "podLabels": {"b": "2"},
        "annotations": {"c": "3"},
        "labels": {"d": "4"},
        "serviceAccount": {"name": "me", "annotations": {"role": "r"}},
        "strategy": {"type": "Recreate", "rollingUpdate": None},
    }
    objects = rendered(
        {role: given}, {"env": [{"name": "ALL", "value": "x"}], "envFrom": [{"configMapRef": {"name": "c"}}]}
    )
    whole, spec, ours = pick(objects, "Deployment", role), pod(objects, role), container(objects, role)
    meta = whole["spec"]["template"]["metadata"]
    assert ours["resources"]["limits"] == resources["limits"]
    assert env(ours)["A"] == "b" and env(ours)["ALL"] == "x"
    assert ours["envFrom"] == [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}]
    assert given["volumes"][0] in spec["volumes"] and given["volumeMounts"][0] in ours["volumeMounts"]
    assert ours["args"] == [role, "--log", "debug"]
    assert [each["name"] for each in spec["containers"]] == [role, "side"]
    assert [each["name"] for each in spec["initContainers"]] == ["first"]
    assert meta["annotations"]["a"] == "1" and meta["labels"]["b"] == "2"
    assert whole["metadata"]["annotations"]["c"] == "3" and whole["metadata"]["labels"]["d"] == "4"
    assert spec["serviceAccountName"] == "me"
    account = next(
        each for each in objects if each["kind"] == "ServiceAccount" and each["metadata"]["name"] == "me"
    )
    assert account["metadata"]["annotations"]["role"] == "r"
    assert whole["spec"]["strategy"] == {"type": "Recreate"}


def test_pods_keep_away_from_each_other_unless_told_not_to():
    keys = [each["topologyKey"] for each in pod(rendered(), "worker")["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert "topologySpreadConstraints" not in pod(rendered(at("worker.topologySpread", False)), "worker")


def test_what_a_role_says_of_nats_wins_even_if_it_is_false_or_empty():
    values = {
        "nats": {"creds": {"secretName": "all"}, "requireTLS": True, "streams": {"manage": True}},
        "gateway": {"nats": {"creds": {"secretName": ""}, "requireTLS": False, "streams": {"manage": False}}},
    }
    objects = rendered(values)
    gateway, worker = (env(container(objects, role)) for role in ROLES)
    assert "RUNLOOM_NATS_CREDS" not in gateway and "RUNLOOM_NATS_REQUIRE_TLS" not in gateway
    assert gateway["RUNLOOM_NATS_MANAGE_STREAMS"] == "false"
    assert worker["RUNLOOM_NATS_CREDS"] == "/etc/runloom/nats-creds/nats.creds"
    assert worker["RUNLOOM_NATS_REQUIRE_TLS"] == worker["RUNLOOM_NATS_MANAGE_STREAMS"] == "true"


def test_files_are_mounted_where_the_binary_looks(objects):
    for name, _, spec in pods(objects):
        volumes = {each["name"] for each in spec.get("volumes", [])} | {"data"}
        for each in spec["containers"]:
            mounts = each.get("volumeMounts", [])
            assert {mount["name"] for mount in mounts} <= volumes, name
            folders = tuple(mount["mountPath"] + "/" for mount in mounts)
            for variable, value in env(each).items():
                if value.startswith("/etc/runloom/"):
                    assert value.startswith(folders), f"{name}: {variable} is {value}"


SECRETS = ["secret@db", "a%2Fb", "a/b", "seed", "SUAX"]


def test_secrets_are_nowhere_but_in_secrets(objects):
    for each in objects:
        if each["kind"] != "Secret":
            text = yaml.dump(each)
            assert not [secret for secret in SECRETS if secret in text], each["metadata"]["name"]


def test_the_bundled_password_fits_into_a_url():
    secret = pick(render(SETS["bundled"]), "Secret", "database")["stringData"]
    assert secret == {"password": "a/b", "url": "postgres://runloom:a%2Fb@demo-runloom-postgres:5432/runloom"}


def test_without_a_bundled_password_each_release_gets_its_own():
    def password():
        rendered_text.cache_clear()
        values = {"bundled": {"postgres": {"enabled": True}, "nats": {"enabled": True}}}
        secret = pick(render(values), "Secret", "database")["stringData"]
        assert f":{secret['password']}@" in secret["url"] and len(secret["password"]) == 24
        return secret["password"]

    assert password() != password()


def test_a_changed_secret_replaces_the_pods():
    def annotations(url):
        objects = render({"database": {"url": url}, "nats": SERVERS["nats"]})
        return pick(objects, "Deployment", "worker")["spec"]["template"]["metadata"]["annotations"]

    assert annotations("postgres://a") == annotations("postgres://a") != annotations("postgres://b")


def test_the_migration_comes_first_with_all_that_it_needs():
    for values in SETS.values():
        objects = render(values)
        hooks = [each for each in objects if "helm.sh/hook" in each["metadata"].get("annotations", {})]
        job = [each for each in hooks if each["kind"] == "Job"]
        made = {
            each["metadata"]["name"] for each in objects if each["kind"] == "Secret" and each not in hooks
        }
        for each in job:
            assert each["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
            spec = each["spec"]["template"]["spec"]
            assert "demo-runloom" not in spec.get("serviceAccountName", ""), "it is not made yet"
            assert not [name for name in made if f": {name}\n" in yaml.dump(spec)], "it is not made yet"
        if not job:
            assert env(container(objects, "worker"))["RUNLOOM_MIGRATE"] == "true"


def test_the_notes_say_what_to_do_next():
    told = {name: notes(values) for name, values in SETS.items()}
    for text in told.values():
        assert "helm test demo --namespace prod --logs" in text
        assert "port-forward service/demo-runloom-gateway 8123:80" in text
    assert "for 64 connections: 16" in told["least"] and "password" not in told["least"]
    assert "for 480 connections" in told["everything"] and "agents.example.com" in told["everything"]
    assert "database.existingSecret" in told["in clear text"]
    assert "no backups" in told["bundled"]
    assert "who they are" in told["least"] and "who they are" not in told["everything"]


def test_extra_objects_may_be_templates():
    objects = rendered(
        {"extraObjects": [{"kind": "Thing", "metadata": {"name": "{{ .Release.Name }}-thing"}}]}
    )
    assert pick(objects, "Thing", "thing")["metadata"]["name"] == "demo-thing"
