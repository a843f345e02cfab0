"""The public types, as mypy --strict and pyright strict see them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MISUSE = HERE / "misuse.py"
SURFACE = HERE / "surface.py"

Findings = dict[int, str]
"""The first complaint about each line."""


def _run(command: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def _mypy(path: Path) -> Findings:
    found: Findings = {}
    name = re.escape(str(path.relative_to(ROOT)))
    out = _run(["mypy", "--strict", "--no-error-summary", "--no-pretty", str(path)])
    for line in out.splitlines():
        if match := re.fullmatch(rf"{name}:(\d+): error: (.*)", line):
            found.setdefault(int(match[1]), match[2])
    return found


def _pyright(path: Path) -> Findings:
    # Files named on the command line would make pyright leave its configuration out.
    out = _run(["pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(HERE)])
    said = json.loads(out)
    assert said["summary"]["filesAnalyzed"] >= 2, said
    found: Findings = {}
    for one in said["generalDiagnostics"]:
        if one["severity"] == "error" and Path(one["file"]) == path:
            found.setdefault(one["range"]["start"]["line"] + 1, one["message"])
    return found


CHECKERS = {"mypy": _mypy, "pyright": _pyright}


@pytest.mark.parametrize("checker", CHECKERS)
def test_the_public_surface_has_the_documented_types(checker: str) -> None:
    found = CHECKERS[checker](SURFACE)
    assert not found, "\n".join(f"{SURFACE.name}:{n}: {text}" for n, text in found.items())


@pytest.mark.parametrize("checker", CHECKERS)
def test_misuse_is_rejected_and_nothing_else(checker: str) -> None:
    found = CHECKERS[checker](MISUSE)
    lines = MISUSE.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "# E: " in line and number > 1}
    wrong = [f"accepted: {n}: {lines[n - 1].strip()}" for n in sorted(marked - set(found))]
    wrong += [f"rejected: {n}: {found[n]}" for n in sorted(set(found) - marked)]
    assert not wrong, f"{checker}:\n" + "\n".join(wrong)
