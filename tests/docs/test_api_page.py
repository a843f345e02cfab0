"""The API reference shows every public name."""

from __future__ import annotations

import re

import typed_rmq
from tests.docs.pages import ROOT
from typed_rmq import errors, events


def test_every_public_name_is_shown() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    shown = set(re.findall(r"^::: typed_rmq\.(\w+)$", page, re.MULTILINE))
    # Two modules are shown as a whole.
    assert {"errors", "events"} <= shown
    shown = shown - {"errors", "events"} | set(errors.__all__) | set(events.__all__)
    assert set(typed_rmq.__all__) <= shown
    assert shown - set(events.__all__) <= set(typed_rmq.__all__)
