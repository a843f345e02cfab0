"""The queues of an application as an AsyncAPI 3.0 document, with the JSON Schemas of its payloads.

In Python ``asyncapi([orders, events], title="Shop", version="1.0")``; on the command line
``python -m typed_rmq.asyncapi shop.queues > asyncapi.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeGuard,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .binding import type_name
from .errors import ConfigError
from .queue import Queue

__all__ = ["asyncapi", "queues_of"]

AnyQueue = Queue[Any]
Key = tuple[str, str]

Role = Literal["sends", "receives", "both"]

ACTIONS: Final[dict[Role, tuple[str, ...]]] = {
    "sends": ("send",),
    "receives": ("receive",),
    "both": ("send", "receive"),
}

REF: Final = "#/components/schemas/{model}"


def asyncapi(
    queues: Iterable[AnyQueue],
    *,
    title: str,
    version: str,
    description: str | None = None,
    role: Role = "both",
) -> dict[str, object]:
    """An AsyncAPI 3.0 document: a channel for each queue, and what its messages hold.

    The schemas tell of payloads as they are stored: field names rather than aliases, and no
    computed fields. A queue of a union has a message for each of its members.

    Each queue has two operations, ``send-orders`` and ``receive-orders``: a queue can publish and
    consume. ``role`` leaves one out, for an application that only does the other.

    Args:
        queues: the queues; nothing is asked of Redis.
        title: the application's name.
        version: the version of its interface.
        description: what it does, in Markdown.
        role: what the application does with the queues: ``sends``, ``receives``, or ``both``.

    Raises:
        ConfigError: two queues have the same name, or Pydantic has no JSON Schema for a type.

    Example:
        >>> from pydantic import BaseModel
        >>> from typed_rmq import Queue
        >>> from typed_rmq.asyncapi import asyncapi
        >>> class Order(BaseModel):
        ...     order_id: int
        >>> document = asyncapi([Queue[Order]("orders")], title="Shop", version="1.0")
        >>> document["channels"]["orders"]["messages"]["Order"]["payload"]
        {'$ref': '#/components/schemas/Order'}
        >>> document["components"]["schemas"]["Order"]["required"]
        ['order_id']
        >>> document["operations"]["receive-orders"]["action"]
        'receive'
    """
    members: dict[str, dict[str, Any]] = {}
    for queue in queues:
        if queue.name in members:
            raise ConfigError(f"two queues are called {queue.name!r}", queue=queue.name)
        members[queue.name] = _members(queue.payload_type)
    schemas, definitions = _schemas(members)
    info: dict[str, object] = {"title": title, "version": version}
    if description is not None:
        info["description"] = description
    document: dict[str, object] = {
        "asyncapi": "3.0.0",
        "info": info,
        "defaultContentType": "application/json",
        "channels": {
            name: {
                "address": name,
                "messages": {
                    member: {"name": member, "payload": schemas[name, member]} for member in types
                },
            }
            for name, types in members.items()
        },
        "operations": {
            f"{action}-{name}": _operation(action, name, types)
            for name, types in members.items()
            for action in ACTIONS[role]
        },
    }
    if definitions:
        document["components"] = {"schemas": definitions}
    return document


def _operation(action: str, queue: str, types: Iterable[str]) -> dict[str, object]:
    channel = f"#/channels/{queue}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{one}"} for one in types],
    }


def _members(payload: object) -> dict[str, Any]:
    """The types of a queue's messages by their names; several where it has a union."""
    found: dict[str, Any] = {}
    for one in _parts_of_union(payload):
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", type_name(one)).strip("_") or "payload"
        while name in found:
            name += "_"
        found[name] = one
    return found


def _parts_of_union(payload: object) -> list[object]:
    union = get_args(payload)[0] if get_origin(payload) is Annotated else payload
    if get_origin(union) in (Union, UnionType):
        return [part for one in get_args(union) for part in _parts_of_union(one)]
    return [payload]


# --- schemas


class _Stored(GenerateJsonSchema):
    """Schemas of what is stored, which computed fields are no part of."""

    def model_fields_schema(self, schema: core_schema.ModelFieldsSchema) -> JsonSchemaValue:
        return super().model_fields_schema(_without_computed(schema))

    def dataclass_args_schema(self, schema: core_schema.DataclassArgsSchema) -> JsonSchemaValue:
        return super().dataclass_args_schema(_without_computed(schema))

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        return super().typed_dict_schema(_without_computed(schema))


