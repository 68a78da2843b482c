"""Helm 3 and Helm 4 lint, render and pack the chart, and print the same."""

import tarfile

import pytest
import yaml
from charts import CHART, HELMS, helm, render, template
from value_sets import SETS


@pytest.mark.parametrize("version", HELMS)
def test_each_helm_is_the_one_it_is_called(version):
    assert helm("version", "--short", version=version).startswith(f"{version}.")


@pytest.mark.parametrize("version", HELMS)
@pytest.mark.parametrize("name", SETS)
def test_lint_has_nothing_but_a_recommendation(version, name):
    told = helm("lint", "--strict", str(CHART), "--values", "-", version=version, given=yaml.dump(SETS[name]))
    said = [line for line in told.splitlines() if line.startswith("[")]
    assert (
        said == ["[INFO] Chart.yaml: icon is recommended"] and "1 chart(s) linted, 0 chart(s) failed" in told
    )


@pytest.mark.parametrize("name", SETS)
def test_both_helms_render_the_same(name):
    three, four = (render(SETS[name], helm_version=version) for version in HELMS)
    assert three and three == four


@pytest.mark.parametrize("version", HELMS)
def test_what_is_packed_is_the_chart(version, tmp_path):
    helm("package", str(CHART), "--destination", str(tmp_path), version=version)
    (packed,) = tmp_path.iterdir()
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert packed.name == f"runloom-{about['version']}.tgz"
    with tarfile.open(packed) as archive:
        inside = {name.removeprefix("runloom/") for name in archive.getnames()}
    assert inside == {str(file.relative_to(CHART)) for file in CHART.rglob("*") if file.is_file()}
    values = SETS["everything"]
    assert template(values, chart=packed, helm_version=version) == template(values, helm_version=version)
