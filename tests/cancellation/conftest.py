"""The proxy of the fault tests."""

from tests.faults.conftest import proxy

__all__ = ["proxy"]
