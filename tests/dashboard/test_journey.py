"""docs/dashboard.md#try-it, word by word: what a person does who has never seen the project.

The commands are those that stand on the page and those that the demo prints; the steps name the
links and buttons by the words that the page has in bold.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.docs.pages import ROOT, blocks

from .service import free_port

pytestmark = pytest.mark.slow

PATIENCE = 60.0
"""Seconds that a step may take, on a machine that is busy."""


def walk() -> str:
    """The part of the page."""
    page = (ROOT / "docs" / "dashboard.md").read_text("utf-8")
    return page.split("## Try it\n")[1].split("\n## ")[0]


def bold() -> list[str]:
    """What the steps say to follow, in their order."""
    return re.findall(r"\*\*(.+?)\*\*", walk())


class Terminal:
    """A command at work; what it prints."""

    def __init__(self, command: str, folder: Path, *more: str) -> None:
        program, *arguments = shlex.split(command)
        assert program == "typed-rmq"
        script = Path(sys.executable).with_name(program)
        # Of a person who has set nothing.
        environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        self.process = subprocess.Popen(
            [script, *arguments, *more],
            cwd=folder,
            env={**environment, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def prints(self, pattern: str) -> str:
        """Wait for a line that matches; its first group."""
        found: list[str] = []

        def there() -> bool:
            found.extend(m[1] for line in self.lines if (m := re.search(pattern, line)))
            return bool(found)

        wait_for(there, lambda: f"{pattern!r} in {self.lines}")
        return found[0]

    def ends(self) -> int:
        """Ctrl-C, and its exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()


def wait_for(condition: Callable[[], object], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_(command: str, *more: str) -> Terminal:
        opened.append(Terminal(command, tmp_path, *more))
        return opened[-1]

    yield open_
    assert [one.ends() for one in reversed(opened)] == [0] * len(opened)
    assert list(tmp_path.iterdir()) == [], "the page says that nothing is left"


def test_a_dead_letter_is_found_read_redriven_and_seen_done(
    terminal: Callable[..., Terminal], browser: Any
) -> None:
    install, start, dashboard = (
        line for block in blocks(walk()) for line in block.code.splitlines()
    )
    extras = set(re.findall(r"\[(.*)\]", install)[0].split(","))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert extras <= set(project["optional-dependencies"])

    printed = terminal(start).prints(r"^\s+(typed-rmq dashboard .*)$")
    shown, hidden = dashboard.split("…")
    assert re.fullmatch(f"{re.escape(shown)}\\S+{re.escape(hidden)}", printed)
    port = free_port()
    terminal(printed, "--port", str(port))
    address = re.findall(r"<(http://\S+)>", walk())[0].replace("8070", str(port))

    def answers() -> bool:
        try:
            return httpx.get(address).status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, lambda: f"nobody answers at {address}")

    dead, why, redrive, again, search, done = bold()
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(address)
    page.get_by_role("row").filter(has_text="demo-orders").locator(f"[data-label={dead}] a").click()
    link = page.get_by_role("rowheader").get_by_role("link").first
    message_id = link.inner_text().strip()
    link.click()
    page.get_by_role("heading", name=why).wait_for()
    page.get_by_text("WarehouseClosedError: warehouse 3 is closed").first.wait_for()
    page.get_by_text("raise WarehouseClosedError").wait_for()
    page.get_by_role("link", name=redrive).click()
    page.get_by_role("dialog").get_by_role("button", name=again).click()
    page.get_by_text("One dead letter is ready again.").wait_for()
    assert page.get_by_role("rowheader").filter(has_text=message_id).count() == 0
    field = page.get_by_placeholder(search)
    field.fill(message_id)
    field.press("Enter")
    heading = page.get_by_role("heading", name=done, exact=True)
    # It takes a moment, as long as a person who types.
    wait_for(lambda: heading.count() or not page.reload(), page.content)
    page.get_by_text("Done in attempt 1").wait_for()
    page.context.close()
