"""Optional libraries: imported when a class that needs one is made, never before."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..errors import ConfigError

__all__ = ["optional"]


def optional(module: str, *, extra: str, needed_by: str) -> ModuleType:
    """Imports ``module``, or raises a ``ConfigError`` that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{needed_by} needs an optional library: pip install 'typed_rmq[{extra}]'"
        ) from error
