"""Payloads to bytes and back: the one place that the rest of the library talks to.

Rules:

* A payload is written, and what was written is read back. That *is* the validation: it also
  catches instances that were made without it or changed after it, and it guarantees that a
  consumer will accept what is stored.
* What was read back is written again. Where both writings are equal, nothing was converted and
  all fields are in their order, and Pydantic's own check for values of a wrong type (1 us) is
  not needed. Where they differ, the careful path makes every check.
* Pydantic writes any object that has the fields of a model as that model. So an instance's class
  is compared first, and a container of records is validated as Python data first.
* So JSON is canonical where the type has neither sets nor free key order (``stable``), and a
  content hash can take the bytes as they are.
* No error shows a value, also not in ``__cause__`` or ``__context__``: what is wrong is noted
  inside of an ``except`` block and raised outside of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from ..errors import ConfigError, PayloadError
from .chain import Chain, Step
from .checks import ANY_NAN, NULL, arrange, scan, too_deep
from .flat import flat_writer
from .json import Json, JsonSerializer
from .problems import Unreadable, location, problems_of, summary
from .protocol import Serializer, SerializerFactory, Wrapper
from .refusals import Refusal, unwritable
from .registry import lookup
from .shape import MAX_DEPTH, shape_of

T = TypeVar("T")

__all__ = ["Codec", "Undecodable"]

_JSON = "application/json"


class Undecodable(Exception):
    """Stored bytes are not a payload of the queue. ``reason`` says why, without showing them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Codec(Generic[T]):
    """Writes and reads the payloads of one queue.

    Args:
        adapter: Pydantic's view of the queue's type.
        serializer: a serializer, a factory of one (``Json()``), or wrappers around either.
        queue: the queue's name, for errors.
        max_payload: bytes; larger payloads are refused, before and after compression.

    Attributes:
        content_type: what is stored with each message; ``application/json`` may be left out.
        loads: reads a message without content type; raises whatever Pydantic and the type's
            validators raise (``explain`` puts it into words).
        prepare: validates and writes a payload: ``prepare(payload) -> (payload, bytes)``, the
            payload as a consumer will see it. Raises ``PayloadError``.
        stable: whether these bytes are JSON that may be hashed as they are (see ``canonical``).

    Raises:
        ConfigError: the type or the serializer cannot be used.

    Example:
        >>> codec = Codec(TypeAdapter(dict[str, int]), Json(), queue="orders")
        >>> codec.prepare({"a": 1})
        ({'a': 1}, b'{"a":1}')
        >>> codec.open(None, b'{"a":2}', b"id")
        {'a': 2}
    """

    __slots__ = (
        "_adapter",
        "_chain",
        "_classes",
        "_contains",
        "_decoders",
        "_dumps",
        "_guarded",
        "_is_json",
        "_load",
        "_nan",
        "_queue",
        "_shape",
        "_to_json",
        "_to_python",
        "content_type",
        "loads",
        "max_payload",
        "prepare",
        "stable",
    )

    def __init__(
        self,
        adapter: TypeAdapter[T],
        serializer: Serializer[T] | SerializerFactory | Wrapper,
        *,
        queue: str,
        max_payload: int = 1_048_576,
    ) -> None:
        if max_payload < 1:
            raise ConfigError(f"max_payload must be 1 byte or more, got {max_payload}", queue=queue)
        self._adapter = adapter
        self._queue = queue
        self.max_payload: int = max_payload
        self._shape = shape = shape_of(cast("TypeAdapter[object]", adapter))
        self._chain = Chain[T].of(serializer, queue)
        self.content_type: str = self._chain.content_type
        self._to_json = adapter.serializer.to_json
        self._to_python = adapter.serializer.to_python

        base = self._chain.base
        self._is_json = isinstance(base, Json | JsonSerializer)
        inner: Serializer[T] = base if isinstance(base, Serializer) else base.bind(adapter)
        self._dumps: Callable[[T], bytes] = inner.dumps
        self._load = self._reader(base, inner)
        self._decoders: dict[str, Callable[[bytes, bytes], T]] = {}
        self.loads: Callable[[bytes], T] = self._default_loads()

        self._nan = (NULL if shape.nan_is_null else ANY_NAN) if shape.may_hide_nan else None
        self._guarded = shape.deep or self._nan is not None
        quick = self._is_json and not (shape.unordered or shape.anything or shape.forbids)
        self.stable: bool = quick and not shape.sortable
        self._classes = frozenset(shape.records)
        self._contains = shape.nested and not shape.records
        self.prepare: Callable[[T], tuple[T, bytes]] = self._quick if quick else self._careful
        flat = flat_writer(adapter, self._quick, max_payload) if self.stable else None
        if flat is not None:
            self.prepare = flat.prepare

    # Writing

    def _quick(self, payload: T) -> tuple[T, bytes]:
        if self._classes and type(payload) not in self._classes:
            return self._careful(payload)
        try:
            if self._contains:
                payload = self._adapter.validate_python(payload)
            data = self._to_json(payload, round_trip=True, by_alias=False, warnings=False)
            loaded = self.loads(data)
            same = data == self._to_json(loaded, round_trip=True, by_alias=False, warnings=False)
        except Exception:  # noqa: BLE001
            pass  # said in full by the careful path
        else:
            fits = same and len(data) <= self.max_payload
            if fits and (not self._guarded or self._harmless(payload, data)):
                return loaded, data
        return self._careful(payload)

    def _harmless(self, payload: T, data: bytes) -> bool:
        if self._shape.deep and too_deep(data):
            return False
        if self._nan is None or self._nan.search(data) is None:
            return True
        if self._nan is NULL:
            # Left out are fields that are None; what is null then was a NaN, or is in a list.
            rest = self._to_json(
                payload, round_trip=True, by_alias=False, warnings=False, exclude_none=True
            )
            if NULL.search(rest) is None:
                return True
        return scan(self._plain(payload), text=False).problem is None

    def _careful(self, payload: T) -> tuple[T, bytes]:
        # What a serializer would let pass, its validator is asked about first: unknown keys of
        # a TypedDict are dropped silently, and any object with the right fields is written.
        stranger = bool(self._classes) and type(payload) not in self._classes
        first = self._shape.forbids or self._contains or stranger
        result = Refusal("") if first else self._attempt(payload)
        if isinstance(result, Refusal) and not result.final:
            natural = self._natural(payload)
            if isinstance(natural, Refusal):
                result = natural
            elif first or natural.value is not payload:
                result = self._attempt(natural.value)
        if isinstance(result, Refusal):
            message = result.message or f"the payload is not valid: {summary(result.problems)}"
            raise PayloadError(
                f"queue {self._queue!r}: {message}", queue=self._queue, problems=result.problems
            )
        return result

    def _natural(self, payload: T) -> Refusal | _Valid[T]:
        """The payload validated as Python data: a dict becomes a model, "1" an int."""
        try:
            return _Valid(self._adapter.validate_python(payload))
        except ValidationError as error:
            return Refusal("", problems_of(error, self._shape.names))
        except Exception as error:  # noqa: BLE001
            return Refusal(f"a validator of the payload raised {type(error).__name__}")

    def _attempt(self, payload: T) -> tuple[T, bytes] | Refusal:
        """Writes and reads back, with every check."""
        try:
            data = self._dumps(payload)
        except ValidationError as error:  # a serializer of the user's may validate
            return Refusal("", problems_of(error, self._shape.names))
        except Exception as error:  # noqa: BLE001
            return unwritable(error, self._shape.names)
        try:
            data, refusal = self._checked(payload, data)
            if refusal is not None:
                return refusal
            loaded = self._load(data)
        except ValidationError as error:
            return Refusal("", problems_of(error, self._shape.names))
        except Exception as error:  # noqa: BLE001
            name = type(error).__name__
            return Refusal(f"the payload was written but cannot be read back: {name}")
        return self._settled(loaded, data) if self.stable else (loaded, data)

    def _checked(self, payload: T, data: bytes) -> tuple[bytes, Refusal | None]:
        if len(data) > self.max_payload:
            return data, self._too_large(len(data))
        if self._is_json and too_deep(data):
            return data, Refusal(f"the payload nests deeper than {MAX_DEPTH}", final=True)
        if self._is_json and not self._shape.anything and ANY_NAN.search(data) is None:
            return data, None
        plain = self._plain(payload)
        found = scan(plain, text=not self._is_json)
        if found.problem is not None:
            where = location(found.where, self._shape.names)
            problems = ((where, found.problem),)
            return data, Refusal(f"the payload is not valid: {summary(problems)}", problems, True)
        if found.sets and self._is_json and not self._shape.unordered:
            written = self._to_python(payload, mode="json", round_trip=True, by_alias=False)
            data = to_json(arrange(plain, written))
        return data, None

    def _settled(self, loaded: T, data: bytes) -> tuple[T, bytes]:
        """The form that writing and reading no longer change, so that equal payloads are equal.

        A stdlib dataclass with 1 in a float field, or a field that is stripped by its type, gets
        there in one step. Where a validator changes its value each time, there is no such form,
        and the bytes stay as they are.
        """
        try:
            again = self._to_json(loaded, round_trip=True, by_alias=False, warnings=False)
            if again != data and len(again) <= self.max_payload:
                reloaded = self._load(again)
                if again == self._to_json(
                    reloaded, round_trip=True, by_alias=False, warnings=False
                ):
                    return reloaded, again
        except Exception:  # noqa: BLE001
            pass
        return loaded, data

    def _plain(self, payload: T) -> object:
        return self._to_python(payload, round_trip=True, by_alias=False, warnings=False)

    def _too_large(self, size: int) -> Refusal:
        return Refusal(
            f"the payload has {size:,} bytes and max_payload is {self.max_payload:,}", final=True
        )

    @property
    def seals(self) -> bool:
        """Whether ``seal`` does anything."""
        return bool(self._chain.steps)

    def seal(self, data: bytes, message_id: bytes) -> bytes:
        """The bytes to store: ``data`` itself, or compressed, encrypted, and so on.

        Raises:
            PayloadError: they are larger than ``max_payload``, or a wrapper refuses them.
        """
        steps = self._chain.steps
        if not steps:
            return data
        sealed, problem = data, ""
        try:
            for step in steps:
                sealed = step.wrap(sealed, message_id)
        except Exception as error:  # noqa: BLE001
            problem = f"a wrapper of the serializer raised {type(error).__name__}"
        if not problem and len(sealed) > self.max_payload:
            problem = (
                f"the payload has {len(data):,} bytes, {len(sealed):,} as stored, and max_payload "
                f"is {self.max_payload:,}"
            )
        if problem:
            raise PayloadError(f"queue {self._queue!r}: {problem}", queue=self._queue)
        return sealed

    # Reading

    def open(self, content_type: str | None, data: bytes, message_id: bytes) -> T:
        """The payload of a stored message; no content type means ``application/json``.

        Raises:
            Undecodable: for whatever is wrong with it.
        """
        try:
            if len(data) > self.max_payload:
                raise Unreadable(f"{len(data):,} bytes, and max_payload is {self.max_payload:,}")
            if content_type is None:
                return self.loads(data)
            decoder = self._decoders.get(content_type)
            if decoder is None:
                decoder = self._decoders[content_type] = self._decoder(content_type)
            return decoder(data, message_id)
        except Exception as error:  # noqa: BLE001
            reason = self.explain(error)
        raise Undecodable(reason)

    def explain(self, error: Exception) -> str:
        """Says what ``error``, raised while reading a payload, means, without any value of it."""
        if isinstance(error, ValidationError):
            return f"not valid: {summary(problems_of(error, self._shape.names))}"
        if isinstance(error, Unreadable | ConfigError):
            return str(error)
        return f"reading it raised {type(error).__name__}"

    def _default_loads(self) -> Callable[[bytes], T]:
        try:
            base, _ = self._chain.split(_JSON)
        except Unreadable as error:
            reason = str(error)
        else:
            return self._base_reader(base)

        def refuse(_data: bytes) -> T:
            raise Unreadable(reason)

        return refuse

    def _base_reader(self, base: str) -> Callable[[bytes], T]:
        if base == self._chain.base.content_type:
            return self._load
        factory = lookup(base)
        if factory is None:
            raise Unreadable("its content type is unknown here")
        return self._reader(factory, factory.bind(self._adapter))

    def _reader(
        self, base: Serializer[T] | SerializerFactory, inner: Serializer[T]
    ) -> Callable[[bytes], T]:
        loads: Callable[[bytes], T] = inner.loads
        if type(base).__module__.startswith(__name__.rpartition(".")[0] + "."):
            return loads
        validate = self._adapter.validate_python

        # A serializer of the user's may give plain data back, or something else entirely.
        if self._shape.aliased:
            return lambda data: validate(loads(data), by_alias=True, by_name=True)
        return lambda data: validate(loads(data))

    def _decoder(self, content_type: str) -> Callable[[bytes, bytes], T]:
        base, steps = self._chain.split(content_type)
        loads = self._base_reader(base)
        if not steps:
            return lambda data, _message_id: loads(data)
        return lambda data, message_id: loads(self._unwrapped(steps, data, message_id))

    def _unwrapped(self, steps: tuple[Step, ...], data: bytes, message_id: bytes) -> bytes:
        for step in reversed(steps):
            data = step.unwrap(data, message_id, self.max_payload)
            if len(data) > self.max_payload:
                raise Unreadable(
                    f"{len(data):,} bytes when unpacked, and max_payload is {self.max_payload:,}"
                )
        return data


class _Valid(NamedTuple, Generic[T]):
    value: T
