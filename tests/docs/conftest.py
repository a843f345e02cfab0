"""A server for the documentation alone: its pages and docstrings may flush it as they like."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import RunningServer, available, start


@pytest.fixture(scope="session")
def docs_server() -> Iterator[RunningServer]:
    """The first kind of server that is found: what the docs show holds on each."""
    kind = next(kind for kind, missing in available().items() if not missing)
    with start(kind, tcp=True) as server:
        yield server
