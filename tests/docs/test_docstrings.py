"""The examples in the docstrings of every module run, on a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT
from tests.servers import RunningServer

PACKAGE = ROOT / "typed_rmq"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)


def test_examples_in_docstrings(docs_server: RunningServer) -> None:
    """All modules in one process, and in one test: as many would run all of it in each worker."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("run_doctests.py"), *MODULES],
        env={**os.environ, "REDIS_URL": docs_server.url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, str] = json.loads(done.stdout)
    assert sorted(report) == MODULES
    failed = [f"{module}: {text}" for module, text in report.items() if text]
    assert not failed, "\n".join(failed)
