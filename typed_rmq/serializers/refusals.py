"""Why a payload is refused, in words that show nothing of it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from .shape import MAX_DEPTH

__all__ = ["Refusal", "unwritable"]

_FIELD = re.compile(r"\[field_name='(\w+)', input_value=")


class Refusal(NamedTuple):
    """Why a payload is refused. A ``final`` one is not tried again as plain Python data."""

    message: str
    problems: tuple[tuple[str, str], ...] = ()
    final: bool = False


def unwritable(error: Exception, names: Collection[str]) -> Refusal:
    """Why a payload could not be written; ``names`` are those of its type's fields."""
    text = str(error)
    if text.startswith("Pydantic serializer warnings"):
        # Field names are shown where they are the type's own; values follow them in the text.
        fields = dict.fromkeys(_FIELD.findall(text))
        named = [name for name in fields if name in names] or ["payload"]
        problems = tuple((name, "a value is of another type than its field") for name in named)
        return Refusal("", problems)
    if isinstance(error, RecursionError) or "Circular ref" in text or "depth exc" in text:
        return Refusal(f"the payload nests deeper than {MAX_DEPTH}, or holds itself")
    if isinstance(error, UnicodeError) or "surrogates not allowed" in text:
        return Refusal("the payload is not valid: text with a lone surrogate cannot be stored")
    if "invalid utf-8" in text:
        return Refusal(
            "the payload holds bytes that are not UTF-8: set ser_json_bytes and "
            "val_json_bytes to 'base64' in the type's config"
        )
    return Refusal(f"the payload cannot be written: {type(error).__name__}")
