"""Every object is one that Kubernetes, KEDA, the Prometheus operator or the Gateway API takes."""

import json
import os
import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
from charts import CHART, merged, render
from value_sets import SETS

HERE = Path(__file__).resolve().parent
# The oldest that the chart takes, and the newest whose definitions are here.
ABOUT = (CHART / "Chart.yaml").read_text()
VERSIONS = [re.search(r'kubeVersion: ">=(\d+\.\d+)\.', ABOUT)[1], kubernetes_validate.latest_version()]
FOREIGN = ("keda.sh/", "monitoring.coreos.com/", "gateway.networking.k8s.io/")


def foreign_faults(objects):
    folder = os.environ["RUNLOOM_TEST_NODE_FOLDER"]
    ran = subprocess.run(
        ["node", HERE / "kinds.mjs", folder],
        input=json.dumps(objects),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_chart_and_the_page_name_these_versions():
    newest = VERSIONS[1].removesuffix(".0")
    assert f"and of {newest}." in ABOUT
    page = (CHART.parents[2] / "docs/kubernetes.md").read_text()
    assert f"Kubernetes ({VERSIONS[0]}, the oldest that the chart takes, and {newest})" in page


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_its_own(objects, version):
    own = [each for each in objects if not each["apiVersion"].startswith(FOREIGN)]
    assert own
    for each in own:
        kubernetes_validate.validate(each, version, strict=True)


def test_others_take_theirs():
    found = [
        each for values in SETS.values() for each in render(values) if each["apiVersion"].startswith(FOREIGN)
    ]
    assert {each["kind"] for each in found} == {
        "HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject", "ServiceMonitor",
    }  # fmt: skip
    assert foreign_faults(found) == []


def test_the_checks_themselves_refuse():
    deployment = next(each for each in render(SETS["least"]) if each["kind"] == "Deployment")
    for wrong in ({"spec": {"replica": 2}}, {"spec": {"replicas": "two"}}):
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(merged(deployment, wrong), VERSIONS[0], strict=True)
    rule = next(each for each in render(SETS["everything"]) if each["kind"] == "PrometheusRule")
    assert foreign_faults([merged(rule, {"spec": {"grups": []}})])
    assert foreign_faults([merged(rule, {"spec": {"groups": [{"name": 7}]}})])
