"""Every Python block of the README and of the documentation runs, on a real server.

The blocks of a page run in order, as one program in a process of its own. A loop that waits for
messages would wait for ever: when the page's only activity for a second was to wait in Redis,
it gets SIGINT, as from Ctrl-C. That ends the loop the documented way, and the program goes on.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, make_targets, pages
from tests.servers import RunningServer

LIMIT = 60.0
"""Seconds that one page may take."""

RUN_PAGE = [sys.executable, "-W", "error", Path(__file__).with_name("run_page.py")]

WITH_PYTHON = [
    page
    for page in pages()
    if any(b.language == "python" and b.not_run is None for b in blocks(page.read_text()))
]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _waits(server: RunningServer) -> bool:
    """Whether some client has been blocked in Redis for a second or more."""
    with server.client() as client:
        return any(
            # A publish that waits for replicas (WAIT) ends by itself.
            "b" in other["flags"] and other["cmd"] != "wait" and int(other["idle"]) >= 1
            for other in client.client_list()
        )


@pytest.mark.parametrize("page", WITH_PYTHON, ids=_name)
def test_page_runs(page: Path, docs_server: RunningServer, tmp_path: Path) -> None:
    docs_server.command("FLUSHALL")
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*RUN_PAGE, page],
            cwd=tmp_path,
            env={**os.environ, "REDIS_URL": docs_server.url, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + LIMIT
            quiet_until = 0.0
            while process.poll() is None:
                now = time.monotonic()
                assert now < deadline, f"{_name(page)} hangs\n{log.read_text()}"
                if now > quiet_until and _waits(docs_server):
                    process.send_signal(signal.SIGINT)
                    # A second signal would interrupt at once: leave time for a calm end.
                    quiet_until = now + 5
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0, f"{_name(page)} failed\n{log.read_text()}"


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    used = {target for page in pages() for target in make_targets(page.read_text())}
    assert {"demo", "test"} <= make_targets((ROOT / "README.md").read_text())
    assert used <= targets


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links of the README, which MkDocs does not check, and of the pages."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{_name(page)} links to {target}"


def test_output_follows_the_python_that_prints_it() -> None:
    for page in pages():
        before = None
        for block in blocks(page.read_text()):
            if block.is_output:
                assert before is not None, f"{page}:{block.line}"
                assert before.language == "python", f"{page}:{block.line}"
            before = block


def test_a_broken_page_fails(tmp_path: Path) -> None:
    """The runner itself: an error names the page's line, and other output is noticed."""

    def run(text: str) -> subprocess.CompletedProcess[str]:
        page = tmp_path / "page.md"
        page.write_text(text)
        return subprocess.run(
            [*RUN_PAGE, page],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )

    two_blocks = "```python\nx = 1\n```\n\n```python\nprint(x)\n```\n"
    assert run(two_blocks + "\n<!-- output -->\n```text\n1\n```\n").returncode == 0
    failed = run("Text.\n\n```python\n1 / 0\n```\n")
    assert failed.returncode != 0
    assert 'page.md", line 4' in failed.stderr
    assert run("```python\nprint(1)\n```\n<!-- output -->\n```\n2\n```\n").returncode == 1
    assert run("<!-- not run: shown only -->\n```python\n1 / 0\n```\n").returncode == 0
