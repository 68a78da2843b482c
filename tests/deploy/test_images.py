"""The images and the compose file, as far as they can be looked at without an engine."""

import fnmatch
import json
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import yaml
from charts import CHART, ROOT, OneKey, merged

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
SCRIPTS = Path(sysconfig.get_path("scripts"))


def stages():
    """The stages of the Dockerfile: a name, where it starts from, its instructions."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found, name = {}, None
    for line in lines:
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            start, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            found[name] = (start, [])
        elif name:
            found[name][1].append((word, rest))
    return found


STAGES = stages()


def image_check(name):
    """The check that an image brings along."""
    (said,) = (text for word, text in STAGES[name][1] if word == "HEALTHCHECK")
    return json.loads(said.split("CMD ", 1)[1])


def test_hadolint_has_nothing_to_say(tmp_path):
    assert not subprocess.run([SCRIPTS / "hadolint", DOCKERFILE], capture_output=True, text=True).stdout
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.read_text() + "RUN cd /tmp && sudo apt-get install curl\n")
    assert subprocess.run([SCRIPTS / "hadolint", worse], capture_output=True).returncode != 0


def test_the_images_are_what_their_users_rely_on():
    assert set(STAGES) == {"build", "base", "runloom", "runloom-python"}
    for name in ("runloom", "runloom-python"):
        said = dict(STAGES[name][1])
        # A number, so that a cluster can see that it is not root.
        assert said["USER"] == "10001:10001"
        assert json.loads(said["ENTRYPOINT"])[-1] == "runloom"
        assert said["WORKDIR"] == "/app" and said["EXPOSE"] == "8123 9100"
        assert "RUNLOOM_HOST=0.0.0.0 RUNLOOM_MONITOR=0.0.0.0:9100" in [
            text for word, text in STAGES[name][1] if word == "ENV"
        ]
    assert "VIRTUAL_ENV=/opt/venv" in [text for word, text in STAGES["runloom-python"][1] if word == "ENV"][0]


def test_the_images_are_built_with_what_the_workspace_asks_for():
    manifest = (ROOT / "Cargo.toml").read_text()
    least = re.search(r'rust-version = "(\d+)\.(\d+)"', manifest).groups()
    given = re.search(r"ARG RUST=(\d+)\.(\d+)", DOCKERFILE.read_text()).groups()
    assert tuple(map(int, given)) >= tuple(map(int, least))
    # What is built on one Debian does not start on an older one.
    bases = {STAGES[name][0].split("-")[-1] for name in ("build", "runloom-python")} | {
        STAGES["base"][0][7:-5]
    }
    assert bases == {"${DEBIAN}"}


def context(target):
    """Copies what the build would be sent."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    kept = [line[1:] for line in lines if line.startswith("!")]
    dropped = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    for name in kept:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns(*dropped))
        else:
            shutil.copy(ROOT / name, target / name)


def test_the_build_gets_all_that_cargo_reads(tmp_path):
    sent, built = tmp_path / "sent", tmp_path / "built"
    sent.mkdir(), built.mkdir()
    context(sent)
    for word, rest in STAGES["build"][1]:
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                folder = (sent / source).is_dir()
                (shutil.copytree if folder else shutil.copy)(sent / source, built / Path(source).name)
                assert target in (".", "./", Path(source).name)
    plan = ["cargo", "metadata", "--no-deps", "--locked", "--offline", "--format-version", "1"]
    ran = subprocess.run(plan, cwd=built, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = {package["name"] for package in json.loads(ran.stdout)["packages"]}
    assert {"runloom", "runloom-tests"} <= found
    # What the code of the binary takes in when it is built.
    for crate in (ROOT / "crates").iterdir():
        inside = ["migrations", ".sqlx", "python", "build.rs", "sqlx.toml"]
        for name in inside:
            assert (built / "crates" / crate.name / name).exists() == (crate / name).exists(), (
                f"{crate.name}/{name}"
            )
    assert not [file for file in built.rglob("*") if fnmatch.fnmatch(file.name, "__pycache__")]


def test_compose_is_valid(tmp_path):
    check = [SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    assert subprocess.run([*check, DEPLOY / "compose.yaml"], capture_output=True).returncode == 0
    worse = tmp_path / "compose.yaml"
    worse.write_text(yaml.dump(merged(COMPOSE, {"services": {"nats": {"helthcheck": {}}}})))
    assert subprocess.run([*check, worse], capture_output=True).returncode != 0


def test_compose_is_a_whole_deployment():
    roles = [SERVICES[name]["command"] for name in OURS]
    assert roles == [["migrate"], ["gateway"], ["gateway"], ["worker"]]
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert (
        DEPLOY / SERVICES["worker"]["build"]["context"] / SERVICES["worker"]["build"]["dockerfile"]
    ).resolve() == DOCKERFILE
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["user"] == "10001:10001"
        assert service["build"]["target"] == "${RUNLOOM_TARGET:-runloom}"
        for other, condition in service["depends_on"].items():
            healthy = condition["condition"] == "service_healthy"
            assert not healthy or "healthcheck" in SERVICES[other], other
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        named = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert named <= set(COMPOSE["volumes"])


def test_compose_gives_the_time_that_stopping_takes():
    for name in OURS[1:]:
        service = SERVICES[name]
        drain = int(service["environment"].get("RUNLOOM_DRAIN_BUDGET", 10))
        grace = 5 if service["command"] == ["worker"] else 0
        assert int(service["stop_grace_period"].removesuffix("s")) >= drain + grace + 10, name


def test_the_bundled_servers_are_the_same_everywhere():
    values = yaml.load((CHART / "values.yaml").read_text(), OneKey)["bundled"]
    for name in ("postgres", "nats"):
        image = values[name]["image"]
        assert SERVICES[name]["image"] == f"{image['repository']}:{image['tag']}"
    # What docs/machines.md asks for.
    assert int(values["postgres"]["image"]["tag"].split("-")[0]) >= 15
    assert tuple(map(int, values["nats"]["image"]["tag"].split("-")[0].split("."))) >= (2, 11)
