"""Importing what ``module:name`` names: a model, a queue, a handler."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

from typed_rmq import ConfigError

__all__ = ["load"]


def load(spec: str, option: str) -> object:
    """What ``spec`` (``app.models:Order``) names, looked for in the current folder as well.

    Raises:
        ConfigError: there is no such module or name, or importing it failed.
    """
    module_name, colon, path = spec.partition(":")
    if not (module_name and colon and path):
        raise ConfigError(f"{option} takes module:name, such as app.models:Order; got {spec!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        # As with `python -m`; a console script has its own folder there instead.
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise ConfigError(_failed(module_name, option, error)) from None
        raise ConfigError(
            f"{option}: there is no module {error.name!r}, neither installed nor in {here}"
        ) from None
    except Exception as error:  # noqa: BLE001 - it is the user's module: anything may come
        raise ConfigError(_failed(module_name, option, error)) from None
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ConfigError(f"{option}: {module_name} has no {path!r}") from None
    return found


def _failed(module: str, option: str, error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({error.filename}, line {error.lineno})"
    return f"{option}: importing {module} failed: {type(error).__name__}: {error}{where}"
