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


def _mypy() -> dict[Path, Findings]:
    found: dict[Path, Findings] = {SURFACE: {}, MISUSE: {}}
    out = _run(["mypy", "--strict", "--no-error-summary", "--no-pretty", *map(str, found)])
    for line in out.splitlines():
        if match := re.fullmatch(r"(.*?):(\d+): error: (.*)", line):
            found.setdefault(ROOT / match[1], {}).setdefault(int(match[2]), match[3])
    return found


def _pyright() -> dict[Path, Findings]:
    # Files named on the command line would make pyright leave its configuration out.
    out = _run(["pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(HERE)])
    said = json.loads(out)
    assert said["summary"]["filesAnalyzed"] >= 2, said
    found: dict[Path, Findings] = {SURFACE: {}, MISUSE: {}}
    for one in said["generalDiagnostics"]:
        path = Path(one["file"])
        if one["severity"] == "error" and path in found:
            found[path].setdefault(one["range"]["start"]["line"] + 1, one["message"])
    return found


CHECKERS = {"mypy": _mypy, "pyright": _pyright}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_the_public_surface_is_accepted_and_misuse_rejected_and_nothing_else(checker: str) -> None:
    """Both files in one run of the checker, which reads everything they import first."""
    found = CHECKERS[checker]()
    wrong = [f"{SURFACE.name}:{n}: {text}" for n, text in found[SURFACE].items()]
    lines = MISUSE.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "# E: " in line and number > 1}
    assert marked, "misuse.py marks nothing"
    rejected = found[MISUSE]
    wrong += [f"accepted: {n}: {lines[n - 1].strip()}" for n in sorted(marked - set(rejected))]
    wrong += [f"rejected: {n}: {rejected[n]}" for n in sorted(set(rejected) - marked)]
    assert not wrong, f"{checker}:\n" + "\n".join(wrong)
