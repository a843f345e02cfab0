"""The examples in the docstrings of every module run, on a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.servers import RunningServer

PACKAGE = ROOT / "typed_rmq"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)


@pytest.fixture(scope="module")
def report(docs_server: RunningServer) -> dict[str, str]:
    """All modules in one process: what failed in each."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("run_doctests.py"), *MODULES],
        env={**os.environ, "REDIS_URL": docs_server.url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module: str, report: dict[str, str]) -> None:
    assert not report[module], report[module]
