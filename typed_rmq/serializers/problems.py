"""Says what is wrong with a payload without showing any of it.

Three things of a ``ValidationError`` can hold values of the input: the input itself, the keys
of a dict in the location, and the messages of custom validators and of a few of Pydantic's own
errors. None of them is let through.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

__all__ = ["Unreadable", "location", "problems_of", "summary"]

_MAX_SHOWN = 10

# Pydantic's own errors whose text may quote the input, an exception's text, or both.
_QUOTING = frozenset(
    "value_error assertion_error union_tag_invalid get_attribute_error iteration_error "
    "mapping_type uuid_parsing bytes_invalid_encoding datetime_object_invalid "
    "url_parsing url_syntax_violation url_scheme no_such_attribute "
    "unexpected_keyword_argument".split()
)
_OWN = frozenset(str(kind) for kind in get_args(ErrorType)) - _QUOTING


class Unreadable(ValueError):
    """Bytes that cannot be read, in words that are safe to show."""


def location(where: tuple[str | int, ...], names: Collection[str]) -> str:
    """A place in a payload as text; a key that is not a field's name is data and is hidden."""
    parts = [str(part) if isinstance(part, int) or part in names else "[key]" for part in where]
    return ".".join(parts) or "payload"


def problems_of(error: ValidationError, names: Collection[str]) -> tuple[tuple[str, str], ...]:
    """One ``(location, what)`` for each fault: the message where it is safe, else the type."""
    found: list[tuple[str, str]] = []
    details = error.errors(include_url=False, include_context=False, include_input=False)
    for detail in details:
        kind = detail["type"]
        # `kind` of a PydanticCustomError is chosen by the validator's author, not by the input.
        found.append((location(detail["loc"], names), detail["msg"] if kind in _OWN else kind))
    return tuple(found)


def summary(problems: tuple[tuple[str, str], ...]) -> str:
    """Problems in one line, at most ten of them."""
    shown = "; ".join(f"{where}: {what}" for where, what in problems[:_MAX_SHOWN])
    more = len(problems) - _MAX_SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown
