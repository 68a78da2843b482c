"""The pages on the chart name values that there are, and their examples render."""

import re

import pytest
import yaml
from charts import CHART, ROOT, merged, render
from test_refusals import SCHEMA, STRUCTURES, resolved

PAGES = {"README.md": CHART / "README.md", "kubernetes.md": ROOT / "docs/kubernetes.md"}
EXAMPLES = [
    (name, block)
    for name, page in PAGES.items()
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
]


def exists(path):
    schema = SCHEMA
    for key in path.split("."):
        schema = resolved(schema)
        if key not in schema.get("properties", {}):
            return "properties" not in schema
        schema = schema["properties"][key]
    return True


@pytest.mark.parametrize("name", PAGES)
def test_values_that_are_named_exist(name):
    words = re.findall(r"`([a-z]\w*(?:\.\w+)+)(?::[^`]*)?`", PAGES[name].read_text())
    found = [word for word in words if word.split(".")[0] in STRUCTURES[""]["properties"]]
    assert len(found) > 5
    assert not [word for word in found if not exists(word)]


@pytest.mark.parametrize("name, example", EXAMPLES)
def test_examples_render(name, example):
    values = yaml.safe_load(example)
    servers = {}
    if "bundled" not in values:
        servers = {"nats": {"urls": ["nats://nats:4222"]}}
        if "database" not in values:
            servers["database"] = {"existingSecret": "db"}
    assert render(merged(servers, values))


def test_the_sums_are_those_of_the_chart():
    text = PAGES["kubernetes.md"].read_text()
    row = next(line for line in text.splitlines() if line.startswith("| `terminationGracePeriodSeconds`"))
    objects = render({"database": {"existingSecret": "db"}, "nats": {"urls": ["nats://nats:4222"]}})
    found = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in objects
        if each["kind"] == "Deployment"
    }
    said = [int(number) for number in re.findall(r"the sum, (\d+)", row)]
    assert said == [spec["terminationGracePeriodSeconds"] for _, spec in sorted(found.items())]


def test_each_alarm_has_a_paragraph():
    rules = (CHART / "templates/rules.yaml").read_text()
    alarms = re.findall(r"- alert: (\w+)", rules)
    assert len(alarms) > 10
    told = re.findall(r"^### (Runloom\w+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert told == alarms


@pytest.mark.parametrize("page", [*PAGES.values(), ROOT / "docs/operations.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link
