"""What the chart renders, whole, for a few sets of values: a change of the chart is seen as what it does.

A set is golden/NAME.values.yaml, what comes of it golden/NAME.yaml.
"""

import difflib
import os
from pathlib import Path

import pytest
import yaml
from charts import template

FOLDER = Path(__file__).resolve().parent / "golden"
UPDATE = os.environ.get("UPDATE_GOLDEN")
# What a cluster offers, where a set is for a certain kind of cluster.
OFFERS = {"openshift": ["security.openshift.io/v1"]}
NAMES = sorted(file.name.removesuffix(".values.yaml") for file in FOLDER.glob("*.values.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_rendered_is_what_was_looked_at(name):
    values = yaml.safe_load((FOLDER / f"{name}.values.yaml").read_text())
    now = template(values, apis=OFFERS.get(name, []))
    file = FOLDER / f"{name}.yaml"
    if UPDATE:
        file.write_text(now)
    before = file.read_text() if file.exists() else ""
    lines = [text.splitlines(keepends=True) for text in (before, now)]
    diff = "".join(difflib.unified_diff(*lines, "looked at", "rendered"))
    assert not diff, f"{diff}\nif this is meant: UPDATE_GOLDEN=1 make chart-test, and look at it"


def test_there_is_a_set_for_each_file():
    assert len(NAMES) == 4
    assert {file.name for file in FOLDER.iterdir()} == {
        f"{name}{end}" for name in NAMES for end in (".yaml", ".values.yaml")
    }
