"""A real browser for the tests of this folder.

Chromium comes from the system (Debian: chromium); Playwright only drives it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import chromium

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    where = chromium()
    if where is None:
        # Said loudly at the end of the run as well; CI installs it, and must not go without.
        assert not os.environ.get("CI"), "no Chromium: apt-get install chromium"
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=where,
            # A name that an attacker bends to this machine.
            args=[*ARGUMENTS, "--host-resolver-rules=MAP attacker.example 127.0.0.1"],
        )
        yield browser
        browser.close()