S = TypeVar(
    "S",
    core_schema.ModelFieldsSchema,
    core_schema.DataclassArgsSchema,
    core_schema.TypedDictSchema,
)


def _without_computed(schema: S) -> S:
    copy = schema.copy()
    copy.pop("computed_fields", None)
    return copy


def _schemas(
    members: dict[str, dict[str, Any]],
) -> tuple[dict[Key, object], dict[str, object]]:
    """The schema of each message, and the definitions that they refer to."""
    adapters: list[tuple[Key, Any, TypeAdapter[Any]]] = [
        ((queue, member), "serialization", TypeAdapter[Any](kind))
        for queue, types in members.items()
        for member, kind in types.items()
    ]
    try:
        found, shared = TypeAdapter.json_schemas(
            adapters, by_alias=False, ref_template=REF, schema_generator=_Stored
        )
    except ValueError as error:  # PydanticInvalidForJsonSchema, and what hooks of types raise
        raise ConfigError(f"Pydantic has no JSON Schema: {error}") from None
    schemas = {key: _plain(schema) for (key, _), schema in found.items()}
    definitions = cast("dict[str, object]", _plain(shared.get("$defs", {})))
    return schemas, definitions


def _plain(schema: object) -> object:
    """The schema in the words of AsyncAPI, which are those of JSON Schema draft 7."""
    if isinstance(schema, list):
        return [_plain(one) for one in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in cast("dict[str, object]", schema).items()}
    discriminator = plain.get("discriminator")
    if isinstance(discriminator, dict) and "propertyName" in discriminator:
        # A name is all that AsyncAPI takes. The mapping follows from the members' constants.
        plain["discriminator"] = cast("dict[str, object]", discriminator)["propertyName"]
    if isinstance(plain.get("prefixItems"), list):
        plain["items"] = plain.pop("prefixItems")
        plain["additionalItems"] = False
    return plain


# --- the command


def queues_of(target: str) -> list[AnyQueue]:
    """The queues of a module, ``shop.queues``, or one of them, ``shop.queues:orders``.

    Raises:
        ConfigError: there is no such module, or no queue in it.
    """
    module_name, _, attribute = target.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(f"there is no module {module_name!r}: {error}") from None
    names = vars(module)
    wanted = [names.get(attribute)] if attribute else list(names.values())
    found = [one for one in wanted if _is_queue(one)]
    if not found:
        raise ConfigError(f"there is no Queue in {target!r}")
    return list(dict.fromkeys(found))


def _is_queue(value: object) -> TypeGuard[AnyQueue]:
    return isinstance(value, Queue)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m typed_rmq.asyncapi MODULE[:QUEUE]...``; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m typed_rmq.asyncapi",
        description="Print the queues of an application as an AsyncAPI 3.0 document.",
    )
    parser.add_argument("targets", nargs="+", metavar="MODULE[:QUEUE]")
    parser.add_argument("--title", help="the application's name (default: the first module's)")
    parser.add_argument("--version", default="1.0.0", help="of its interface (default: 1.0.0)")
    parser.add_argument("--description", help="what it does, in Markdown")
    parser.add_argument("--role", choices=ACTIONS, default="both", help="what it does with them")
    parser.add_argument("--yaml", action="store_true", help="as YAML (extra `asyncapi`)")
    options = parser.parse_args(arguments)
    # Queues look for Redis when they are made. Nothing is sent, so any address will do.
    os.environ.setdefault("REDIS_URL", "redis://localhost:6379/0")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - an entry of sys.path is a str
    targets: list[str] = options.targets
    try:
        document = asyncapi(
            [queue for target in targets for queue in queues_of(target)],
            title=options.title or targets[0].partition(".")[0].partition(":")[0],
            version=options.version,
            description=options.description,
            role=options.role,
        )
        text = _yaml(document) if options.yaml else json.dumps(document, indent=2) + "\n"
    except ConfigError as error:
        print(f"typed_rmq: {error}", file=sys.stderr)  # noqa: T201
        return 2
    sys.stdout.write(text)
    return 0


def _yaml(document: dict[str, object]) -> str:
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            "YAML needs a package: pip install 'typed_rmq[asyncapi]'; JSON needs none"
        ) from None
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


if __name__ == "__main__":
    sys.exit(main())
