"""What a payload must not hold, looked for at the least cost.

The bytes are searched first for what a fault would leave in them. Only where something is
found is the payload itself walked, without recursion, so that no input can exhaust the stack.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import NamedTuple, cast

from pydantic_core import to_json, to_jsonable_python

from .shape import MAX_DEPTH

__all__ = ["ANY_NAN", "NULL", "Found", "arrange", "scan", "too_deep"]

NULL = re.compile(rb"null")
"""What a NaN of a plain float field leaves in JSON."""

ANY_NAN = re.compile(rb"null|[Nn]a[Nn]|[Ii]nf")
"""What a NaN or an infinity of any type can leave in JSON, also as a key."""

_CONTAINERS = (Mapping, list, tuple, deque, set, frozenset)
_IN_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\[\]{}"]+', re.DOTALL)


def too_deep(data: bytes) -> bool:
    """Whether JSON nests arrays and objects deeper than ``MAX_DEPTH``.

    Counting all brackets bounds the depth and is nearly always enough; only then are those in
    strings left out and the depth computed exactly.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _IN_STRINGS.sub(b"", data):
        if bracket in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False


class Found(NamedTuple):
    """What ``scan`` found: where the first bad value is and what, and whether there are sets."""

    where: tuple[str | int, ...] = ()
    problem: str | None = None
    sets: bool = False


def scan(value: object, *, text: bool) -> Found:
    """Walks a payload dumped to plain Python values, for what the bytes cannot tell.

    ``text`` also looks for lone surrogates: Pydantic's JSON refuses them, others may not.
    """
    sets = False
    stack: list[tuple[object, tuple[str | int, ...]]] = [(value, ())]
    while stack:
        item, where = stack.pop()
        if isinstance(item, Enum):
            item = item.value
        problem = _leaf_problem(item, text=text)
        if problem is not None:
            return Found(where, problem)
        if isinstance(item, _CONTAINERS) and len(where) >= MAX_DEPTH:
            return Found((), f"nested deeper than {MAX_DEPTH}")
        if isinstance(item, Mapping):
            for key, child in cast("Mapping[object, object]", item).items():
                if (problem := _leaf_problem(key, text=text)) is not None:
                    return Found(where, f"a key is wrong: {problem}")
                stack.append((child, (*where, key if isinstance(key, str) else "[key]")))
        elif isinstance(item, list | tuple | deque):
            items = cast("list[object]", item)
            stack.extend((child, (*where, index)) for index, child in enumerate(items))
        elif isinstance(item, set | frozenset):
            sets = True
            members = cast("set[object]", item)
            stack.extend((child, (*where, "[item]")) for child in members)
    return Found(sets=sets)


def _leaf_problem(item: object, *, text: bool) -> str | None:
    if isinstance(item, float):
        finite = math.isfinite(item)
    elif isinstance(item, Decimal):
        finite = item.is_finite()
    elif isinstance(item, complex):
        finite = math.isfinite(item.real) and math.isfinite(item.imag)
    elif text and isinstance(item, str):
        try:
            item.encode()
        except UnicodeEncodeError:
            return "text with a lone surrogate cannot be stored"
        return None
    else:
        return None
    return None if finite else "NaN and infinity cannot be stored"


def arrange(value: object, written: object) -> object:
    """``written``, the JSON form of ``value``, with the items of each set in a fixed order.

    Only sets that JSON's readers will see as lists need it (those in fields of type ``Any``):
    without it two equal payloads would be stored differently.
    """
    if isinstance(value, Mapping) and isinstance(written, dict):
        shown = cast("dict[str, object]", written)
        values = cast("Mapping[object, object]", value).values()
        if len(shown) != len(values):  # two keys became one: nothing to go by
            return shown
        return {
            key: arrange(item, shown_item)
            for (key, shown_item), item in zip(shown.items(), values, strict=True)
        }
    if isinstance(value, list | tuple | deque) and isinstance(written, list):
        items = zip(cast("list[object]", value), cast("list[object]", written), strict=False)
        return [arrange(item, shown_item) for item, shown_item in items]
    if isinstance(value, set | frozenset) and isinstance(written, list):
        members = cast("set[object]", value)
        shown_members = cast("list[object]", written)
        if any(isinstance(member, tuple | frozenset) for member in members):
            # A copy of a set may iterate in another order, so nothing tells which is which.
            shown_members = [arrange(member, to_jsonable_python(member)) for member in members]
        return sorted(shown_members, key=to_json)
    return written
