"""Renders the chart with Helm itself, and knows what is in what came out."""

import atexit
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/runloom"
ROLES = ("gateway", "worker")


class Refused(Exception):
    """Helm did not render; the text says why."""


class OneKey(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML in which a key that is there twice is an error, not a surprise."""


def mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    if len(keys) != len(set(keys)):
        raise yaml.constructor.ConstructorError(None, None, f"a key is there twice: {keys}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


OneKey.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)


# The programs that scripts/chart-test.sh unpacks.
HELMS = {version: os.environ[f"RUNLOOM_TEST_HELM{version[1]}"] for version in ("v3", "v4")}


@cache
def home():
    """A folder for what Helm keeps: nobody's settings, repositories or cluster are looked at."""
    folder = tempfile.mkdtemp(prefix="runloom-helm-")
    atexit.register(shutil.rmtree, folder)
    return folder


def helm(*arguments, version="v4", given=None):
    """What Helm prints."""
    own = {name: home() for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HOME")}
    own |= {"PATH": os.environ["PATH"], "KUBECONFIG": os.devnull}
    ran = subprocess.run(
        [HELMS[version], *arguments], env=own, input=given or "", capture_output=True, text=True, timeout=60
    )
    if ran.returncode:
        raise Refused(ran.stderr + ran.stdout)
    return ran.stdout


@cache
def rendered_text(values, *arguments, version):
    return helm("template", *arguments, "--values", "-", version=version, given=values)


def template(values, *, chart=CHART, release="demo", helm_version="v4", kube="1.34.0", apis=()):
    """The text that `helm template` prints."""
    about = ["--namespace", "prod", "--kube-version", kube]
    about += [word for api in apis for word in ("--api-versions", api)]
    text = json.dumps(values, sort_keys=True)
    return rendered_text(text, release, str(chart), *about, version=helm_version)


def render(values, **how):
    """All objects, hooks among them."""
    return [found for found in yaml.load_all(template(values, **how), OneKey) if found]


def notes(values):
    """What is said after an installation."""
    about = ["--namespace", "prod", "--dry-run=client", "--values", "-"]
    return helm("install", "demo", str(CHART), *about, given=json.dumps(values)).split("NOTES:\n", 1)[1]


# The least that has to be said.
SERVERS = {"database": {"existingSecret": "db"}, "nats": {"urls": ["nats://nats:4222"]}}


def merged(*layers):
    """Values one over the other, as Helm would merge files of them."""
    result = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


def at(path, value):
    """Values that say one thing: at("a.b", 1) is {"a": {"b": 1}}."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def rendered(*layers, **how):
    return render(merged(SERVERS, *layers), **how)


def pick(objects, kind, name=None):
    """The one object of a kind, perhaps with the end of its name."""
    found = [each for each in objects if each["kind"] == kind]
    found = [each for each in found if name is None or each["metadata"]["name"].endswith(f"-{name}")]
    assert len(found) == 1, f"{len(found)} of {kind} {name}: {[each['metadata']['name'] for each in found]}"
    return found[0]


def pod(objects, role):
    return pick(objects, "Deployment", role)["spec"]["template"]["spec"]


def container(objects, role):
    return next(each for each in pod(objects, role)["containers"] if each["name"] == role)


def pods(objects):
    """Every pod that objects make: a name, its metadata, its spec."""
    for each in objects:
        name = f"{each['kind']} {each['metadata']['name']}"
        if each["kind"] == "Pod":
            yield name, each["metadata"], each["spec"]
        elif "template" in each.get("spec", {}):
            inner = each["spec"]["template"]
            yield name, inner["metadata"], inner["spec"]


def env(container):
    """The variables of a container that have their value here."""
    return {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}


def settings(objects):
    """What each of our processes is told: its command, all names of variables, those with a value."""
    for _, _, spec in pods(objects):
        for each in spec["containers"]:
            args = each.get("args") or [""]
            if args[0] in (*ROLES, "migrate", "doctor"):
                yield args, [variable["name"] for variable in each["env"]], env(each)
