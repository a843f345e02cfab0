"""A queue's serializer taken apart: a base format and the byte steps around it.

``application/json+zstd+aesgcm`` reads from the left: JSON, then compressed, then encrypted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar, cast

from ..errors import ConfigError
from .compressed import Compressed
from .encrypted import Encrypted
from .json import Json
from .problems import Unreadable
from .protocol import Serializer, SerializerFactory, Wrapper
from .registry import lookup

T = TypeVar("T")

__all__ = ["Chain", "Step"]

_MAX_STEPS = 4
"""Steps around one format; more only come from somebody who wants to exhaust a consumer."""


class Step(NamedTuple):
    """One wrapper. ``unwrap`` takes bytes, message id, and the largest size to produce."""

    suffix: str
    wrap: Callable[[bytes, bytes], bytes]
    unwrap: Callable[[bytes, bytes, int], bytes]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Chain(Generic[T]):
    """``steps`` are in the order in which they are applied when writing."""

    base: Serializer[T] | SerializerFactory
    steps: tuple[Step, ...]
    known: dict[str, Step] = field(repr=False)

    @classmethod
    def of(cls, serializer: Serializer[T] | SerializerFactory | Wrapper, queue: str) -> Chain[T]:
        """Takes a serializer apart.

        Raises:
            ConfigError: it is none, or its content type does not continue that of its inner one.
        """
        steps: list[Step] = []
        current: object = serializer
        while isinstance(current, Wrapper) and not isinstance(current, type):
            step = _step(current, queue)
            if any(step.suffix == other.suffix for other in steps):
                raise ConfigError(f"serializer= wraps in {step.suffix!r} twice", queue=queue)
            steps.append(step)
            current = current.inner
        if isinstance(current, type) or not isinstance(current, Serializer | SerializerFactory):
            name = getattr(current, "__name__", type(current).__name__)
            raise ConfigError(
                f"serializer= takes a serializer such as Json(), a factory, or a wrapper "
                f"around one; {name} is none of them",
                queue=queue,
            )
        if len(steps) > _MAX_STEPS:
            raise ConfigError(f"serializer= has more than {_MAX_STEPS} wrappers", queue=queue)
        base = cast("Serializer[T] | SerializerFactory", current)
        return cls(base, tuple(reversed(steps)), {step.suffix: step for step in steps})

    @property
    def content_type(self) -> str:
        """The full content type of what the chain writes."""
        return self.base.content_type + "".join(step.suffix for step in self.steps)

    def split(self, content_type: str) -> tuple[str, tuple[Step, ...]]:
        """The base format of a stored content type, and its steps as they were applied.

        Raises:
            Unreadable: it is unknown, or lacks a step that the queue insists on.
            ConfigError: the library of a shipped format is not installed.
        """
        rest, steps = content_type, list[Step]()
        while rest != self.base.content_type and lookup(rest) is None:
            head, plus, tail = rest.rpartition("+")
            step = self._step_for(plus + tail)
            if step is None or len(steps) == _MAX_STEPS:
                raise Unreadable(
                    "its content type is unknown here: register() its serializer, or add its "
                    "wrapper to serializer="
                )
            steps.append(step)
            rest = head
        if any(step.required and step not in steps for step in self.steps):
            raise Unreadable(
                "it is not encrypted, and this queue's messages have to be: during a rollout "
                "use Encrypted(..., accept_plain=True)"
            )
        return rest, tuple(reversed(steps))

    def _step_for(self, suffix: str) -> Step | None:
        if suffix == Compressed.suffix and suffix not in self.known:
            # Needs no key and no option, so it is read also where it is not written (any more).
            self.known[suffix] = _step(Compressed(Json()), "")
        return self.known.get(suffix)


def _step(wrapper: Wrapper, queue: str) -> Step:
    inner = getattr(wrapper.inner, "content_type", None)
    outer = wrapper.content_type
    if not isinstance(inner, str) or not outer.startswith(inner + "+"):
        raise ConfigError(
            f"the content type of {type(wrapper).__name__} must be its inner one's, "
            f"followed by + and a name",
            queue=queue or None,
        )
    suffix = outer[len(inner) :]
    if suffix.count("+") != 1:
        raise ConfigError(f"a wrapper adds one suffix, not {suffix!r}", queue=queue or None)
    if isinstance(wrapper, Compressed):
        return Step(suffix, wrapper.wrap, wrapper.unwrap)

    def unwrap(data: bytes, message_id: bytes, _limit: int) -> bytes:
        return wrapper.unwrap(data, message_id)

    required = isinstance(wrapper, Encrypted) and not wrapper.accept_plain
    return Step(suffix, wrapper.wrap, unwrap, required)
