"""What several tests need."""

import os
from pathlib import Path

import pytest
from charts import ROOT, render
from value_sets import SETS


@pytest.fixture(params=SETS)
def objects(request):
    """What each set of values makes."""
    return render(SETS[request.param])


@pytest.fixture(scope="session")
def binary():
    """The binary that the images would have."""
    path = Path(os.environ.get("RUNLOOM_BIN", ROOT / "target/release/runloom"))
    assert path.exists(), f"no binary at {path}"
    return path
