"""The documentation passes mypy --strict: what it shows is what a user's checker will accept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, pages


def program(page: Path) -> str:
    """The Python blocks of a page as one program, each line where it stands in the page."""
    lines = [""] * len(page.read_text().splitlines())
    for block in blocks(page.read_text()):
        if block.language == "python" and block.not_run is None:
            code = block.code.splitlines()
            lines[block.line - 1 : block.line - 1 + len(code)] = code
    return "\n".join(lines) + "\n"


@pytest.mark.slow
def test_pages_pass_mypy(tmp_path: Path) -> None:
    files: list[Path] = []
    for page in pages():
        # A prefix, so that no page has the name of a module that others import.
        files.append(tmp_path / f"page_{page.stem.replace('-', '_')}.py")
        files[-1].write_text(program(page))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *files],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": f"{ROOT}:{ROOT / 'typings'}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
