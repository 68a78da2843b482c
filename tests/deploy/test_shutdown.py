"""Pods get the time that stopping in order takes, and nobody can take it from them unawares."""

import pytest
from charts import ROLES, Refused, container, env, pick, pod, rendered

# What comes after the drain budget: connections and messages that come to their end, at most 5 s, and as
# much for everything else.
LAST = 10


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "values",
    [{}, {"drainBudgetSeconds": 600}, {"drainBudgetSeconds": 0, "preStopSeconds": 0}, {"preStopSeconds": 20}],
)
def test_the_time_is_derived_from_what_the_process_is_told(role, values):
    objects = rendered({role: values})
    spec, ours = pod(objects, role), container(objects, role)
    told = env(ours)
    sleep = ours.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = int(told["RUNLOOM_DRAIN_BUDGET"]) + int(told.get("RUNLOOM_STOP_GRACE", 0)) + sleep + LAST
    assert spec["terminationGracePeriodSeconds"] == needed
    if "drainBudgetSeconds" in values:
        assert told["RUNLOOM_DRAIN_BUDGET"] == str(values["drainBudgetSeconds"])
    if "preStopSeconds" in values:
        assert sleep == values["preStopSeconds"]


def test_a_worker_gets_the_time_to_stop_code_that_ignores_it():
    assert (
        pod(rendered({"worker": {"stopGraceSeconds": 60}}), "worker")["terminationGracePeriodSeconds"] == 100
    )


@pytest.mark.parametrize("role, needed", [("gateway", 25), ("worker", 45)])
def test_less_time_is_refused_and_more_is_taken(role, needed):
    with pytest.raises(
        Refused, match=f"{role}.terminationGracePeriodSeconds is {needed - 1}, but it takes up to {needed} s"
    ):
        rendered({role: {"terminationGracePeriodSeconds": needed - 1}})
    for seconds in (needed, 3600):
        spec = pod(rendered({role: {"terminationGracePeriodSeconds": seconds}}), role)
        assert spec["terminationGracePeriodSeconds"] == seconds


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("where", ["all", "role"])
@pytest.mark.parametrize("name", ["RUNLOOM_DRAIN_BUDGET", "RUNLOOM_DATABASE_URL"])
def test_the_guard_cannot_be_passed_by_a_variable(role, where, name):
    values = {"env": [{"name": name, "value": "900"}]}
    with pytest.raises(Refused, match=f"sets {name}, which the chart sets itself"):
        rendered(values if where == "all" else {role: values})


def test_gateways_stay_until_nobody_is_sent_to_them():
    assert container(rendered(), "gateway")["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    strategy = pick(rendered(), "Deployment", "gateway")["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}
