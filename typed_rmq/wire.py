"""The envelope: how one message lies in Redis.

A fixed head of ASCII digits and letters, so that it reads well in ``redis-cli`` and the scripts
find every field by its position, then the digests, a small JSON of headers, and the payload::

    position  length  field
    0         1       version, '1'
    1         13      published at, milliseconds by Redis's clock
    14        1       priority: h, n, or l
    15        1       's' for a crash suspect, else '-'
    16        1       dedup mode: '-' none, 'w' window, 'd' until done; 'W' and 'D' the same
                      with an explicit key
    17        4       attempt that the next delivery is
    21        4       length of the headers, hexadecimal
    25        24      id
    49        1       ':'
    50        6       number of the next delivery; never reset, so that id:delivery is the fence
    56        0|22|44 digest of the dedup key; with an explicit key also that of the content
    then              headers, payload

The first fourteen bytes are put in front by the publish script, since only Redis's clock counts.
"""

from __future__ import annotations

import os
import re
import socket
from base64 import b32encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

import orjson

from .keys import PRIORITIES
from .results import Priority

__all__ = [
    "DIGEST",
    "HEAD",
    "MAX_HEADERS",
    "BadEnvelope",
    "Head",
    "Headers",
    "Whose",
    "build",
    "content_offset",
    "decode_headers",
    "encode_headers",
    "parse",
    "random_token",
    "session_name",
    "shown",
    "timestamp",
    "whose",
]

HEAD: Final = 56
STAMP: Final = 14
DIGEST: Final = 22
FIELD: Final = slice(25, 56)
"""``id:delivery``: the field of the message in its session's hash."""
KIND: Final = slice(14, 25)
"""All of the head that says how to read the rest."""
MAX_HEADERS: Final = 0xFFFF
MODES: Final = {ord("-"): 0, ord("w"): 1, ord("d"): 1, ord("W"): 2, ord("D"): 2}
"""Dedup mode -> how many digests follow the head."""

_PRIORITY_LETTER: Final[dict[Priority, bytes]] = {"high": b"h", "normal": b"n", "low": b"l"}
_LETTER_PRIORITY: Final = {ord("h"): "high", ord("n"): "normal", ord("l"): "low"}
assert tuple(_PRIORITY_LETTER) == PRIORITIES


class BadEnvelope(ValueError):
    """These bytes are not an envelope of ours; the text says why, without the bytes."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of an envelope says."""

    id: str
    delivery: int
    attempt: int
    published_ms: int
    priority: Priority
    suspect: bool
    mode: str
    headers_at: int
    payload_at: int


@dataclass(frozen=True, slots=True)
class Headers:
    """What the headers hold: the user's own, and the content type where it is not plain JSON."""

    user: dict[str, str]
    content_type: str | None


NO_HEADERS: Final = b""

_SESSION = re.compile(r"[a-z2-7]{16}@([A-Za-z0-9._-]{1,64}):(\d{1,10})", re.ASCII)
_HOST: Final = (re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64] or "unknown").encode()


def random_token() -> bytes:
    """16 letters and digits that nobody else draws: 80 random bits.

    Names producers' lanes, starts the names of consumers' sessions and the ids of messages.
    """
    return b32encode(os.urandom(10)).lower()


class Whose(NamedTuple):
    """Where a consumer session runs; ``host`` is "" and ``pid`` 0 where its name does not say."""

    host: str
    pid: int


def session_name() -> bytes:
    """The name of a new consumer session: a random token, and then ``@host:pid``.

    So that whoever looks into Redis sees where it runs, without anything more to write.
    """
    return b"%b@%b:%d" % (random_token(), _HOST, os.getpid())


def whose(session: str) -> Whose:
    """What the name of a session says."""
    found = _SESSION.fullmatch(session)
    return Whose(found[1], int(found[2])) if found else Whose("", 0)


def shown(name: bytes) -> str:
    """An id or a session's name for people: its letters, and the escapes of all else.

    Whoever can write to Redis chooses these bytes; a newline among them must not forge a log line.
    """
    text = name.decode("ascii", "backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]


def timestamp(milliseconds: int) -> datetime:
    """A moment by Redis's clock."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def encode_headers(user: dict[str, str], content_type: str | None) -> bytes:
    """The headers as they are stored; nothing at all where there are none."""
    if not user and content_type is None:
        return NO_HEADERS
    document: dict[str, object] = {}
    if content_type is not None:
        document["type"] = content_type
    if user:
        document["user"] = user
    return orjson.dumps(document)


def decode_headers(data: bytes) -> Headers:
    """The inverse of ``encode_headers``; ``BadEnvelope`` for anything else."""
    if not data:
        return Headers({}, None)
    try:
        document: object = orjson.loads(data)
    except ValueError:
        raise BadEnvelope("its headers are not JSON") from None
    fields = _json_object(document)
    content_type = fields.get("type")
    if not (content_type is None or isinstance(content_type, str)):
        raise BadEnvelope("its content type is not a string")
    user: dict[str, str] = {}
    for key, value in _json_object(fields.get("user", {})).items():
        if not isinstance(value, str):
            raise BadEnvelope("one of its headers is not a string")
        user[key] = value
    return Headers(user, content_type)


def _json_object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise BadEnvelope("its headers are not a JSON object")
    return cast("dict[str, object]", value)  # JSON has no other keys than strings


def mode_letter(until_done: bool, *, explicit: bool) -> bytes:
    """The dedup mode of a deduplicated message."""
    if until_done:
        return b"D" if explicit else b"d"
    return b"W" if explicit else b"w"


def build_start(priority: Priority, mode: bytes, headers: bytes) -> bytes:
    """The part of the head before the id, the same for all messages of one publish call."""
    return b"%b-%b0001%04x" % (_PRIORITY_LETTER[priority], mode, len(headers))


def build(start: bytes, message_id: bytes, digests: bytes, headers: bytes, payload: bytes) -> bytes:
    """A new envelope, all but the first fourteen bytes that the publish script adds."""
    return b"%b%b:000001%b%b%b" % (start, message_id, digests, headers, payload)


def content_offset(envelope: bytes) -> int:
    """Where the headers start; ``BadEnvelope`` if the head is not one of ours."""
    if len(envelope) < HEAD or envelope[0] != 0x31 or envelope[49] != 0x3A:
        raise BadEnvelope("it has no head of a typed_rmq message")
    digests = MODES.get(envelope[16])
    if digests is None:
        raise BadEnvelope("the dedup mode in its head is unknown")
    return HEAD + DIGEST * digests


def parse(envelope: bytes) -> Head:
    """Everything the head says; ``BadEnvelope`` if it is not one of ours."""
    headers_at = content_offset(envelope)
    try:
        head = envelope[:HEAD].decode("ascii")
        payload_at = headers_at + int(head[21:25], 16)
        published, attempt, delivery = int(head[1:14]), int(head[17:21]), int(head[50:56])
    except ValueError:
        raise BadEnvelope("a number in its head is not a number") from None
    letter = _LETTER_PRIORITY.get(envelope[14])
    if letter is None or head[15] not in "-s":
        raise BadEnvelope("its head has an unknown flag")
    if not headers_at <= payload_at <= len(envelope):  # a length may be written as negative
        raise BadEnvelope("its length is not what its head says")
    priority: Priority = "high" if letter == "high" else "normal" if letter == "normal" else "low"
    return Head(
        id=head[25:49],
        delivery=delivery,
        attempt=attempt,
        published_ms=published,
        priority=priority,
        suspect=head[15] == "s",
        mode=head[16],
        headers_at=headers_at,
        payload_at=payload_at,
    )
